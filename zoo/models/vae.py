"""The variational autoencoder: one layer of latents, a flow or none in its posterior and in its prior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor

from zoo.checks import whole
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
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
from zoo.models.families.latent import Draw, LatentVariableModel, with_label
from zoo.models.networks.decoder import Decoder
from zoo.models.networks.encoder import Activation, Encoder, Norm

LOG_STD_BOUND = 7.0  # posterior: standard deviations from e^-7 to e^7

Posterior = Literal["gaussian", "iaf"]
Prior = Literal["normal", "mixture", "flow"]


class VAE(LatentVariableModel):
    r"""A variational autoencoder (Kingma & Welling 2014, arXiv:1312.6114) with a vector of latents.

    The posterior starts from a Gaussian, z_0 = m(x) + s(x) e with e ~ N(0, I), and is

    - ``gaussian``: z = z_0, for which KL(q || N(0, I)) = 1/2 sum(m^2 + s^2 - 1 - 2 log s) exactly;
    - ``iaf``: z = f(z_0; h(x)) with f a chain of the zoo's masked affine autoregressive layers, applied in
      their fast direction and given features h of x (inverse autoregressive flow, Kingma et al. 2016,
      arXiv:1606.04934): log q(z | x) = log N(z_0; m, s^2) - log|det df/dz_0|.

    The prior p(z) is ``normal``, N(0, I); ``mixture``, of normals with learned weights, means and deviations;
    or ``flow``, a MAF: N(0, I) seen through the same kind of layers in their normalising direction (Chen et
    al. 2017, arXiv:1611.02731). Its samples cost ``flow_layers`` * ``latent_dim`` sequential steps. Where the
    KL has no closed form, log q - log p at the draw stands for it.

    Args:
        spec: the data.
        latent_dim: length of z.
        width: channels at the image's own size; double at each halving, up to four times (images only).
        hidden: units of the hidden layers.
        depth: hidden layers of each network (vectors only).
        norm: ``group`` or ``batch``, after the convolutions (images only); ``spectral``, of every layer of
            the encoder and the decoder; or ``none``.
        activation: ``relu``, ``leaky_relu``, ``silu`` or ``elu``.
        posterior: ``gaussian`` or ``iaf``.
        prior: ``normal``, ``mixture`` or ``flow``.
        flow_layers: layers of either flow.
        flow_hidden: widths of the hidden layers of each of them.
        components: normals of the mixture.
        beta, importance_samples, sample_pixels, conditional: as
            :class:`~zoo.models.families.latent.LatentVariableModel`'s.
    """

    def __init__(
        self,
        spec: DataSpec,
        latent_dim: int = 16,
        width: int = 32,
        hidden: int = 96,
        depth: int = 2,
        norm: Norm = "group",
        activation: Activation = "silu",
        posterior: Posterior = "gaussian",
        prior: Prior = "normal",
        flow_layers: int = 2,
        flow_hidden: Sequence[int] = (64, 64),
        components: int = 10,
        beta: float = 1.0,
        importance_samples: int = 1,
        sample_pixels: bool = False,
        conditional: bool = False,
    ) -> None:
        super().__init__(spec, beta, importance_samples, sample_pixels, conditional)
        whole(
            1, latent_dim=latent_dim, width=width, hidden=hidden, depth=depth, flow_layers=flow_layers,
            flow_hidden=flow_hidden, components=components,
        )  # fmt: skip
        if posterior not in get_args(Posterior):
            raise ZooError(f"model.posterior is one of {', '.join(get_args(Posterior))}; got '{posterior}'.")
        self.latent_dim = latent_dim
        seen = (spec.shape[0] + self.context, *spec.shape[1:])
        features = 3 if posterior == "iaf" else 2  # mean, deviation and, for the flow, as many of its own
        self.encoder = Encoder(seen, features * latent_dim, width, hidden, depth, norm, activation)
        self.decoder = Decoder(
            latent_dim + self.context, spec.shape, 2, width, hidden, depth, norm, activation
        )
        self.flow = (
            _flow(latent_dim, flow_layers, flow_hidden, latent_dim + self.context)
            if posterior == "iaf"
            else None
        )
        self.sampling = "sequential" if prior == "flow" else "parallel"
        self.prior = self._make_prior(prior, flow_layers, flow_hidden, components)

    def _make_prior(self, name: str, layers: int, hidden: Sequence[int], components: int) -> Distribution:
        shape = (self.latent_dim,)
        if name == "normal":
            return StandardNormal(shape)
        if name == "mixture":
            return MixtureOfNormals(shape, components, self.context)
        if name == "flow":
            return Transformed(StandardNormal(shape), _flow(self.latent_dim, layers, hidden, self.context))
        raise ZooError(f"model.prior is one of {', '.join(get_args(Prior))}; got '{name}'.")

    def posterior(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of the Gaussian that q starts from, each ``(B, latent_dim)``."""
        mean, log_std, *_ = self.encode(x, context)
        return mean, log_std

    def encode(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        mean, raw, *features = self.encoder(with_label(self.observation.centre(x), context)).split(
            self.latent_dim, 1
        )
        return mean, soft_bound(raw, -LOG_STD_BOUND, LOG_STD_BOUND), *features

    def draw(self, seen: tuple[Tensor, ...], context: Tensor | None = None) -> Draw:
        mean, log_std, *features = seen
        e = rng.normal(mean)
        z = mean + log_std.exp() * e
        log_q = -(0.5 * (e.square() + LOG_2PI) + log_std).sum(1)
        units = mean
        if self.flow is not None:
            z, log_det = self.flow(z, with_label(features[0], context))
            log_q, units = log_q - log_det, z
        log_ratio = self.prior.log_prob(z, context) - log_q
        kl = -log_ratio
        if self.flow is None and isinstance(self.prior, StandardNormal):
            kl = 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).sum(1)
        return Draw(z, kl, log_ratio, units)

    def prior_draw(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        return self.prior.sample(n, temperature, context)

    def decode(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.observation.parameters(self.decoder(with_label(z, context)))


def _flow(dim: int, layers: int, hidden: Sequence[int], context: int) -> Bijection:
    """Masked affine autoregressive layers with the order reversed in between; starts as the reversals."""
    chain: list[Bijection] = []
    for _ in range(layers):
        chain += [MaskedAffineAutoregressive(dim, hidden, context=context), Reverse()]
    return Chain(chain)
