"""The base class of adversarial models: generator, discriminator and the maps between data and networks.

zoo calls every discriminator a *critic*, after the Wasserstein GAN (Arjovsky et al. 2017), whether its output
is the logit of a probability or an unbounded score.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from annotated_types import Gt, Le
from torch import Tensor, nn

from zoo.checks import Positive, checked
from zoo.data.spec import DataSpec
from zoo.models.core.capabilities import HasTruncation
from zoo.models.core.functional import from_symmetric, to_symmetric
from zoo.models.core.model import GenerativeModel
from zoo.models.networks.critic import Critic
from zoo.models.networks.encoder import Encoder
from zoo.models.networks.residual import ResidualFeatures
from zoo.models.networks.spectral_norm import SpectralNorm

CriticNorm = Literal["none", "group", "spectral", "lipschitz"]
Truncation = Annotated[float, Gt(0), Le(1)]


class AdversarialModel(GenerativeModel, HasTruncation):
    """A generator x = G(z), z ~ N(0, I), with its critic D (Goodfellow et al. 2014, arXiv:1406.2661).

    The training module defines the objective, e.g. max_D E log S(D(x)) + E log(1 - S(D(G(z)))) with the
    logistic function S. This class maps between data and *network space*: [-1, 1] for integer data, where G
    ends in a tanh (Radford et al. 2016), and the data's own values otherwise. A subclass sets ``generator``,
    from (z, one-hot label) to network space before the tanh, and ``critic``.

    Args:
        spec: the data.
        latent_dim: length of z.
        conditional: condition the generator and the critic on the label.
        truncation: psi in (0, 1]; below 1, samples use a z whose entries all satisfy |z_i| <= t, where a
            standard normal satisfies it with probability psi. This is the distribution of z_i that is
            redrawn until |z_i| <= t (Brock et al. 2019, arXiv:1809.11096). Training ignores it.
    """

    family = "gan"
    likelihood = "none"
    objective = "adversarial"
    sampling = "parallel"
    generator: nn.Module
    critic: Critic

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        latent_dim: Positive = 64,
        conditional: bool = False,
        truncation: Truncation = 1.0,
    ) -> None:
        super().__init__(spec, conditional)
        self.latent_dim, self.truncation = latent_dim, truncation

    def generate(
        self,
        n: int,
        temperature: float = 1.0,
        context: Tensor | None = None,
        truncation: float = 1.0,
    ) -> Tensor:
        """Generate ``(n, *shape)`` examples in network space, differentiable in the generator's weights.

        Args:
            n: number of examples.
            temperature: factor on the latents.
            context: one-hot labels ``(n, classes)`` of a conditional model.
            truncation: psi, see the class.
        """
        z = truncated(self.latents(n, self.latent_dim), truncation)
        return self.squash(self.generator(temperature * z, context))

    def squash(self, output: Tensor) -> Tensor:
        """Map the generator's output to network space: tanh for integer data, the identity otherwise."""
        return output if self.spec.levels is None else torch.tanh(output)

    def to_network(self, x: Tensor) -> Tensor:
        """Map data to network space: 2x/(levels-1) - 1 for integers, continuous values unchanged."""
        return to_symmetric(x, self.spec.levels)

    def from_network(self, y: Tensor) -> Tensor:
        """Map network space to data, with integers rounded: the inverse of :meth:`to_network`."""
        return y if self.spec.levels is None else self.spec.quantise(from_symmetric(y, self.spec.levels))

    def sampling_details(self) -> dict[str, Any]:
        return {"truncation": self.truncation} if self.truncation < 1 else {}

    def _sample(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        return self.from_network(self.generate(n, temperature, context, self.truncation))


def encoder_critic(
    spec: DataSpec, *, width: int, hidden: int, depth: int, norm: CriticNorm, context: int
) -> Critic:
    """Return a critic with an encoder's features, without its last layer (for ``dcgan`` and vectors)."""
    encoder = Encoder(
        spec.shape, 1, width=width, hidden=hidden, depth=depth, norm=norm, activation="leaky_relu"
    )
    *features, last = encoder.layers
    linear = last.layer if isinstance(last, SpectralNorm) else last
    assert isinstance(linear, nn.Linear)
    return Critic(nn.Sequential(*features), linear.in_features, norm=norm, context=context)


def residual_critic(spec: DataSpec, *, width: int, norm: CriticNorm, context: int) -> Critic:
    """Return a critic of images with residual features (for ``residual`` and StyleGAN)."""
    return Critic(ResidualFeatures(spec.shape, width=width, norm=norm), width, norm=norm, context=context)


def truncated(z: Tensor, share: float) -> Tensor:
    """Map standard normal numbers to a normal truncated to [-t, t], where P(|z| <= t) = ``share``.

    The map is z -> Q(1/2 + share (P(z) - 1/2)), with the normal's distribution function P and its inverse Q.
    It is monotone, so the same noise gives similar samples for any share.

    >>> truncated(torch.tensor([-3.0, 0.0, 3.0]), 0.5).abs().max() < 0.6745  # the normal's upper quartile
    tensor(True)
    """
    if share == 1:
        return z
    middle = share * 0.5 * torch.erf(z.double() / 2**0.5)
    return (2**0.5 * torch.erfinv(2 * middle)).to(z.dtype)
