"""GAN: a generative adversarial network for images or vectors, with its classical variants as settings."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from zoo.checks import Positive, checked
from zoo.data.spec import DataSpec
from zoo.models.families.adversarial import (
    AdversarialModel,
    CriticNorm,
    Truncation,
    encoder_critic,
    residual_critic,
)
from zoo.models.networks.decoder import Decoder
from zoo.models.networks.residual import ResidualGenerator

Architecture = Literal["dcgan", "residual"]
GeneratorNorm = Literal["none", "group"]


class Generator(Decoder):
    """A decoder whose input is the latent and, for a conditional model, the one-hot label."""

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Map ``(B, latent_dim)`` and ``(B, context)`` to ``(B, *shape)``, unbounded."""
        return super().forward(z if context is None else torch.cat([z, context], 1))


class GAN(AdversarialModel):
    """A GAN (Goodfellow et al. 2014); WGAN, WGAN-GP and SNGAN are settings of it and of its training.

    Architectures for images (vectors have dense layers in both):

    - ``dcgan``: strided and transposed convolutions, ReLU in G, leaky ReLU in D (Radford et al. 2016,
      arXiv:1511.06434). The one-hot label of a conditional model is appended to z.
    - ``residual``: residual blocks (Gulrajani et al. 2017, arXiv:1704.00028; Miyato et al. 2018,
      arXiv:1802.05957). The label scales and shifts the output of each norm of G.

    G has group norm where the papers have batch norm. With batch norm, a sample would depend on the rest of
    its batch, and the running statistics would lag behind averaged weights (EMA) and differ between processes
    (DDP). With group norm, G is the same function in training and evaluation. D has no norm by default, so
    that a gradient penalty at an example depends on that example only. Batch norm is not offered for D, since
    the score of an example would depend on the rest of its batch.

    Args:
        spec: the data.
        latent_dim: length of z.
        architecture: ``dcgan`` or ``residual`` (images only).
        width: number of channels. ``dcgan``: at the image's size, doubled at each halving up to four times.
            ``residual``: in every block.
        hidden: units of the hidden layers (vectors, and one layer in each network of ``dcgan``).
        depth: hidden layers of each network (vectors only).
        generator_norm: ``group`` or ``none``, in the generator's convolutions (images only).
        critic_norm: ``none``; ``group`` after convolutions (images only); ``spectral`` or ``lipschitz`` in
            every layer, of vectors too. ``spectral`` (Miyato et al. 2018) divides each weight, a kernel as
            the matrix (out, in x height x width), by its largest singular value. This bounds the Lipschitz
            constant of a dense D by 1; the constant of a convolution may reach the square root of its taps, 3
            for a 3x3 kernel. ``lipschitz`` bounds the operator norm of each convolution, and the Lipschitz
            constant of every D by 1, for every label.
        critic_width: channels of the critic; None: as in the generator.
        conditional, truncation: see :class:`~zoo.models.families.adversarial.AdversarialModel`.

    Raises:
        ZooError: a setting outside its range, or ``conditional`` for data without labels.
    """

    for_vectors = ("depth",)
    for_images = ("architecture", "width", "generator_norm", "critic_width")

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        latent_dim: Positive = 64,
        architecture: Architecture = "dcgan",
        width: Positive = 24,
        hidden: Positive = 96,
        depth: Positive = 2,
        generator_norm: GeneratorNorm = "group",
        critic_norm: CriticNorm = "none",
        critic_width: Positive | None = None,
        conditional: bool = False,
        truncation: Truncation = 1.0,
    ) -> None:
        super().__init__(spec, latent_dim=latent_dim, conditional=conditional, truncation=truncation)
        critic_width = width if critic_width is None else critic_width
        if architecture == "residual" and spec.is_image:
            self.generator = ResidualGenerator(
                latent_dim, spec.shape, width=width, norm=generator_norm, context=self.context
            )
            self.critic = residual_critic(spec, width=critic_width, norm=critic_norm, context=self.context)
        else:
            self.generator = Generator(
                latent_dim + self.context,
                spec.shape,
                width=width,
                hidden=hidden,
                depth=depth,
                norm=generator_norm,
                activation="relu",
            )
            self.critic = encoder_critic(
                spec,
                width=critic_width,
                hidden=hidden,
                depth=depth,
                norm=critic_norm,
                context=self.context,
            )
