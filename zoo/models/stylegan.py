"""The style-based GAN."""

from __future__ import annotations

from torch import Tensor

from zoo.data.spec import DataSpec
from zoo.models.gan import AdversarialModel, CriticNorm, plain_critic, residual_critic
from zoo.models.networks.style import StyleGenerator, sphere


class StyleGAN(AdversarialModel):
    """A GAN whose generator is controlled by w = f(z) at every layer (Karras et al. 2019, 2020).

    See :class:`~zoo.models.networks.style.StyleGenerator`. z is scaled to the sphere, as the papers do; the
    ``temperature`` of samples then scales it, and the per-pixel noise. ``truncation`` psi acts in W.

    Left out of StyleGAN2, at 8 to 64 pixels: path length regularisation, style mixing, equalised learning
    rates, filtered resampling, and the critic's batch statistic.

    Args:
        spec: the data.
        latent_dim: length of z.
        width: channels at the image's own size; double at each halving, up to four times (images only).
        hidden: length of w; units of the mapping network and, for vectors, of every layer.
        depth: layers of the mapping network and, for vectors, of the generator and the critic.
        critic_norm: ``none``, ``group`` (images only), ``spectral`` or ``lipschitz``, as in
            :class:`~zoo.models.gan.GAN`.
        critic_width: channels of the residual critic; twice ``width`` by default.
        conditional: sample from and judge each label by itself.
        truncation: psi in (0, 1]; below 1, samples have w pulled towards its mean by this factor.
    """

    def __init__(
        self,
        spec: DataSpec,
        latent_dim: int = 64,
        width: int = 24,
        hidden: int = 64,
        depth: int = 3,
        critic_norm: CriticNorm = "none",
        critic_width: int | None = None,
        conditional: bool = False,
        truncation: float = 1.0,
    ) -> None:
        super().__init__(
            spec, latent_dim, conditional, truncation, critic_norm,
            width=width, hidden=hidden, depth=depth, critic_width=critic_width,
        )  # fmt: skip
        self.generator = StyleGenerator(latent_dim, spec.shape, width, hidden, depth, self.context)
        critic_width = 2 * width if critic_width is None else critic_width
        if spec.is_image:
            self.critic = residual_critic(spec, critic_width, critic_norm, self.context)
        else:
            self.critic = plain_critic(spec, critic_width, hidden, depth, critic_norm, self.context)

    def generate(
        self,
        n: int,
        temperature: float = 1.0,
        context: Tensor | None = None,
        truncation: float = 1.0,
    ) -> Tensor:
        z = temperature * sphere(self.latents(n, self.latent_dim))
        return self._squash(self.generator(z, context, temperature, truncation))
