"""What every latent variable model shares: the bound, its importance-weighted form, and samples."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from zoo.checks import at_least, whole
from zoo.data.spec import DataSpec
from zoo.models.core.capabilities import Diagnostic, SamplingOrder
from zoo.models.core.model import GenerativeModel
from zoo.models.families.decoder_likelihood import Observation

ACTIVE = 0.01  # Burda et al. 2016, section 5.2: the variance above which a latent unit is in use
DIAGNOSTIC_DRAWS = 32  # of the posterior, in each of two independent halves
COPIES_AT_ONCE = 16  # importance samples decoded together; fixed, so that the noise is the same anywhere


class Draw(NamedTuple):
    """One draw of the latents for each row.

    Attributes:
        z: what ``decode`` takes, ``(B, ...)``.
        kl: KL(q || p), ``(B,)`` nats: exact where it is known in closed form, otherwise -``log_ratio``.
        log_ratio: log p(z) - log q(z | x) at the draw, ``(B,)`` nats.
        units: the mean of each latent unit ``(B, U)`` given x, as far as the draw leaves it known.
    """

    z: Tensor
    kl: Tensor
    log_ratio: Tensor
    units: Tensor


class LatentVariableModel(GenerativeModel):
    r"""p(x) = E_{z ~ p} p(x | z), fitted by a bound with an approximate posterior q(z | x).

    The evidence lower bound in nats (Kingma & Welling 2014, eq. 3; Rezende et al. 2014) is

        ELBO(x) = E_q log p(x | z) - KL(q || p),

    where one draw of z stands for the expectation; on average over the draw it is at most log p(x).

    In training mode ``log_prob`` returns E_q log p(x | z) - ``beta`` KL (Higgins et al. 2017), which for
    ``beta`` < 1 bounds nothing. In evaluation mode ``beta`` plays no part, and ``importance_samples`` K > 1
    gives the tighter bound of Burda et al. (2016, eq. 8), log 1/K sum_k p(x | z_k) p(z_k) / q(z_k | x).

    Samples: a draw z of the prior is decoded. Of integer data the picture returned is by default the
    decoder's *mean* (the logistic's, before the cut), rounded, as in nearly all published VAE pictures; it is
    smoother than the model that ``log_prob`` scores, whose own samples (``sample_pixels=True``) carry
    independent pixel noise. Continuous data are always sampled from the decoder's Gaussian. ``temperature``
    scales the latents alone.

    A subclass writes :meth:`encode`, :meth:`draw`, :meth:`decode` and :meth:`prior_draw`. The likelihood
    p(x | z) is :class:`~zoo.models.families.decoder_likelihood.Observation`'s.

    Args:
        spec: the data.
        beta: weight of the KL in training.
        importance_samples: K of the bound in evaluation; 1 is the ELBO.
        sample_pixels: sample integer data from the decoder instead of rounding its mean.
        conditional: every part is given the label.
    """

    family = "vae"
    likelihood = "lower bound"
    sampling: SamplingOrder = "parallel"

    def __init__(
        self,
        spec: DataSpec,
        beta: float = 1.0,
        importance_samples: int = 1,
        sample_pixels: bool = False,
        conditional: bool = False,
    ) -> None:
        super().__init__(spec, conditional)
        whole(1, importance_samples=importance_samples)
        at_least(0, beta=beta)
        self.beta = beta
        self.importance_samples = importance_samples
        self.sample_pixels = sample_pixels
        self.observation = Observation(spec)

    def encode(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        """What the posterior needs to know of x: tensors whose rows are the examples."""
        raise NotImplementedError

    def draw(self, seen: tuple[Tensor, ...], context: Tensor | None = None) -> Draw:
        """Latents from the posterior, given what :meth:`encode` saw."""
        raise NotImplementedError

    def prior_draw(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        """Latents from the prior, as ``decode`` takes them."""
        raise NotImplementedError

    def decode(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Location and log scale of p(x | z), each ``(B, *shape)``, in data space (integers: in levels)."""
        raise NotImplementedError

    def _log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        seen = self.encode(x, context)
        if not self.training and self.importance_samples > 1:
            return self._importance_bound(x, seen, context)
        draw = self.draw(seen, context)
        reconstruction = self.observation.log_prob(x, *self.decode(draw.z, context))
        return reconstruction - (self.beta if self.training else 1.0) * draw.kl

    def _importance_bound(self, x: Tensor, seen: tuple[Tensor, ...], context: Tensor | None) -> Tensor:
        """The bound of Burda et al. with K = ``importance_samples``, ``(B,)`` nats."""
        log_weights = []
        for first in range(0, self.importance_samples, COPIES_AT_ONCE):
            copies = min(COPIES_AT_ONCE, self.importance_samples - first)
            # copies outside, examples inside: the order in which the noise keeps to its example
            given = None if context is None else _repeat(context, copies)
            draw = self.draw(tuple(_repeat(t, copies) for t in seen), given)
            reconstruction = self.observation.log_prob(_repeat(x, copies), *self.decode(draw.z, given))
            log_weights.append((reconstruction + draw.log_ratio).view(copies, len(x)))
        return torch.cat(log_weights).logsumexp(0) - math.log(self.importance_samples)

    def _sample(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        location, log_scale = self.decode(self.prior_draw(n, temperature, context), context)
        return self.observation.sample(location, log_scale, self.sample_pixels)

    def likelihood_details(self) -> dict[str, Any]:
        bound = "IWAE" if self.importance_samples > 1 else "ELBO"
        return {"bound": bound, "importance_samples": self.importance_samples}

    def sampling_details(self) -> dict[str, Any]:
        return {} if self.spec.levels is None else {"sample_pixels": self.sample_pixels}

    def diagnostics(self, x: Tensor) -> dict[str, Diagnostic]:
        """Posterior collapse: ``active_units``, those with Var_x(E_q[z_i | x]) > 0.01, of ``latent_units``,
        and ``rate``, E_x KL(q || p) in nats (Alemi et al. 2018).

        A unit that the posterior leaves at its prior has the same mean for every x (Burda et al. 2016,
        section 5.2). The variance is the covariance over x of two independent averages over draws, which the
        draws' own spread does not bias. A conditional model is given the label it finds most likely.
        """
        context = None
        if self.conditional:
            labels = range(self.context)
            scores = torch.stack([self.log_prob(x, torch.full((len(x),), y)) for y in labels])
            context = self.one_hot(scores.argmax(0), len(x))
        seen = self.encode(x, context)
        draws = [self.draw(seen, context) for _ in range(2 * DIAGNOSTIC_DRAWS)]
        units = torch.stack([draw.units for draw in draws]).unflatten(0, (2, -1)).mean(1)
        first, second = units - units.mean(1, keepdim=True)
        kl = torch.stack([draw.kl for draw in draws]).mean(0)
        error = float(kl.std()) / math.sqrt(len(x)) if len(x) > 1 else None
        return {
            "active_units": Diagnostic(int(((first * second).mean(0) > ACTIVE).sum())),
            "latent_units": Diagnostic(units.shape[2]),
            "rate": Diagnostic(float(kl.mean()), "nats", error),
        }


def _repeat(rows: Tensor, copies: int) -> Tensor:
    return torch.cat([rows] * copies)


def with_label(x: Tensor, context: Tensor | None) -> Tensor:
    """``x`` ``(B, C, ...)`` and, behind its channels, the context ``(B, K)``, the same at every place."""
    if context is None:
        return x
    planes = context[(...,) + (None,) * (x.ndim - 2)].expand(-1, -1, *x.shape[2:])
    return torch.cat([x, planes], 1)
