"""The U-Net of diffusion models: a function of a noisy image, a time and, optionally, a label."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.checks import Positive, PositiveFloat, Share, settings
from zoo.errors import ZooError
from zoo.models.core.nfe import add_nfe
from zoo.models.networks.dropout import Dropout

SLOWEST = 0.1  # frequency of the slowest sine, radians per unit of time (Ho et al. 2020)


@settings
class UNetSettings:
    """Size of a :class:`UNet`.

    Attributes:
        channels: channels of the first level; even.
        multipliers: factor on ``channels`` of each level.
        blocks: residual blocks of a level.
        attention: lengths of the shorter axis at which self-attention follows every block. The middle of the
            lowest level always has self-attention.
        dropout: share of a block's values that is dropped in training.
        frequency: frequency of the fastest sine of the time, in radians per unit of time. Ho et al. use 1000
            (one per step); an ODE solver can take larger steps with a lower frequency.
    """

    channels: Positive = 16
    multipliers: Sequence[Positive] = (1, 2)
    blocks: Positive = 1
    attention: Sequence[Positive] = ()
    dropout: Share = 0.0
    frequency: PositiveFloat = 10.0


class UNet(nn.Module):
    """A U-Net f(t, x) on images: residual blocks at falling, then rising resolutions, with skip connections.

    The network of Ho et al. 2020 (arXiv:2006.11239, appendix B; after Ronneberger et al. 2015). Every level
    has ``blocks`` residual blocks on the way down and one more on the way up, whose input includes the
    output of its counterpart on the way down. The time, as sines and cosines, shifts the channels of every
    block; a label is a learned vector added to it (Nichol & Dhariwal 2021). With ``channels=128,
    multipliers=(1, 2, 2, 2), blocks=2, attention=(16,)`` on 3x32x32 it has the published 35.7M weights.

    All activations are smooth, so that it can be the field of an ODE, and no layer mixes rows.

    Args:
        shape: ``(C, H, W)`` of input and output. From one level to the next both axes are halved if they are
            even and at least 4, and stay as they are otherwise.
        settings: number and size of the blocks.
        context: length of the one-hot label; 0 for none.

    Raises:
        ZooError: the number of channels is odd, or there is no level.
    """

    frequencies: Tensor

    def __init__(
        self, shape: tuple[int, ...], settings: UNetSettings = UNetSettings(), *, context: int = 0
    ) -> None:
        super().__init__()
        channels, multipliers, blocks = settings.channels, settings.multipliers, settings.blocks
        if channels % 2:
            raise ZooError(f"model.unet.channels must be even; got {channels}.")
        if not multipliers:
            raise ZooError("model.unet.multipliers must have one number for each level; got none.")
        colours, *size = shape
        time = 4 * channels
        frequencies = torch.logspace(math.log10(settings.frequency), math.log10(SLOWEST), channels // 2)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.time = nn.Sequential(nn.Linear(channels, time), nn.SiLU(), nn.Linear(time, time), nn.SiLU())
        self.label = nn.Linear(context, time, bias=False) if context else None

        def block(inside: int, outside: int, attends: bool) -> nn.Module:
            return _Block(inside, outside, time, settings.dropout, attends)

        self.first = nn.Conv2d(colours, channels, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        width, skips = channels, [channels]
        plan: list[tuple[int, bool, int]] = []  # levels on the way up: width, attention, factor of the size
        for level, multiplier in enumerate(multipliers):
            attends = min(size) in settings.attention
            for _ in range(blocks):
                self.down.append(block(width, channels * multiplier, attends))
                width = channels * multiplier
                skips.append(width)
            factor = 2 if all(side % 2 == 0 and side >= 4 for side in size) else 1
            plan.append((width, attends, factor))
            if level < len(multipliers) - 1:
                self.down.append(_Shrink(width, factor))
                skips.append(width)
                size = [side // factor for side in size]
        self.middle = nn.ModuleList([block(width, width, True), block(width, width, False)])
        for level in reversed(range(len(multipliers))):
            target, attends, _ = plan[level]
            for _ in range(blocks + 1):
                self.up.append(block(width + skips.pop(), target, attends))
                width = target
            if level > 0:
                self.up.append(_Grow(width, plan[level - 1][2]))
        self.norm, self.last = _norm(width), _zero(nn.Conv2d(width, colours, 3, padding=1))

    def forward(self, t: Tensor, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return f ``(B, C, H, W)`` at times ``()`` or ``(B,)``, images and one-hot labels."""
        add_nfe()
        angles = t.reshape(-1, 1).to(x.dtype) * self.frequencies
        time = self.time[:-1](torch.cat([angles.sin(), angles.cos()], 1))
        if self.label is not None and context is not None:
            time = time + self.label(context)
        time = self.time[-1](time)
        h = self.first(x)
        if h.device.type == "cpu":  # the same values up to rounding, in 10 to 20 % less time
            h = h.contiguous(memory_format=torch.channels_last)
        skips = [h]
        for layer in self.down:
            h = layer(h, time)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, time)
        for layer in self.up:
            h = layer(h if isinstance(layer, _Grow) else torch.cat([h, skips.pop()], 1), time)
        return self.last(F.silu(self.norm(h)))


class _Block(nn.Module):
    """A block shortcut(x) + conv(dropout(silu(norm(conv(silu(norm x)) + W time)))), then attention if any."""

    def __init__(self, inside: int, outside: int, time: int, dropout: float, attends: bool) -> None:
        super().__init__()
        self.norm_1, self.conv_1 = _norm(inside), nn.Conv2d(inside, outside, 3, padding=1)
        self.time = nn.Linear(time, outside)
        self.norm_2, self.conv_2 = _norm(outside), _zero(nn.Conv2d(outside, outside, 3, padding=1))
        self.dropout = Dropout(dropout)
        self.shortcut = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1)
        self.attention = Attention(outside) if attends else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.conv_1(F.silu(self.norm_1(x))) + self.time(time)[:, :, None, None]
        h = self.conv_2(self.dropout(F.silu(self.norm_2(h))))
        return self.attention(self.shortcut(x) + h)


class Attention(nn.Module):
    """Self-attention x + W softmax(q k^T / sqrt(C)) v over all pixels, with one head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.qkv = _norm(width), nn.Conv2d(width, 3 * width, 1)
        self.out = _zero(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, 2)
        # not fused: fused kernels lack the second derivative that the gradient of a likelihood needs
        weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[2]), 2)
        return x + self.out((weights @ v).transpose(1, 2).reshape(x.shape))


class _Shrink(nn.Module):
    """A strided convolution that halves the size."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride, padding=1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.conv(x)


class _Grow(nn.Module):
    """Nearest-neighbour upsampling, then a convolution."""

    def __init__(self, width: int, factor: int) -> None:
        super().__init__()
        self.factor, self.conv = factor, nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=self.factor) if self.factor > 1 else x)


def _norm(width: int) -> nn.GroupNorm:
    """Return a normalisation over groups of at least eight channels, at most 32 groups (Ho et al. 2020).

    A smaller group is nearly constant in some images; normalising it there makes the field of an ODE stiff.
    """
    return nn.GroupNorm(
        math.gcd(32, width) if width >= 128 else math.gcd(4, width) if width >= 32 else 1, width
    )


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    """Set a layer to zero: every block starts as the identity, and the network as the constant 0."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
