"""Generative adversarial networks: samplers without a density."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from zoo.checks import above, whole
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.core.functional import from_symmetric, to_symmetric
from zoo.models.core.model import GenerativeModel
from zoo.models.networks.critic import Critic
from zoo.models.networks.decoder import Decoder
from zoo.models.networks.encoder import Encoder, Norm
from zoo.models.networks.lipschitz import SpectralNorm
from zoo.models.networks.residual import ResidualFeatures, ResidualGenerator

Architecture = Literal["dcgan", "residual"]
CriticNorm = Literal["none", "group", "spectral", "lipschitz"]


class AdversarialModel(GenerativeModel):
    """x = G(z) with z ~ N(0, I), fitted against a critic D (Goodfellow et al. 2014).

    The training rule plays the game, e.g. max_D E log S(D(x)) + E log(1 - S(D(G(z)))) with S the logistic
    function; this class holds the maps between data and *network space*: [-1, 1] for integer data (G ends in
    a tanh, as in Radford et al. 2016), the data's own values otherwise. A subclass sets the two players,
    ``generator``, (z, one-hot label) to network space before the tanh, and ``critic``, which judges by
    projection (Miyato & Koyama 2018).

    Args:
        spec: the data.
        latent_dim: length of z.
        conditional: sample from and judge each label by itself.
        truncation: psi in (0, 1]; below 1, samples come from the latents' bulk: z is a standard normal given
            that every |z_i| <= t, where a normal keeps within t with probability psi. That is the outcome of
            drawing z_i again until it lies within t (Brock et al. 2019). Training knows nothing of it.
        critic_norm: a subclass's, checked here.
        sizes: a subclass's, checked here to be whole and at least 1 where they are given.
    """

    family = "gan"
    likelihood = "none"
    sampling = "parallel"
    objective = "adversarial"
    generator: nn.Module
    critic: Critic

    def __init__(
        self,
        spec: DataSpec,
        latent_dim: int = 64,
        conditional: bool = False,
        truncation: float = 1.0,
        critic_norm: CriticNorm = "none",
        **sizes: int | None,
    ) -> None:
        super().__init__(spec, conditional)
        whole(1, latent_dim=latent_dim, **sizes)
        if critic_norm not in get_args(CriticNorm):
            raise ZooError(
                f"model.critic_norm is {' or '.join(get_args(CriticNorm))}; got '{critic_norm}'. Batch "
                "norm would make the verdict on an example depend on the others of its batch."
            )
        above(0, truncation=truncation)
        if truncation > 1:
            raise ZooError(f"model.truncation lies in (0, 1], where 1 is none; got {truncation}.")
        self.latent_dim, self.truncation = latent_dim, truncation

    def generate(
        self,
        n: int,
        temperature: float = 1.0,
        context: Tensor | None = None,
        truncation: float = 1.0,
    ) -> Tensor:
        """Fakes ``(n, *shape)`` in network space, differentiable in the generator's weights.

        Args:
            n: number of examples.
            temperature: factor on the latents.
            context: one-hot labels ``(n, classes)`` of a conditional model.
            truncation: psi, see the class.
        """
        z = truncated(self.latents(n, self.latent_dim), truncation)
        return self._squash(self.generator(temperature * z, context))

    def _squash(self, fakes: Tensor) -> Tensor:
        return fakes if self.spec.levels is None else torch.tanh(fakes)

    def to_network(self, x: Tensor) -> Tensor:
        """Data to network space: 2x/(levels-1) - 1 of integers, continuous values as they are."""
        return to_symmetric(x, self.spec.levels)

    def from_network(self, y: Tensor) -> Tensor:
        """Network space to data, integers rounded to the nearest level: undoes :meth:`to_network` exactly."""
        if self.spec.levels is None:
            return y
        return self.spec.quantise(from_symmetric(y, self.spec.levels))

    def sampling_details(self) -> dict[str, Any]:
        return {"truncation": self.truncation} if self.truncation < 1 else {}

    def _sample(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        return self.from_network(self.generate(n, temperature, context, self.truncation))


class Generator(Decoder):
    """A decoder of the latent and, where there is one, the one-hot label appended to it."""

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """``(B, latent_dim)`` and ``(B, context)`` to ``(B, *shape)``, unbounded."""
        return super().forward(z if context is None else torch.cat([z, context], 1))


class GAN(AdversarialModel):
    """Two players of images or vectors; a WGAN, a WGAN-GP and an SNGAN are settings of it and of its rule.

    Architectures, of images:

    - ``dcgan``: Radford et al. 2016. Strided and transposed convolutions, ReLU in G, leaky ReLU in D; of a
      conditional model, G sees the one-hot label beside z.
    - ``residual``: Gulrajani et al. 2017; Miyato et al. 2018. The label scales and shifts
      what each norm of G returns.

    Vectors pass through dense layers in either.

    G has group norm where the papers have batch norm. Batch norm would make a sample depend on the others of
    its batch, its running statistics would lag behind averaged weights (EMA) and differ between processes
    (DDP); group norm has none of that, so G is the same function in training and evaluation. D has no norm by
    default, so that a penalty on its gradient at one example concerns that example alone.

    Args:
        spec: the data.
        latent_dim: length of z.
        architecture: ``dcgan`` or ``residual`` (images only).
        width: channels. ``dcgan``: at the image's own size; double at each halving, up to four times.
            ``residual``: of every block.
        hidden: units of the hidden layers (vectors, and one in each network of ``dcgan``).
        depth: hidden layers of each network (vectors only).
        generator_norm: ``group`` or ``none``, in the generator's convolutions (images only).
        critic_norm: ``none``, ``group`` (after convolutions: images only), ``spectral`` or ``lipschitz`` (of
            every layer, of vectors too). ``spectral`` (Miyato et al. 2018) divides
            each weight, a kernel as the matrix (out, in x height x width), by its largest singular
            value. That bounds D's Lipschitz constant by 1 for vectors, whose D is dense; a convolution's may
            be as large as the root of its taps, 3 for a 3x3 kernel. ``lipschitz`` bounds the norm of each
            convolution itself, and the constant of every D by 1, given any label.
        critic_width: channels of the critic; the generator's by default.
        conditional, truncation: as the base class's.
    """

    def __init__(
        self,
        spec: DataSpec,
        latent_dim: int = 64,
        architecture: Architecture = "dcgan",
        width: int = 24,
        hidden: int = 96,
        depth: int = 2,
        generator_norm: Norm = "group",
        critic_norm: CriticNorm = "none",
        critic_width: int | None = None,
        conditional: bool = False,
        truncation: float = 1.0,
    ) -> None:
        super().__init__(
            spec, latent_dim, conditional, truncation, critic_norm,
            width=width, hidden=hidden, depth=depth, critic_width=critic_width,
        )  # fmt: skip
        if generator_norm not in ("group", "none"):
            raise ZooError(f"model.generator_norm is group or none; got '{generator_norm}'.")
        if architecture not in ("dcgan", "residual"):
            raise ZooError(f"model.architecture is dcgan or residual; got '{architecture}'.")
        breadth = width if critic_width is None else critic_width
        if architecture == "residual" and spec.is_image:
            self.generator = ResidualGenerator(latent_dim, spec.shape, width, generator_norm, self.context)
            self.critic = residual_critic(spec, breadth, critic_norm, self.context)
        else:
            units = latent_dim + self.context
            self.generator = Generator(units, spec.shape, 1, width, hidden, depth, generator_norm, "relu")
            self.critic = plain_critic(spec, breadth, hidden, depth, critic_norm, self.context)


def plain_critic(spec: DataSpec, width: int, hidden: int, depth: int, norm: Norm, context: int) -> Critic:
    """The critic of ``dcgan`` and of vectors: an encoder, its last layer replaced by the critic's head."""
    *features, last = Encoder(spec.shape, 1, width, hidden, depth, norm, "leaky_relu").layers
    units = (last.layer if isinstance(last, SpectralNorm) else last).in_features
    return Critic(nn.Sequential(*features), units, norm, context)  # type: ignore[arg-type]


def residual_critic(spec: DataSpec, width: int, norm: Norm, context: int) -> Critic:
    """The critic of ``residual`` and of the style-based generator."""
    return Critic(ResidualFeatures(spec.shape, width, norm), width, norm, context)


def truncated(z: Tensor, share: float) -> Tensor:
    """Standard normal numbers as those of a normal that is cut to [-t, t], with P(|z| <= t) = ``share``.

    The map is monotone, z -> Q(1/2 + share (P(z) - 1/2)) with the normal's distribution function P and its
    inverse Q, so the same noise gives neighbouring samples whatever the share.
    """
    if share == 1:
        return z
    middle = share * 0.5 * torch.erf(z.double() / 2**0.5)
    return (2**0.5 * torch.erfinv(2 * middle)).to(z.dtype)
