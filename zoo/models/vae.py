"""The variational autoencoder: a latent variable model and a bound on its likelihood."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models import noise
from zoo.models.base import Diagnostic, GenerativeModel
from zoo.models.bijections.base import sum_event
from zoo.models.distributions import gaussian_log_prob
from zoo.models.networks.decoder import Decoder
from zoo.models.networks.encoder import Activation, Encoder, Norm

LOG_STD_BOUND = 7.0  # posterior: standard deviations from e^-7 to e^7
SMALLEST_BIN_SCALE = 0.1  # logistic scale, in bins: its own bin then holds 98.7 % of a pixel's mass
SMALLEST_STD, LARGEST_STD = 1e-3, 1e3  # Gaussian decoder, in the data's units
ACTIVE = 0.01  # Burda et al. 2016, section 5.2: the variance above which a latent unit is in use
COPIES_AT_ONCE = (
    16  # importance samples decoded together; fixed, so that the noise is the same on any machine
)


class VAE(GenerativeModel):
    r"""p(x) = E_{z ~ N(0, I)} p(x | z), fitted by a bound with an approximate posterior q(z | x).

    With q(z | x) = N(m(x), diag s(x)^2), the evidence lower bound in nats (Kingma & Welling 2014, eq. 3;
    Rezende et al. 2014) is

        ELBO(x) = E_q log p(x | z) - KL(q || p),    KL = 1/2 sum(m^2 + s^2 - 1 - 2 log s),

    where one draw of z stands for the expectation and the KL is exact; on average over the draw it is at most
    log p(x).

    The decoder's likelihood p(x | z) is, independently for each dimension,

    - integer data: the mass that a logistic of learned mean and scale puts on the cell [k - 1/2, k + 1/2);
      the first and the last level take the tails too, so the masses sum to one (Salimans et al. 2017,
      section 2.1). The scale lies between 0.1 cells and ``levels`` cells.
    - continuous data: a Gaussian of learned mean and standard deviation, the latter within [1e-3, 1e3] in the
      data's units; without the floor the likelihood of degenerate data has no upper bound.

    In training mode ``log_prob`` returns E_q log p(x | z) - ``beta`` KL (Higgins et al. 2017), which for
    ``beta`` < 1 bounds nothing. In evaluation mode ``beta`` plays no part, and ``importance_samples`` K > 1
    gives the tighter bound of Burda et al. (2016, eq. 8), log 1/K sum_k p(x | z_k) p(z_k) / q(z_k | x).

    Samples: a draw z of the prior is decoded. Of integer data the picture returned is by default the
    decoder's *mean* (the logistic's, before the cut), rounded, as in nearly all published VAE pictures; it is
    smoother than the model that ``log_prob`` scores, whose own samples (``sample_pixels=True``) carry
    independent pixel noise. Continuous data are always sampled from the decoder's Gaussian. ``temperature``
    scales the latents alone.

    Args:
        spec: the data.
        latent_dim: length of z.
        width: channels at the image's own size; double at each halving, up to four times (images only).
        hidden: units of the hidden layers.
        depth: hidden layers of each network (vectors only).
        norm: ``group``, ``batch`` or ``none``, in the convolutions.
        activation: ``relu``, ``leaky_relu``, ``silu`` or ``elu``.
        beta: weight of the KL in training.
        importance_samples: K of the bound in evaluation; 1 is the ELBO.
        sample_pixels: sample integer data from the decoder instead of rounding its mean.
    """

    family = "vae"
    likelihood = "lower bound"

    def __init__(
        self,
        spec: DataSpec,
        latent_dim: int = 16,
        width: int = 32,
        hidden: int = 96,
        depth: int = 2,
        norm: Norm = "group",
        activation: Activation = "silu",
        beta: float = 1.0,
        importance_samples: int = 1,
        sample_pixels: bool = False,
    ) -> None:
        super().__init__(spec)
        if importance_samples < 1 or latent_dim < 1:
            raise ZooError("A VAE needs latent_dim >= 1 and importance_samples >= 1.")
        self.latent_dim = latent_dim
        self.beta = beta
        self.importance_samples = importance_samples
        self.sample_pixels = sample_pixels
        self.encoder = Encoder(spec.shape, 2 * latent_dim, width, hidden, depth, norm, activation)
        self.decoder = Decoder(latent_dim, spec.shape, 2, width, hidden, depth, norm, activation)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of q(z | x), each ``(B, latent_dim)``."""
        mean, raw = self.encoder(_centre(x, self.spec.levels)).chunk(2, 1)
        return mean, soft_bound(raw, -LOG_STD_BOUND, LOG_STD_BOUND)

    def decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log scale of p(x | z), each ``(B, *shape)``, in data space (integer data: in levels)."""
        mean, raw = self.decoder(z).chunk(2, 1)
        levels = self.spec.levels
        if levels is None:
            return mean, soft_bound(raw, math.log(SMALLEST_STD), math.log(LARGEST_STD))
        mean = (mean + 1) * ((levels - 1) / 2)  # the network speaks in [-1, 1], as it hears
        return mean, soft_bound(raw, math.log(SMALLEST_BIN_SCALE), math.log(levels))

    def reconstruction(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x | z), ``(B,)`` nats."""
        mean, log_scale = self.decode(z)
        if self.spec.levels is None:
            return gaussian_log_prob(x, mean, log_scale)
        return sum_event(discretised_logistic_log_prob(x, mean, log_scale, self.spec.levels))

    def _log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        mean, log_std = self.posterior(x)
        if not self.training and self.importance_samples > 1:
            return self._importance_bound(x, mean, log_std)
        z = mean + log_std.exp() * noise.normal(mean)
        kl = 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).sum(1)
        return self.reconstruction(x, z) - (self.beta if self.training else 1.0) * kl

    def _importance_bound(self, x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
        """The bound of Burda et al. with K = ``importance_samples``, ``(B,)`` nats."""
        log_weights = []
        for first in range(0, self.importance_samples, COPIES_AT_ONCE):
            copies = min(COPIES_AT_ONCE, self.importance_samples - first)
            # copies outside, examples inside: the order in which the noise keeps to its example
            m, s, repeated = (torch.cat([t] * copies) for t in (mean, log_std, x))
            eps = noise.normal(m)
            z = m + s.exp() * eps
            # log p(z) - log q(z | x): the constants of the two Gaussians cancel
            log_ratio = (0.5 * (eps.square() - z.square()) + s).sum(1)
            log_weights.append((self.reconstruction(repeated, z) + log_ratio).view(copies, len(x)))
        return torch.cat(log_weights).logsumexp(0) - math.log(self.importance_samples)

    def _sample(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        mean, log_scale = self.decode(temperature * self.latents(n, self.latent_dim))
        if self.spec.levels is None:
            return mean + log_scale.exp() * noise.normal(mean)
        if self.sample_pixels:  # the inverse of the logistic's distribution function
            mean = mean + log_scale.exp() * torch.logit(noise.uniform(mean))
        return self.spec.quantise(mean)

    def diagnostics(self, x: Tensor) -> dict[str, Diagnostic]:
        """``active_units``, those of Var_x(E_q[z_i | x]) > 0.01, and ``kl``, E_x KL(q || p) in nats.

        A latent unit that the posterior ignores has collapsed to its prior: its mean is the same for every x
        (Burda et al. 2016, section 5.2).
        """
        mean, log_std = self.posterior(x)
        kl = 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).sum(1)
        error = float(kl.std()) / math.sqrt(len(x)) if len(x) > 1 else None
        active = int((mean.var(0, correction=0) > ACTIVE).sum())
        return {"active_units": Diagnostic(active), "kl": Diagnostic(float(kl.mean()), "nats", error)}

    def likelihood_details(self) -> dict[str, Any]:
        bound = "IWAE" if self.importance_samples > 1 else "ELBO"
        return {"bound": bound, "importance_samples": self.importance_samples}


def discretised_logistic_log_prob(x: Tensor, mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """Log mass of the level ``x`` under a logistic cut into unit cells, elementwise, in nats.

    With a = (x + 1/2 - mean)/s and b = (x - 1/2 - mean)/s, and S the logistic function,

        log(S(a) - S(b)) = log S(a) + log S(-b) + log(1 - e^{-1/s}),

    a sum in which nothing cancels, however far the tail. Level 0 has the lower tail (S(b) = 0) and level
    ``levels - 1`` the upper one (S(a) = 1).

    Args:
        x: integers ``0..levels-1`` in a floating dtype.
        mean: location, in levels.
        log_scale: log of the scale, in levels.
        levels: number of levels, at least 2.
    """
    precision = (-log_scale).exp()
    below = F.logsigmoid((x + 0.5 - mean) * precision)
    above = F.logsigmoid((mean - x + 0.5) * precision)
    inside = below + above + torch.log(-torch.expm1(-precision))
    return torch.where(x <= 0, below, torch.where(x >= levels - 1, above, inside))


def soft_bound(raw: Tensor, low: float, high: float) -> Tensor:
    """A smooth increasing map onto (low, high): the midpoint at 0, with slope 1 there."""
    half = (high - low) / 2
    return (low + high) / 2 + half * torch.tanh(raw / half)


def _centre(x: Tensor, levels: int | None) -> Tensor:
    """Integers to [-1, 1]; continuous values as they are."""
    return x if levels is None else x * (2 / (levels - 1)) - 1
