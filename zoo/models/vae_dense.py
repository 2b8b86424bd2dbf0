"""VAE with dense networks on flattened examples, as in the tables of papers on binary MNIST."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.checks import NotNegativeFloat, Positive, checked
from zoo.data.spec import DataSpec
from zoo.errors import InvalidData
from zoo.models.core import rng
from zoo.models.core.distributions import LOG_2PI
from zoo.models.core.functional import soft_bound
from zoo.models.core.nfe import add_nfe
from zoo.models.families.decoder_likelihood import BernoulliLikelihood
from zoo.models.families.latent import LOG_STD_BOUND, LatentVariableModel, PosteriorSample
from zoo.models.networks.encoder import activation_layer
from zoo.models.networks.posterior_flows import PosteriorFlow, PosteriorFlows
from zoo.models.networks.von_mises_fisher import VonMisesFisher, log_area

SMALLEST_STD = 1e-8  # with std=softplus, whose logarithm would not be finite at zero

Activation = Literal["relu", "tanh", "softplus", "elu"]


class DenseVAE(LatentVariableModel):
    """A VAE (Kingma & Welling 2014, arXiv:1312.6114) of dense networks.

    The posterior is N(m(x), s(x)^2), or its image under flows with parameters computed from x, and the prior
    N(0, I). Or z is a unit vector with a von Mises-Fisher posterior around m(x) / |m(x)|, and the prior is
    uniform on the sphere (Davidson et al. 2018, arXiv:1804.00891; the concentration is 1 + softplus of the
    network's output, as in the authors' public program). p(x | z) is a Bernoulli for binary data; for other
    data see :class:`~zoo.models.families.decoder_likelihood.DecoderLikelihood`. Images are flattened. Weights
    start as torch's ``Linear``: uniform, within 1/sqrt(fan-in). With flows the KL is estimated at the sample.

    Validation is by the evidence lower bound, also with ``importance_samples`` above 1, which may be
    thousands: the importance-weighted bound is computed a few samples at a time.

    Args:
        spec: the data.
        latent_dim: dimensions of the latents: the length of z, one less on a sphere.
        encoder: widths of the encoder's hidden layers.
        decoder: widths of the decoder's hidden layers, from z to x.
        activation: ``relu``, ``tanh``, ``softplus`` or ``elu``.
        posterior: ``gaussian``, or with flows after it: ``planar`` (Rezende & Mohamed 2015) or ``sylvester``
            (van den Berg et al. 2018), see :mod:`zoo.models.networks.posterior_flows`; or ``vmf``, von
            Mises-Fisher on a sphere, see :mod:`zoo.models.networks.von_mises_fisher`.
        flows: number of flows (``planar`` and ``sylvester`` only).
        columns: number of orthonormal columns (``sylvester`` only).
        std: map from the network's output to s (not on a sphere): ``softplus``, or ``exp`` (soft-clamped to
            e^-7 .. e^7).
        beta, importance_samples, sample_pixels, conditional: see
            :class:`~zoo.models.families.latent.LatentVariableModel`. Labels are appended to x and to z.
    """

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        latent_dim: Positive = 20,
        encoder: Sequence[Positive] = (256, 128),
        decoder: Sequence[Positive] = (128, 256),
        activation: Activation = "relu",
        std: Literal["softplus", "exp"] = "softplus",
        posterior: Literal["gaussian", "vmf"] | PosteriorFlow = "gaussian",
        flows: Positive = 4,
        columns: Positive = 8,
        beta: NotNegativeFloat = 1.0,
        importance_samples: Positive = 1,
        sample_pixels: bool = False,
        conditional: bool = False,
    ) -> None:
        super().__init__(
            spec,
            beta=beta,
            importance_samples=importance_samples,
            sample_pixels=sample_pixels,
            conditional=conditional,
        )
        if spec.levels == 2:
            self.decoder_likelihood = BernoulliLikelihood(spec)
        self.latent_dim, self.std, self.on_sphere = latent_dim, std, posterior == "vmf"
        self.latent_size = latent_dim + 1 if self.on_sphere else latent_dim
        outputs = self.decoder_likelihood.outputs * spec.dim
        # mean and concentration, or mean, standard deviation and, for flows, features
        encoded = latent_dim + 2 if self.on_sphere else (2 if posterior == "gaussian" else 3) * latent_dim
        self.encoder = _dense([spec.dim + self.context, *encoder, encoded], activation)
        self.flow = (
            PosteriorFlows(posterior, latent_dim, latent_dim, layers=flows, columns=columns)
            if posterior != "gaussian" and posterior != "vmf"
            else None
        )
        self.decoder = _dense([self.latent_size + self.context, *decoder, outputs], activation)

    def encode(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return mean, log standard deviation and, for flows, features, ``(B, latent_dim)`` each.

        On a sphere: the mean direction ``(B, latent_dim + 1)`` and the concentration ``(B,)``.
        """
        add_nfe()
        output = self.encoder(_with(self.decoder_likelihood.to_network(x).flatten(1), context))
        if self.on_sphere:
            output = output.to(
                torch.promote_types(output.dtype, torch.float32)
            )  # unit vectors need precision
            return F.normalize(output[:, :-1]), 1 + F.softplus(output[:, -1])
        mean, raw, *features = output.split(self.latent_dim, 1)
        if self.std == "exp":
            return mean, soft_bound(raw, -LOG_STD_BOUND, LOG_STD_BOUND), *features
        return mean, F.softplus(raw).clamp(min=SMALLEST_STD).log(), *features

    def sample_posterior(
        self, encoding: tuple[Tensor, ...], context: Tensor | None = None
    ) -> PosteriorSample:
        if self.on_sphere:
            posterior = VonMisesFisher(*encoding)
            z = posterior.sample()
            log_ratio = -log_area(self.latent_size) - posterior.log_prob(z)
            return PosteriorSample(z, posterior.kl_to_uniform(), log_ratio, posterior.mean)
        mean, log_std, *features = encoding
        e = rng.normal(mean)
        z = mean + log_std.exp() * e
        log_q = -(0.5 * (e.square() + LOG_2PI) + log_std).sum(1)
        if self.flow is not None:
            z, log_det = self.flow(z, features[0])
            log_ratio = _log_normal(z) - log_q + log_det
            return PosteriorSample(z, -log_ratio, log_ratio, z)
        kl = 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).sum(1)
        return PosteriorSample(z, kl, _log_normal(z) - log_q, mean)

    def sample_prior(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        noise = self.latents(n, self.latent_size)
        if not self.on_sphere:
            return temperature * noise
        if temperature != 1:
            raise InvalidData(f"A uniform prior on a sphere has no temperature but 1; got {temperature!r}.")
        return F.normalize(noise)

    def decode(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        shape = self.spec.shape
        channels = self.decoder_likelihood.outputs * shape[0]
        output = self.decoder(_with(z, context)).view(len(z), channels, *shape[1:])
        return self.decoder_likelihood.parameters(output)

    def validation_log_prob(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the evidence lower bound, ``(B,)``, in nats, by one sample of z."""
        x = x.to(device=self.device, dtype=self.dtype)
        with rng.keyed(rng.content_keys(x)):
            if not self.conditional or y is not None:
                return self._evidence_bound(x, self.one_hot(y, len(x)))
            return self.label_mixture(self._evidence_bound, x, unbiased=False)

    def _evidence_bound(self, x: Tensor, context: Tensor | None) -> Tensor:
        reconstruction, kl = self._bound(x, context)
        return reconstruction - kl


def _dense(widths: Sequence[int], activation: Activation) -> nn.Sequential:
    """Return affine maps between these widths, with activations between them."""
    layers: list[nn.Module] = []
    for below, above in itertools.pairwise(widths):
        layers += [nn.Linear(below, above), activation_layer(activation)]
    return nn.Sequential(*layers[:-1])


def _log_normal(z: Tensor) -> Tensor:
    return -0.5 * (z.square() + LOG_2PI).sum(1)


def _with(x: Tensor, context: Tensor | None) -> Tensor:
    """Return rows ``(B, D)`` with their context ``(B, K)`` appended, if there is one."""
    return x if context is None else torch.cat([x, context], 1)
