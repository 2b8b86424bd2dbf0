"""VAE: a variational autoencoder with one layer of latents and, optionally, flows as posterior and prior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

from zoo.checks import NotNegativeFloat, Positive, checked, settings
from zoo.data.spec import DataSpec
from zoo.models.bijections.autoregressive import MaskedAffineAutoregressive
from zoo.models.bijections.base import Bijection, Chain
from zoo.models.bijections.reverse import Reverse
from zoo.models.core import rng
from zoo.models.core.distributions import (
    LOG_2PI,
    Distribution,
    MixtureOfNormals,
    StandardNormal,
    Transformed,
)
from zoo.models.core.functional import soft_bound
from zoo.models.families.latent import LOG_STD_BOUND, LatentVariableModel, PosteriorSample, append_label
from zoo.models.networks.decoder import Decoder
from zoo.models.networks.encoder import Activation, Encoder, Norm


@settings
class Latents:
    """The posterior and the prior of a VAE's latents z.

    The posterior starts from a Gaussian, z_0 = m(x) + s(x) e with e ~ N(0, I), and is

    - ``gaussian``: z = z_0, so that KL(q || N(0, I)) = 1/2 sum(m^2 + s^2 - 1 - 2 log s) exactly;
    - ``iaf``: z = f(z_0; h(x)) with a chain f of masked affine autoregressive layers, applied in their fast
      direction and conditioned on features h of x (inverse autoregressive flow, Kingma et al. 2016,
      arXiv:1606.04934): log q(z | x) = log N(z_0; m, s^2) - log|det df/dz_0|.

    The prior p(z) is

    - ``normal``: N(0, I);
    - ``mixture``: normals with learned weights, means and standard deviations;
    - ``flow``: a MAF, whose masked affine autoregressive layers map z to N(0, I) (Chen et al. 2017,
      arXiv:1611.02731). Sampling takes ``flow_layers`` times the length of z sequential steps.

    Attributes:
        posterior: ``gaussian`` or ``iaf``.
        prior: ``normal``, ``mixture`` or ``flow``.
        components: number of normals of the mixture.
        flow_layers: number of layers of either flow.
        flow_hidden: widths of the hidden layers in each of these layers.
    """

    posterior: Literal["gaussian", "iaf"] = "gaussian"
    prior: Literal["normal", "mixture", "flow"] = "normal"
    components: Positive = 10
    flow_layers: Positive = 2
    flow_hidden: Sequence[Positive] = (64, 64)


class VAE(LatentVariableModel):
    r"""A variational autoencoder (Kingma & Welling 2014, arXiv:1312.6114) with a vector of latents.

    If KL(q || p) has no closed form (see :class:`Latents`), it is estimated by log q - log p at the sample.

    Args:
        spec: the data.
        latent_dim: length of z.
        width: channels at the image's size, doubled at each halving up to four times (images only).
        hidden: units of the hidden layers.
        depth: hidden layers of each network (vectors only).
        norm: ``group`` or ``batch`` after the convolutions (images only), ``spectral`` in every layer of the
            encoder and the decoder, or ``none``.
        activation: ``relu``, ``leaky_relu``, ``silu`` or ``elu``.
        latents: posterior and prior of z.
        beta, importance_samples, sample_pixels, conditional: see
            :class:`~zoo.models.families.latent.LatentVariableModel`.

    Raises:
        ZooError: a setting outside its range, or ``conditional`` for data without labels.
    """

    for_vectors = ("depth",)
    for_images = ("width",)

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        latent_dim: Positive = 16,
        width: Positive = 32,
        hidden: Positive = 96,
        depth: Positive = 2,
        norm: Norm = "group",
        activation: Activation = "silu",
        latents: Latents = Latents(),
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
        self.latent_dim = latent_dim
        with_flow = latents.posterior == "iaf"
        # for each latent: mean, standard deviation and, with a flow, one conditioning feature
        outputs = (3 if with_flow else 2) * latent_dim
        shape = (spec.shape[0] + self.context, *spec.shape[1:])
        network: dict[str, Any] = {
            "width": width, "hidden": hidden, "depth": depth, "norm": norm, "activation": activation
        }  # fmt: skip
        self.encoder = Encoder(shape, outputs, **network)
        self.decoder = Decoder(latent_dim + self.context, spec.shape, 2, **network)
        self.flow = _flow(latent_dim, latents, latent_dim + self.context) if with_flow else None
        self.prior = _prior(latent_dim, latents, self.context)
        self.sampling = "sequential" if latents.prior == "flow" else "parallel"

    def posterior(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation of the Gaussian z_0, ``(B, latent_dim)`` each."""
        mean, log_std, *_ = self.encode(x, context)
        return mean, log_std

    def encode(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return mean, log standard deviation and, with a flow, its features, ``(B, latent_dim)`` each."""
        features = self.encoder(append_label(self.decoder_likelihood.to_network(x), context))
        mean, raw, *flow_features = features.split(self.latent_dim, 1)
        return mean, soft_bound(raw, -LOG_STD_BOUND, LOG_STD_BOUND), *flow_features

    def sample_posterior(
        self, encoding: tuple[Tensor, ...], context: Tensor | None = None
    ) -> PosteriorSample:
        mean, log_std, *features = encoding
        e = rng.normal(mean)
        z = mean + log_std.exp() * e
        log_q = -(0.5 * (e.square() + LOG_2PI) + log_std).sum(1)
        units = mean
        if self.flow is not None:
            z, log_det = self.flow(z, append_label(features[0], context))
            log_q, units = log_q - log_det, z
        log_ratio = self.prior.log_prob(z, context) - log_q
        kl = -log_ratio
        if self.flow is None and isinstance(self.prior, StandardNormal):
            kl = 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).sum(1)
        return PosteriorSample(z, kl, log_ratio, units)

    def sample_prior(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        return self.prior.sample(n, temperature, context)

    def decode(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        return self.decoder_likelihood.parameters(self.decoder(append_label(z, context)))


def _prior(dim: int, latents: Latents, context: int) -> Distribution:
    if latents.prior == "normal":
        return StandardNormal((dim,))
    if latents.prior == "mixture":
        return MixtureOfNormals((dim,), latents.components, context)
    return Transformed(StandardNormal((dim,)), _flow(dim, latents, context))


def _flow(dim: int, latents: Latents, context: int) -> Bijection:
    """Return masked affine autoregressive layers, each followed by a reversal of the order."""
    chain: list[Bijection] = []
    for _ in range(latents.flow_layers):
        chain += [MaskedAffineAutoregressive(dim, latents.flow_hidden, context=context), Reverse()]
    return Chain(chain)
