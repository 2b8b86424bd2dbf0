"""The generative adversarial network: a sampler without a density."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.base import GenerativeModel
from zoo.models.networks.decoder import Decoder
from zoo.models.networks.encoder import Encoder, Norm


class Critic(Encoder):
    """An encoder with one output: ``(B, *shape)`` in network space to logits ``(B,)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B,)``: large where the critic takes ``x`` for data."""
        return super().forward(x).squeeze(1)


class GAN(GenerativeModel):
    """x = G(z) with z ~ N(0, I), fitted against a critic D (Goodfellow et al. 2014).

    The training rule plays the game, e.g. max_D E log S(D(x)) + E log(1 - S(D(G(z)))) with S the logistic
    function; this class holds the two players and the maps between data and *network space*: [-1, 1] for
    integer data (G ends in a tanh, as in Radford et al. 2016), the data's own values otherwise.

    The networks follow Radford et al.: strided and transposed convolutions, ReLU in G, leaky ReLU in D. But G
    has group norm where they have batch norm. Batch norm would make a sample depend on the others of its
    batch, its running statistics would lag behind averaged weights (EMA) and differ between processes (DDP);
    group norm has none of that, so G is the same function in training and evaluation. D has no norm by
    default, so that a penalty on its gradient at one example concerns that example alone.

    Args:
        spec: the data.
        latent_dim: length of z.
        width: channels at the image's own size; double at each halving, up to four times (images only).
        hidden: units of the hidden layers.
        depth: hidden layers of each network (vectors only).
        generator_norm: ``group`` or ``none``, in the generator's convolutions.
        critic_norm: ``none``, ``group``, or ``spectral`` (Miyato et al. 2018), which bounds D's Lipschitz
            constant.
    """

    family = "gan"
    likelihood = "none"
    rule = "adversarial"

    def __init__(
        self,
        spec: DataSpec,
        latent_dim: int = 64,
        width: int = 24,
        hidden: int = 96,
        depth: int = 2,
        generator_norm: Norm = "group",
        critic_norm: Norm = "none",
    ) -> None:
        super().__init__(spec)
        if latent_dim < 1:
            raise ZooError("A GAN needs latent_dim >= 1.")
        if "batch" in (generator_norm, critic_norm):
            raise ZooError("A GAN takes no batch norm; use group (or spectral for the critic).")
        self.latent_dim = latent_dim
        self.generator = Decoder(latent_dim, spec.shape, 1, width, hidden, depth, generator_norm, "relu")
        self.critic = Critic(spec.shape, 1, width, hidden, depth, critic_norm, "leaky_relu")

    def generate(self, n: int, temperature: float = 1.0) -> Tensor:
        """Fakes ``(n, *shape)`` in network space, differentiable in the generator's weights."""
        fakes = self.generator(temperature * self.latents(n, self.latent_dim))
        return fakes if self.spec.levels is None else torch.tanh(fakes)

    def to_network(self, x: Tensor) -> Tensor:
        """Data to network space: 2x/(levels-1) - 1 of integers, continuous values as they are."""
        if self.spec.levels is None:
            return x
        return x * (2 / (self.spec.levels - 1)) - 1

    def from_network(self, y: Tensor) -> Tensor:
        """Network space to data, integers rounded to the nearest level: undoes :meth:`to_network` exactly."""
        if self.spec.levels is None:
            return y
        return self.spec.quantise((y + 1) * ((self.spec.levels - 1) / 2))

    def _sample(self, n: int, temperature: float, context: Tensor | None = None) -> Tensor:
        return self.from_network(self.generate(n, temperature))
