"""Time-dependent vector fields: what a continuous flow integrates."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.networks.evaluations import tick


class DenseField(nn.Module):
    """v(t, x) on vectors: layers (W x + b) sigmoid(g t + c) + h t, tanh between them.

    The "concatsquash" layer of FFJORD (Grathwohl et al. 2019): time gates and shifts every unit, at the cost
    of two vectors a layer.

    Args:
        dim: D.
        hidden: widths of the hidden layers.
    """

    def __init__(self, dim: int, hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__()
        widths = [dim, *hidden, dim]
        self.linear = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.gate = nn.ModuleList(nn.Linear(1, b) for b in widths[1:])
        self.shift = nn.ModuleList(nn.Linear(1, b, bias=False) for b in widths[1:])

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """``t`` ``()`` or ``(B,)`` and ``x`` ``(B, D)`` to ``(B, D)``."""
        tick()
        time = t.reshape(-1, 1).to(x.dtype)
        for index, linear in enumerate(self.linear):
            x = linear(x) * torch.sigmoid(self.gate[index](time)) + self.shift[index](time)
            if index < len(self.linear) - 1:
                x = torch.tanh(x)
        return x


class ConvField(nn.Module):
    """v(t, x) on images: a residual network at full and, where the size allows, half resolution.

    Time enters every block as a scale and a shift of its channels, from sines and cosines of t.

    Args:
        channels: of the image.
        width: channels inside; twice as many at half resolution.
        blocks: residual blocks at each resolution and side.
        height: of the image; with ``wide``, decides whether halving is possible.
        wide: width of the image.
    """

    def __init__(
        self, channels: int, width: int = 32, blocks: int = 1, height: int = 8, wide: int = 8
    ) -> None:
        super().__init__()
        self.halves = height % 2 == 0 and wide % 2 == 0 and min(height, wide) >= 4
        self.register_buffer("frequencies", torch.exp(torch.linspace(0.0, 4.0, 8)), persistent=False)
        self.time = nn.Sequential(nn.Linear(16, 64), nn.SiLU())
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.ModuleList(_Block(width) for _ in range(blocks))
        if self.halves:
            self.shrink = nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)
            self.middle = nn.ModuleList(_Block(2 * width) for _ in range(blocks))
            self.grow = nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1)
        self.up = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)

    frequencies: Tensor

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """``t`` ``()`` or ``(B,)`` and ``x`` ``(B, C, H, W)`` to ``(B, C, H, W)``."""
        tick()
        angles = t.reshape(-1, 1).to(x.dtype) * self.frequencies
        time = self.time(torch.cat([angles.sin(), angles.cos()], 1))
        h = self.first(x)
        for block in self.down:
            h = block(h, time)
        if self.halves:
            small = self.shrink(F.silu(h))
            for block in self.middle:
                small = block(small, time)
            h = h + self.grow(F.silu(small))
        for block in self.up:
            h = block(h, time)
        return self.last(F.silu(h))


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(64, 2 * width)
        self.one = nn.Conv2d(width, width, 3, padding=1)
        self.two = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(4 if width % 4 == 0 else 1, width)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.modulation(time)[:, :, None, None].chunk(2, 1)
        h = self.one(F.silu(self.norm(x)))
        return x + self.two(F.silu(h * (1 + scale) + shift))
