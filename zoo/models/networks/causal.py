"""Causal convolutions, on a whole image at once or pixel by pixel with cached activations."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PixelCache:
    """The cache of activations of a sampler that visits the pixels in order (rows, then columns).

    With a cache, the input and the output of a causal convolution are the newest row or pixel only; the cache
    holds, for each layer, the inputs that later outputs depend on. So a pixel costs one column of each layer,
    for every size of the image (Ramachandran et al. 2017, arXiv:1704.06001).

    Args:
        columns: width of the image.

    Attributes:
        column: the current column, set by the sampler.
    """

    def __init__(self, columns: int) -> None:
        self.columns, self.column = columns, 0
        self.rows: dict[nn.Module, Tensor] = {}
        self.pixels: dict[nn.Module, Tensor] = {}
        self.weights: dict[nn.Module, Tensor] = {}

    def next_row(self) -> None:
        """Start a row: the pixels of the last row become those above."""
        for memory in self.pixels.values():
            if memory.shape[2] > 1:
                memory[:, :, :-1] = memory[:, :, 1:].clone()
        self.column = 0


class RowConv(nn.Conv2d):
    """A convolution whose output depends on its row and the rows above, symmetric in the columns.

    Args:
        kernel: height h and odd width w: h - 1 rows above and (w - 1)/2 columns on either side.
        stride: 1, or 2 to halve both sides (rounding up).
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: tuple[int, int], stride: int = 1) -> None:
        super().__init__(channels_in, channels_out, kernel, stride=stride)
        self.above, self.side = kernel[0] - 1, kernel[1] // 2

    def forward(self, input: Tensor, cache: PixelCache | None = None) -> Tensor:
        """Return outputs ``(B, C_out, H, W)``.

        Args:
            input: ``(B, C_in, H, W)``; with a cache, the newest row ``(B, C_in, 1, W)``.
            cache: rows above the newest, which is added to them.
        """
        if cache is None:
            window = F.pad(input, (0, 0, self.above, 0))
        else:
            window = self.append(input, cache)
        return super().forward(F.pad(window, (self.side, self.side, 0, 0)))

    def append(self, row: Tensor, cache: PixelCache) -> Tensor:
        """Add a row to the cache and return all rows in the kernel, ``(B, C, h, W)``."""
        if self not in cache.rows:
            cache.rows[self] = row.new_zeros(*row.shape[:2], self.above, row.shape[3])
        window = torch.cat([cache.rows[self], row], 2)
        cache.rows[self] = window[:, :, 1:]
        return window


class PixelConv(nn.Conv2d):
    """A convolution whose output depends on its pixel, the pixels to the left and the pixels above them.

    Args:
        kernel: height h and width w: h - 1 rows above and w - 1 columns to the left.
        stride: 1, or 2 to halve both sides (rounding up).
        mask: 0/1 ``(out, in)``, the inputs in the same pixel that each output depends on; None: all.
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

    def masked_weight(self) -> Tensor:
        """Return the weight, multiplied by the mask if there is one."""
        return self.weight if self.mask is None else self.weight * self.mask

    def forward(self, input: Tensor, cache: PixelCache | None = None) -> Tensor:
        """Return outputs ``(B, C_out, H, W)``.

        Args:
            input: ``(B, C_in, H, W)``; with a cache, the newest pixel ``(B, C_in, 1, 1)``.
            cache: pixels before the newest, which is added to them.
        """
        if cache is None:
            window = F.pad(input, (self.left, 0, self.above, 0))
            return F.conv2d(window, self.masked_weight(), self.bias, self.stride)
        window = self.append(input, cache)
        if self not in cache.weights:
            cache.weights[self] = self.masked_weight().flatten(1)
        return F.linear(window.flatten(1), cache.weights[self], self.bias)[:, :, None, None]

    def append(self, pixel: Tensor, cache: PixelCache) -> Tensor:
        """Add a pixel to the cache and return all pixels in the kernel, ``(B, C, h, w)``."""
        memory = cache.pixels.get(self)
        if memory is None:
            memory = pixel.new_zeros(*pixel.shape[:2], self.above + 1, self.left + cache.columns)
            cache.pixels[self] = memory
        end = cache.column + self.left + 1
        memory[:, :, -1, end - 1] = pixel[:, :, 0, 0]
        return memory[:, :, :, cache.column : end]


def shift_down(x: Tensor) -> Tensor:
    """Shift images down by a row: zeros at the top, the last row dropped.

    >>> shift_down(torch.tensor([[[[1, 2], [3, 4]]]])).tolist()
    [[[[0, 0], [1, 2]]]]
    """
    return F.pad(x, (0, 0, 1, -1))


def shift_right(x: Tensor) -> Tensor:
    """Shift images right by a column: zeros on the left, the last column dropped.

    >>> shift_right(torch.tensor([[[[1, 2], [3, 4]]]])).tolist()
    [[[[0, 1], [0, 3]]]]
    """
    return F.pad(x, (1, -1, 0, 0))
