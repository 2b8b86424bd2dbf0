"""The residual generator and the residual critic of images, as in WGAN-GP and SNGAN."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.core.nfe import add_nfe
from zoo.models.networks.encoder import Norm, constrain, norm_layer, pyramid

SMALLEST = 8  # the critic halves the image until its sides have at most this length


class ResidualGenerator(nn.Module):
    """A network from ``(B, latent_dim)`` to ``(B, *shape)``, unbounded.

    A linear map to the smallest size of :func:`~zoo.models.networks.encoder.pyramid`, one :class:`UpBlock`
    for each larger size, a norm, ReLU and a last 3x3 convolution (Gulrajani et al. 2017, table 7; Miyato et
    al. 2018, table 4a, whose number of parameters it has at 32x32 with ``width`` 256).

    Args:
        latent_dim: length of the latent.
        shape: ``(C, H, W)``.
        width: channels of every block.
        norm: ``group``, or ``none``.
        context: length of the one-hot label, which scales and shifts the output of each norm; 0 for none.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        *,
        width: int = 48,
        norm: Norm = "group",
        context: int = 0,
    ) -> None:
        super().__init__()
        sizes = pyramid(*shape[1:])[::-1]
        self.first = nn.Sequential(
            nn.Linear(latent_dim, width * math.prod(sizes[0])), nn.Unflatten(1, (width, *sizes[0]))
        )
        self.blocks = nn.ModuleList(UpBlock(width, size, norm, context) for size in sizes[1:])
        self.norm = ConditionalNorm(width, norm, context)
        self.last = convolution(width, shape[0], 3)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        add_nfe()
        h = self.first(z)
        for block in self.blocks:
            h = block(h, context)
        return self.last(F.relu(self.norm(h, context)))


class ConditionalNorm(nn.Module):
    """A norm, then h -> (1 + g(y)) h + s(y) with a gain and a shift for each channel and label y.

    g and s start at zero (Dumoulin et al. 2017; de Vries et al. 2017). Without labels, only the norm acts.
    """

    def __init__(self, channels: int, norm: Norm, context: int = 0) -> None:
        super().__init__()
        self.norm = nn.Sequential(*norm_layer(norm, channels))
        self.of_label = nn.Linear(context, 2 * channels, bias=False) if context else None
        if self.of_label is not None:
            nn.init.zeros_(self.of_label.weight)

    def forward(self, h: Tensor, context: Tensor | None = None) -> Tensor:
        h = self.norm(h)
        if self.of_label is None or context is None:
            return h
        gain, shift = self.of_label(context)[..., None, None].chunk(2, 1)
        return (1 + gain) * h + shift


class UpBlock(nn.Module):
    """A residual block that upsamples: norm, ReLU, upsample, 3x3, norm, ReLU, 3x3.

    The shortcut is upsample, 1x1. Upsampling repeats nearest neighbours.
    """

    def __init__(self, channels: int, size: tuple[int, int], norm: Norm, context: int) -> None:
        super().__init__()
        self.size = size
        self.norm_1 = ConditionalNorm(channels, norm, context)
        self.norm_2 = ConditionalNorm(channels, norm, context)
        self.conv_1 = convolution(channels, channels, 3, gain=math.sqrt(2))
        self.conv_2 = convolution(channels, channels, 3, gain=math.sqrt(2))
        self.skip = convolution(channels, channels, 1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        h = F.interpolate(F.relu(self.norm_1(x, context)), self.size)
        h = self.conv_2(F.relu(self.norm_2(self.conv_1(h), context)))
        return h + F.interpolate(self.skip(x), self.size)  # 1x1 before upsampling: same result, cheaper


class ResidualFeatures(nn.Module):
    """The features of a critic: a network from ``(B, *shape)`` to ``(B, width)``.

    Blocks halve the image, at least once, until no side is longer than 8; then follow two blocks of the same
    size, ReLU and a sum over pixels (Miyato et al. 2018, table 4b; Gulrajani et al. 2017, table 7).

    Args:
        shape: ``(C, H, W)``.
        width: channels of every block.
        norm: ``spectral`` in every layer, ``group`` before every ReLU, or ``none``; or ``lipschitz``, for a
            Lipschitz constant of at most 1: every layer has this bound, and each sum (of a block's branch and
            shortcut, over pixels) is divided by its own largest Lipschitz constant.
    """

    def __init__(self, shape: Sequence[int], *, width: int = 32, norm: Norm = "none") -> None:
        super().__init__()
        channels, *size = shape
        blocks: list[nn.Module] = [DownBlock(channels, width, norm, size, first=True)]
        size = [(side + 1) // 2 for side in size]
        while max(size) > SMALLEST:
            blocks.append(DownBlock(width, width, norm, size))
            size = [(side + 1) // 2 for side in size]
        blocks += [DownBlock(width, width, norm, size, halve=False) for _ in range(2)]
        self.blocks = nn.Sequential(*blocks, *norm_layer(norm, width), nn.ReLU())
        self.share = (
            1 / math.sqrt(math.prod(size)) if norm == "lipschitz" else 1.0
        )  # a sum of n has norm sqrt(n)

    def forward(self, x: Tensor) -> Tensor:
        return self.share * self.blocks(x).sum((2, 3))


class DownBlock(nn.Module):
    """A residual block of a critic: ReLU, 3x3, ReLU, 3x3 and, if ``halve``, average pooling over 2x2 pixels.

    The shortcut is pooling and 1x1, or the identity if not ``halve``. The last pixel of an odd side is pooled
    alone. The ``first`` block has no ReLU before its first convolution.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        norm: Norm,
        size: Sequence[int],
        *,
        halve: bool = True,
        first: bool = False,
    ) -> None:
        super().__init__()
        self.halve = halve
        # an average of k numbers has norm 1 / sqrt(k); k is smallest in the corner of odd sides
        averaged = math.prod(2 - side % 2 for side in size) if halve else 1
        self.share = math.sqrt(averaged) / 2 if norm == "lipschitz" else 1.0
        self.branch = nn.Sequential(
            *([] if first else [*norm_layer(norm, channels), nn.ReLU()]),
            constrain(convolution(channels, width, 3, gain=math.sqrt(2)), norm, (channels, *size)),
            *norm_layer(norm, width),
            nn.ReLU(),
            constrain(convolution(width, width, 3, gain=math.sqrt(2)), norm, (width, *size)),
        )
        self.skip = (
            constrain(convolution(channels, width, 1), norm, (channels, 1, 1)) if halve else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        if not self.halve:
            return self.share * (x + self.branch(x))
        return self.share * (
            _halve(self.branch(x)) + self.skip(_halve(x))
        )  # pooling before 1x1: same result, cheaper


def _halve(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2, ceil_mode=True)


def convolution(channels_in: int, channels_out: int, kernel: int, gain: float = 1.0) -> nn.Conv2d:
    """Return a convolution that preserves the size, initialised as in the papers (Glorot & Bengio 2010)."""
    layer = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)
    nn.init.xavier_uniform_(layer.weight, gain)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
