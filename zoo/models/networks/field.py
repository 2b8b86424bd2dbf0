"""Time-dependent vector fields v(t, x): what a continuous flow integrates.

Every field takes a time ``()`` or ``(B,)`` in [0, 1] and a batch, and returns a velocity with the batch's
shape, in units of the state per unit of time. All activations are smooth, so that an adaptive solver may take
large steps and the divergence is continuous. No layer mixes rows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.networks.evaluations import tick


class DenseField(nn.Module):
    """v(t, x) on vectors: gated layers (W x + b) sigmoid(g t + c) + h t with tanh between them.

    The "concatsquash" layer of FFJORD (Grathwohl et al. 2019): time gates and shifts every unit, at the cost
    of three vectors a layer.

    Args:
        dim: D.
        hidden: widths of the hidden layers.
    """

    def __init__(self, dim: int, hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__()
        widths = itertools.pairwise([dim, *hidden, dim])
        self.layers = nn.ModuleList(_Gated(nn.Linear(a, b), b) for a, b in widths)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """``t`` ``()`` or ``(B,)`` and ``x`` ``(B, D)`` to ``(B, D)``."""
        tick()
        return _gated_stack(self.layers, t, x)


class PatchField(nn.Module):
    """v(t, x) on images for a likelihood's ODE: gated 3x3 convolutions over patches of pixels.

    Patches become channels first (each axis is folded by ``patch``, or by the largest divisor of it that also
    divides the axis and leaves two places). An ODE evaluates its field, and differentiates its divergence,
    dozens of times a step, and convolutions over a coarse grid cost the least for their reach. There is no
    normalisation layer: where an image is flat, one would make the field stiff.

    Args:
        shape: ``(C, H, W)``.
        hidden: channels of the hidden layers.
        patch: pixels that an axis is folded by, a power of two.
    """

    def __init__(self, shape: tuple[int, ...], hidden: Sequence[int] = (64, 64), patch: int = 4) -> None:
        super().__init__()
        channels, height, width = shape
        self.fold = (_fold(height, patch), _fold(width, patch))
        folded = channels * self.fold[0] * self.fold[1]
        widths = itertools.pairwise([folded, *hidden, folded])
        self.layers = nn.ModuleList(_Gated(nn.Conv2d(a, b, 3, padding=1), b) for a, b in widths)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """``t`` ``()`` or ``(B,)`` and ``x`` ``(B, C, H, W)`` to ``(B, C, H, W)``."""
        tick()
        (n, c, h, w), (i, j) = x.shape, self.fold
        patches = x.view(n, c, h // i, i, w // j, j).permute(0, 1, 3, 5, 2, 4)
        out = _gated_stack(self.layers, t, patches.reshape(n, c * i * j, h // i, w // j))
        return out.view(n, c, i, j, h // i, w // j).permute(0, 1, 4, 2, 5, 3).reshape(x.shape)


class ConvField(nn.Module):
    """v(t, x) on images for regression: a residual U-Net, halved up to twice where the size allows.

    After Ronneberger et al. 2015 (skips across resolutions) and Ho et al. 2020 (residual blocks that time
    modulates). Time enters every block as a scale and a shift of its channels, from sines and cosines of t.

    Args:
        shape: ``(C, H, W)``; an axis that is odd or shorter than 4 ends the halving.
        width: channels at full resolution; twice as many below.
        blocks: residual blocks at each resolution and side.
    """

    frequencies: Tensor

    def __init__(self, shape: tuple[int, ...], width: int = 24, blocks: int = 1) -> None:
        super().__init__()
        channels, height, wide = shape
        frequencies = torch.exp(torch.linspace(0.0, 4.0, 8))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.time = nn.Sequential(nn.Linear(2 * len(frequencies), _TIME), nn.SiLU())
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.body = _Level(width, 2 * width, blocks, height, wide, halvings=2)
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)  # regression starts from the mean, whatever the depth

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """``t`` ``()`` or ``(B,)`` and ``x`` ``(B, C, H, W)`` to ``(B, C, H, W)``."""
        tick()
        angles = t.reshape(-1, 1).to(x.dtype) * self.frequencies
        time = self.time(torch.cat([angles.sin(), angles.cos()], 1))
        return self.last(F.silu(self.body(self.first(x), time)))


_TIME = 64


class _Gated(nn.Module):
    """layer(x) * sigmoid(g t + c) + h t, with g, c and h of the layer's channels."""

    def __init__(self, layer: nn.Module, channels: int) -> None:
        super().__init__()
        self.layer = layer
        self.gate, self.shift = nn.Linear(1, channels), nn.Linear(1, channels, bias=False)

    def forward(self, time: Tensor, x: Tensor) -> Tensor:
        places = [1] * (x.ndim - 2)
        gate, shift = torch.sigmoid(self.gate(time)), self.shift(time)
        return torch.addcmul(
            shift.view(*shift.shape, *places), self.layer(x), gate.view(*gate.shape, *places)
        )


def _gated_stack(layers: nn.ModuleList, t: Tensor, x: Tensor) -> Tensor:
    time = t.reshape(-1, 1).to(x.dtype)
    for index, layer in enumerate(layers):
        x = layer(time, torch.tanh(x) if index else x)
    return x


def _fold(size: int, patch: int) -> int:
    while patch > 1 and (size % patch or size // patch < 2):
        patch //= 2
    return max(patch, 1)


class _Level(nn.Module):
    """Blocks, a detour through half the resolution, blocks."""

    def __init__(self, width: int, below: int, blocks: int, height: int, wide: int, halvings: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.halves = halvings > 0 and height % 2 == 0 and wide % 2 == 0 and min(height, wide) >= 4
        if self.halves:
            self.shrink = nn.Conv2d(width, below, 2, stride=2)
            self.inner = _Level(below, below, blocks, height // 2, wide // 2, halvings - 1)
            self.grow = nn.ConvTranspose2d(below, width, 2, stride=2)
        self.up = nn.ModuleList(_Block(width) for _ in range(blocks))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        for block in self.down:
            x = block(x, time)
        if self.halves:
            x = x + self.grow(F.silu(self.inner(self.shrink(x), time)))
        for block in self.up:
            x = block(x, time)
        return x


class _Block(nn.Module):
    """x + conv(silu(scale(t) conv(silu(norm x)) + shift(t)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(_TIME, 2 * width)
        self.one = nn.Conv2d(width, width, 3, padding=1)
        self.two = nn.Conv2d(width, width, 3, padding=1)
        # a group of few values is nearly constant somewhere, where normalising it makes the field stiff
        self.norm = nn.GroupNorm(math.gcd(4, width) if width >= 16 else 1, width)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.modulation(time)[:, :, None, None].chunk(2, 1)
        h = self.one(F.silu(self.norm(x)))
        return x + self.two(F.silu(h * (1 + scale) + shift))
