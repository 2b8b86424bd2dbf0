"""Causal convolutions, on a whole image at once or along a walk through it that computes nothing twice."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Walk:
    """A visit of an image's pixels in order, rows from the top and pixels from the left, for a sampler.

    Called with a walk, a causal convolution takes the newest row or pixel alone and returns its output there;
    the walk remembers, for each layer, the inputs that later outputs look back at. So a pixel costs one
    column of each layer, whatever the size of the image (Ramachandran et al. 2017, arXiv:1704.06001).

    Args:
        columns: width of the image.

    Attributes:
        column: where the walk is; the driver moves it.
    """

    def __init__(self, columns: int) -> None:
        self.columns, self.column = columns, 0
        self.rows: dict[nn.Module, Tensor] = {}
        self.pixels: dict[nn.Module, Tensor] = {}
        self.weights: dict[nn.Module, Tensor] = {}

    def next_row(self) -> None:
        """Begin a row: what the pixels of the last one were is now above."""
        for memory in self.pixels.values():
            if memory.shape[2] > 1:
                memory[:, :, :-1] = memory[:, :, 1:].clone()
        self.column = 0


class RowConv(nn.Conv2d):
    """A convolution that sees its own row and those above, and as many columns on either side.

    Args:
        kernel: height h and odd width w; it sees h - 1 rows above and (w - 1)/2 columns either side.
        stride: 1, or 2 to halve both sides (rounding up).
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: tuple[int, int], stride: int = 1) -> None:
        super().__init__(channels_in, channels_out, kernel, stride=stride)
        self.above, self.side = kernel[0] - 1, kernel[1] // 2

    def forward(self, input: Tensor, walk: Walk | None = None) -> Tensor:
        """``(B, C, H, W)`` to the same; with a walk, the newest row ``(B, C, 1, W)``."""
        if walk is None:
            window = F.pad(input, (0, 0, self.above, 0))
        else:
            window = self.remember(input, walk)
        return super().forward(F.pad(window, (self.side, self.side, 0, 0)))

    def remember(self, row: Tensor, walk: Walk) -> Tensor:
        """Take the newest row into memory, without output; returns it below those above that are seen."""
        if self not in walk.rows:
            walk.rows[self] = row.new_zeros(*row.shape[:2], self.above, row.shape[3])
        window = torch.cat([walk.rows[self], row], 2)
        walk.rows[self] = window[:, :, 1:]
        return window


class PixelConv(nn.Conv2d):
    """A convolution that sees its own pixel, those to the left and those above them.

    Args:
        kernel: height h and width w; it sees h - 1 rows above and w - 1 columns to the left.
        stride: 1, or 2 to halve both sides (rounding up).
        mask: 0/1 ``(out, in)`` of what is seen within the pixel itself; None for all.
    """

    mask: Tensor | None

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: tuple[int, int],
        stride: int = 1,
        mask: Tensor | None = None,
    ) -> None:
        super().__init__(channels_in, channels_out, kernel, stride=stride)
        self.above, self.left = kernel[0] - 1, kernel[1] - 1
        whole = None
        if mask is not None:
            whole = torch.ones_like(self.weight)
            whole[:, :, -1, -1] = mask.to(whole.dtype)
        self.register_buffer("mask", whole, persistent=False)

    def seen_weight(self) -> Tensor:
        """The weight, times the mask where there is one."""
        return self.weight if self.mask is None else self.weight * self.mask

    def forward(self, input: Tensor, walk: Walk | None = None) -> Tensor:
        """``(B, C, H, W)`` to the same; with a walk, the newest pixel ``(B, C, 1, 1)``."""
        if walk is None:
            window = F.pad(input, (self.left, 0, self.above, 0))
            return F.conv2d(window, self.seen_weight(), self.bias, self.stride)
        window = self.remember(input, walk)
        if self not in walk.weights:
            walk.weights[self] = self.seen_weight().flatten(1)
        return F.linear(window.flatten(1), walk.weights[self], self.bias)[:, :, None, None]

    def remember(self, pixel: Tensor, walk: Walk) -> Tensor:
        """Take the newest pixel into memory, without output; returns all that is seen, ``(B, C, h, w)``."""
        memory = walk.pixels.get(self)
        if memory is None:
            memory = pixel.new_zeros(*pixel.shape[:2], self.above + 1, self.left + walk.columns)
            walk.pixels[self] = memory
        end = walk.column + self.left + 1
        memory[:, :, -1, end - 1] = pixel[:, :, 0, 0]
        return memory[:, :, :, walk.column : end]


def shift_down(x: Tensor) -> Tensor:
    """Each row one lower: zeros above, the last row gone."""
    return F.pad(x, (0, 0, 1, -1))


def shift_right(x: Tensor) -> Tensor:
    """Each column one to the right: zeros on the left, the last column gone."""
    return F.pad(x, (1, -1, 0, 0))
