"""StyleGAN: a GAN whose generator is controlled by a style vector at every layer."""

from __future__ import annotations

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
from zoo.models.networks.style import StyleGenerator, to_sphere


class StyleGAN(AdversarialModel):
    """StyleGAN, the style-based GAN (Karras et al. 2019, arXiv:1812.04948; 2020, arXiv:1912.04958).

    A mapping network turns z into a style w, which modulates every convolution of the generator: see
    :class:`~zoo.models.networks.style.StyleGenerator`. z is scaled to the sphere, as in the papers; the
    ``temperature`` of samples then scales z and the per-pixel noise. ``truncation`` psi acts on w.

    Left out of StyleGAN2, for images of 8 to 64 pixels: path length regularisation, style mixing, equalised
    learning rates, filtered resampling and the critic's minibatch standard deviation.

    Args:
        spec: the data.
        latent_dim: length of z.
        width: channels at the image's size, doubled at each halving up to four times (images only).
        hidden: length of w; units of the mapping network and, for vectors, of every layer.
        depth: layers of the mapping network and, for vectors, of the generator and the critic.
        critic_norm: see :class:`~zoo.models.gan.GAN`.
        critic_width: channels of the residual critic; None: twice ``width``.
        conditional: condition the generator and the critic on the label.
        truncation: psi in (0, 1]; below 1, samples use mean(w) + psi (w - mean(w)).

    Raises:
        ZooError: a setting outside its range, or ``conditional`` for data without labels.
    """

    for_images = ("width", "critic_width")

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        latent_dim: Positive = 64,
        width: Positive = 24,
        hidden: Positive = 64,
        depth: Positive = 3,
        critic_norm: CriticNorm = "none",
        critic_width: Positive | None = None,
        conditional: bool = False,
        truncation: Truncation = 1.0,
    ) -> None:
        super().__init__(spec, latent_dim=latent_dim, conditional=conditional, truncation=truncation)
        self.generator = StyleGenerator(
            latent_dim, spec.shape, width=width, hidden=hidden, depth=depth, context=self.context
        )
        critic_width = 2 * width if critic_width is None else critic_width
        if spec.is_image:
            self.critic = residual_critic(spec, width=critic_width, norm=critic_norm, context=self.context)
        else:
            self.critic = encoder_critic(
                spec,
                width=critic_width,
                hidden=hidden,
                depth=depth,
                norm=critic_norm,
                context=self.context,
            )

    def generate(
        self,
        n: int,
        temperature: float = 1.0,
        context: Tensor | None = None,
        truncation: float = 1.0,
    ) -> Tensor:
        z = temperature * to_sphere(self.latents(n, self.latent_dim))
        return self.squash(self.generator(z, context, temperature, truncation))
