"""The base class of latent variable models: evidence lower bound, importance-weighted bound, samples."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from zoo.checks import NotNegativeFloat, Positive, checked
from zoo.data.spec import DataSpec
from zoo.models.core import rng
from zoo.models.core.capabilities import Diagnostic, HasWeightedKL, SamplingOrder
from zoo.models.core.model import GenerativeModel
from zoo.models.families.decoder_likelihood import DecoderLikelihood

ACTIVE = 0.01  # variance above which a latent unit counts as active (Burda et al. 2016, section 5.2)
DIAGNOSTIC_DRAWS = 32  # posterior samples in each of two independent halves
LOG_STD_BOUND = 7.0  # standard deviations of a Gaussian posterior lie between e^-7 and e^7


class PosteriorSample(NamedTuple):
    """One sample z ~ q(z | x) for each example.

    Attributes:
        z: the input of ``decode``, ``(B, ...)``.
        kl: KL(q || p), ``(B,)``, in nats: in closed form if there is one, otherwise -``log_ratio``.
        log_ratio: log p(z) - log q(z | x) at the sample, ``(B,)``, in nats.
        units: mean of each latent unit given x (and the layers above, if there are any), ``(B, U)``.
    """

    z: Tensor
    kl: Tensor
    log_ratio: Tensor
    units: Tensor


class LatentVariableModel(GenerativeModel, HasWeightedKL):
    r"""A latent variable model p(x) = E_{z ~ p} p(x | z), trained by a bound with a posterior q(z | x).

    The evidence lower bound in nats (Kingma & Welling 2014, arXiv:1312.6114, eq. 3; Rezende et al. 2014) is

        ELBO(x) = E_q log p(x | z) - KL(q || p),

    estimated by one sample of z; its mean over samples is at most log p(x).

    In training mode, ``log_prob`` returns E_q log p(x | z) - ``beta`` KL (Higgins et al. 2017), which is not
    a bound for ``beta`` < 1. In evaluation mode ``beta`` is ignored, and ``importance_samples`` K > 1 gives
    the tighter bound log 1/K sum_k p(x | z_k) p(z_k) / q(z_k | x) (Burda et al. 2016, arXiv:1509.00519,
    eq. 8). A conditional model without labels is scored by the same weights, with their mean over the labels
    too, also for K = 1: the exponential of an ELBO is not an unbiased weight.

    Samples: z is drawn from the prior and decoded. For integer data the result is by default the *location*
    of p(x | z), rounded, as in nearly all published VAE images. It is smoother than a sample of the model
    that ``log_prob`` scores; ``sample_pixels=True`` draws such samples, with independent noise in each pixel.
    Continuous data are always sampled from the Gaussian p(x | z). ``temperature`` only scales the latents.

    A subclass implements :meth:`encode`, :meth:`sample_posterior`, :meth:`sample_prior` and :meth:`decode`.
    p(x | z) is :class:`~zoo.models.families.decoder_likelihood.DecoderLikelihood`.

    Args:
        spec: the data.
        beta: weight of the KL in training.
        importance_samples: number K of samples of the bound in evaluation; 1 is the ELBO.
        sample_pixels: sample integer data from p(x | z) instead of rounding its location.
        conditional: condition every network on the label.
    """

    family = "vae"
    likelihood = "lower bound"
    sampling: SamplingOrder = "parallel"

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        beta: NotNegativeFloat = 1.0,
        importance_samples: Positive = 1,
        sample_pixels: bool = False,
        conditional: bool = False,
    ) -> None:
        super().__init__(spec, conditional)
        self.beta = beta
        self.importance_samples = importance_samples
        self.sample_pixels = sample_pixels
        self.decoder_likelihood: DecoderLikelihood = DecoderLikelihood(spec)

    def encode(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the tensors that parametrise q(z | x) for :meth:`sample_posterior`, one row per example."""
        raise NotImplementedError

    def sample_posterior(
        self, encoding: tuple[Tensor, ...], context: Tensor | None = None
    ) -> PosteriorSample:
        """Sample q(z | x), given the tensors that :meth:`encode` returns."""
        raise NotImplementedError

    def sample_prior(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        """Sample ``n`` latents from the prior, as inputs of :meth:`decode`."""
        raise NotImplementedError

    def decode(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the parameters of p(x | z), ``(B, *shape)`` each: location and log scale, or log-odds."""
        raise NotImplementedError

    def _log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if not self.training and self.importance_samples > 1:
            return self._log_weight(x, context)
        reconstruction, kl = self._bound(x, context)
        return reconstruction - (self.beta if self.training else 1.0) * kl

    def _bound(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return log p(x | z) at a sample of q(z | x), and KL(q || p), ``(B,)`` each, in nats."""
        sample = self.sample_posterior(self.encode(x, context), context)
        return self.decoder_likelihood.log_prob(x, *self.decode(sample.z, context)), sample.kl

    @torch.no_grad()
    def bound_parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return E_q log p(x | z), by one sample, and KL(q || p), ``(B,)`` each, in nats.

        Their difference is the evidence lower bound. The noise is keyed by the example's own values, as in
        ``log_prob``. A conditional model is conditioned on each example's most likely label.

        Args:
            x: examples ``(B, *shape)``, in data space.
        """
        x = x.to(device=self.device, dtype=self.dtype)
        with rng.keyed(rng.content_keys(x)):
            if not self.conditional:
                return self._bound(x, None)
            parts = []
            for label in range(self.context):
                rng.seek(0)
                parts.append(torch.stack(self._bound(x, self.one_hot(label, len(x)))))
        bounds = torch.stack(parts)  # (K, 2, B)
        likely = (bounds[:, 0] - bounds[:, 1]).argmax(0)
        reconstruction, kl = bounds[likely, :, torch.arange(len(x), device=x.device)].unbind(1)
        return reconstruction, kl

    def to_latents(self, x: Tensor) -> Tensor:
        """Return a sample of q(z | x) for each example ``(B, *spec.shape)``."""
        return self.sample_posterior(self.encode(x.to(device=self.device, dtype=self.dtype))).z

    def from_latents(self, z: Tensor) -> Tensor:
        """Return examples of latents, drawn as samples of the model are, in data space."""
        return self.decoder_likelihood.sample(*self.decode(z), sample_pixels=self.sample_pixels)

    @property
    def unbiased_weights(self) -> bool:
        return True

    def _log_weight(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self._importance_bound(x, self.encode(x, context), context)

    def _importance_bound(self, x: Tensor, encoding: tuple[Tensor, ...], context: Tensor | None) -> Tensor:
        """Return the bound of Burda et al. with K = ``importance_samples``, ``(B,)``, in nats."""
        log_weights = []
        for first in range(0, self.importance_samples, rng.COPIES_AT_ONCE):
            copies = min(rng.COPIES_AT_ONCE, self.importance_samples - first)
            # copies outside, examples inside: keyed noise then depends on the example only
            labels = None if context is None else _repeat(context, copies)
            sample = self.sample_posterior(tuple(_repeat(t, copies) for t in encoding), labels)
            parameters = self.decode(sample.z, labels)
            reconstruction = self.decoder_likelihood.log_prob(_repeat(x, copies), *parameters)
            log_weights.append((reconstruction + sample.log_ratio).view(copies, len(x)))
        return torch.cat(log_weights).logsumexp(0) - math.log(self.importance_samples)

    def _sample(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        parameters = self.decode(self.sample_prior(n, temperature, context), context)
        return self.decoder_likelihood.sample(*parameters, sample_pixels=self.sample_pixels)

    def likelihood_details(self) -> dict[str, Any]:
        weights = self.importance_samples > 1 or self.conditional  # those of a mixture over the labels
        bound = "IWAE" if weights else "ELBO"
        return {"bound": bound, "importance_samples": self.importance_samples}

    def sampling_details(self) -> dict[str, Any]:
        return {} if self.spec.levels is None else {"sample_pixels": self.sample_pixels}

    def diagnostics(self, x: Tensor) -> dict[str, Diagnostic]:
        """Return measures of posterior collapse on the examples ``x``.

        ``rate`` is E_x KL(q || p) in nats (Alemi et al. 2018, arXiv:1711.00464). ``active_units`` of
        ``latent_units`` have Var_x(E_q[z_i | x]) > 0.01: a unit whose posterior equals its prior has the same
        mean for every x (Burda et al. 2016, section 5.2). The variance is estimated without bias as the
        covariance over x of two independent averages over samples. A conditional model is
        conditioned on each example's most likely label.
        """
        context = None
        if self.conditional:
            labels = range(self.context)
            scores = torch.stack([self.log_prob(x, torch.full((len(x),), y)) for y in labels])
            context = self.one_hot(scores.argmax(0), len(x))
        encoding = self.encode(x, context)
        samples = [self.sample_posterior(encoding, context) for _ in range(2 * DIAGNOSTIC_DRAWS)]
        units = torch.stack([sample.units for sample in samples]).unflatten(0, (2, -1)).mean(1)
        first, second = units - units.mean(1, keepdim=True)
        kl = torch.stack([sample.kl for sample in samples]).mean(0)
        error = float(kl.std()) / math.sqrt(len(x)) if len(x) > 1 else None
        return {
            "active_units": Diagnostic(int(((first * second).mean(0) > ACTIVE).sum())),
            "latent_units": Diagnostic(units.shape[2]),
            "rate": Diagnostic(float(kl.mean()), "nats", error),
        }


def _repeat(rows: Tensor, copies: int) -> Tensor:
    return torch.cat([rows] * copies)


def append_label(x: Tensor, context: Tensor | None) -> Tensor:
    """Append the context ``(B, K)`` to the channels of ``x`` ``(B, C, ...)``, equal at every position."""
    if context is None:
        return x
    planes = context[(...,) + (None,) * (x.ndim - 2)].expand(-1, -1, *x.shape[2:])
    return torch.cat([x, planes], 1)
