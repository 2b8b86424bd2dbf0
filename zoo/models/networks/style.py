"""The generator of StyleGAN: a mapping network, and a synthesis network modulated by its output."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.core import rng
from zoo.models.core.nfe import add_nfe
from zoo.models.networks.encoder import pyramid, pyramid_channels

MEAN_LATENTS = 1024  # number of latents for the mean of w, for truncation


class StyleGenerator(nn.Module):
    """A mapping network z -> w, and a synthesis network whose convolutions are all modulated by w.

    The network of StyleGAN2 (Karras et al. 2020, arXiv:1912.04958, section 2): a learned constant at the
    smallest size of :func:`~zoo.models.networks.encoder.pyramid`, two :class:`StyleLayer` at every size, and
    an image (``C`` channels) at every size, which are upsampled and added. A vector ``(D,)`` is an image of
    one pixel with D channels; it has ``depth`` layers of ``hidden`` channels.

    Truncation (Karras et al. 2019, appendix B) replaces w by m + psi (w - m) with its mean m, one for each
    label. m is computed from fixed latents at each call and never stored, so it cannot lag behind averaged
    weights (EMA) or differ between processes.

    Args:
        latent_dim: length of z.
        shape: ``(C, H, W)`` or ``(D,)``.
        width: channels at the image's size, doubled at each halving up to four times (images only).
        hidden: length of w; units of the mapping network.
        depth: layers of the mapping network.
        context: length of the one-hot label, appended to z; 0 for none.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        *,
        width: int = 24,
        hidden: int = 64,
        depth: int = 3,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.latent_dim, self.context, self.is_image = latent_dim, context, len(shape) == 3
        sizes = pyramid(*shape[1:])[::-1] if self.is_image else [(1, 1)]
        channels = pyramid_channels(len(sizes), width)[::-1] if self.is_image else [hidden]
        kernel, layers = (3, 2) if self.is_image else (1, depth)
        mapping: list[nn.Module] = []
        for units in [latent_dim + context] + [hidden] * (depth - 1):
            layer = nn.Linear(units, hidden)
            # w starts with unit variance, as in the paper; with torch's default all samples would look alike
            nn.init.kaiming_normal_(layer.weight, 0.2)
            nn.init.zeros_(layer.bias)
            mapping += [layer, nn.LeakyReLU(0.2)]
        self.mapping = nn.Sequential(*mapping)
        self.constant = nn.Parameter(torch.randn(channels[0], *sizes[0]))
        self.sizes = sizes
        self.layers, self.pictures = nn.ModuleList(), nn.ModuleList()
        channels_in = channels[0]
        for width_here in channels:
            self.layers.append(
                nn.ModuleList(
                    StyleLayer(channels_in if i == 0 else width_here, width_here, kernel, hidden)
                    for i in range(layers)
                )
            )
            self.pictures.append(ModulatedConv(width_here, shape[0], 1, hidden, demodulate=False))
            channels_in = width_here
        self.bias = nn.Parameter(torch.zeros(shape[0], 1, 1))

    def forward(
        self, z: Tensor, context: Tensor | None = None, temperature: float = 1.0, truncation: float = 1.0
    ) -> Tensor:
        """Return examples ``(B, *shape)``, unbounded.

        Args:
            z: latents ``(B, latent_dim)``.
            context: one-hot labels ``(B, context)``.
            temperature: factor on the per-pixel noise.
            truncation: psi; 1 leaves w unchanged.
        """
        add_nfe()
        w = self.style(z, context)
        if truncation != 1:
            w = torch.lerp(self.mean_style(context), w, truncation)
        h = self.constant.expand(len(z), -1, -1, -1)
        image: Tensor | None = None
        for size, layers, to_image in zip(self.sizes, self.layers, self.pictures, strict=True):
            h = F.interpolate(h, size)
            assert isinstance(layers, nn.ModuleList)
            for layer in layers:
                h = layer(h, w, temperature)
            part = to_image(h, w)
            image = part if image is None else part + F.interpolate(image, size)
        assert image is not None
        image = image + self.bias
        return image if self.is_image else image.flatten(1)

    def style(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return w, ``(B, hidden)``."""
        return self.mapping(z if context is None else torch.cat([z, context], 1))

    def mean_style(self, context: Tensor | None = None) -> Tensor:
        """Return the mean of w, ``(1, hidden)``, or its mean for each example's label, ``(B, hidden)``."""
        like = self.constant
        with rng.keyed(rng.keys(0, count=MEAN_LATENTS, device=like.device)):
            z = to_sphere(rng.normal(like.new_empty(MEAN_LATENTS, self.latent_dim)))
        if context is None:
            return self.style(z).mean(0, keepdim=True)
        labels = torch.eye(self.context, dtype=like.dtype, device=like.device)
        means = [self.style(z, label.expand(len(z), -1)).mean(0) for label in labels]
        return context @ torch.stack(means)


def to_sphere(z: Tensor) -> Tensor:
    """Scale each row of z to a mean square of 1, the input of the mapping network."""
    return z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class StyleLayer(nn.Module):
    """A modulated convolution, per-pixel noise of learned strength (initially zero), bias and leaky ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, style: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(channels_in, channels_out, kernel, style)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(channels_out, 1, 1))

    def forward(self, h: Tensor, w: Tensor, temperature: float = 1.0) -> Tensor:
        h = self.conv(h, w)
        noise = rng.normal(h.new_empty(len(h), 1, *h.shape[2:]))
        return math.sqrt(2) * F.leaky_relu(h + temperature * self.strength * noise + self.bias, 0.2)


class ModulatedConv(nn.Module):
    """A convolution with weights K'_oi = s_i K_oi / |s K_o|, where s = A w + b scales the input channels.

    See Karras et al. 2020, eq. 1 and 3. The norm runs over input channels and kernel positions, so that
    outputs keep unit variance; it is left out if not ``demodulate``. The implementation scales the input by s
    and the output by 1 / |s K_o|, which is the same map without a kernel for each example.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, style: int, demodulate: bool = True
    ) -> None:
        super().__init__()
        self.demodulate = demodulate
        self.scale = nn.Linear(style, channels_in)
        nn.init.normal_(self.scale.weight, std=1 / math.sqrt(style))
        nn.init.ones_(self.scale.bias)
        deviation = 1 / math.sqrt(channels_in * kernel**2)
        self.weight = nn.Parameter(deviation * torch.randn(channels_out, channels_in, kernel, kernel))

    def forward(self, h: Tensor, w: Tensor) -> Tensor:
        """Map ``(B, channels_in, H, W)`` and styles ``(B, style)`` to ``(B, channels_out, H, W)``."""
        scale = self.scale(w)
        h = F.conv2d(h * scale[..., None, None], self.weight, padding=self.weight.shape[-1] // 2)
        if self.demodulate:
            squares = scale.square() @ self.weight.square().sum((2, 3)).T
            h = h * (squares + 1e-8).rsqrt()[..., None, None]
        return h
