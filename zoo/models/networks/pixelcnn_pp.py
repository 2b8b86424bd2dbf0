"""The PixelCNN++ network: two causal streams through a U-shaped pyramid of sizes, with skip connections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.core.nfe import add_nfe
from zoo.models.networks.causal import PixelCache, PixelConv, RowConv, shift_down, shift_right
from zoo.models.networks.dropout import Dropout


class PixelCNNPP(nn.Module):
    """A network whose outputs at a pixel depend on the pixels before it (Salimans et al. 2017, section 2).

    arXiv:1701.05517. Order: rows from the top, pixels from the left; all channels of a pixel at once. The row
    stream depends on the rows above; the pixel stream depends on the pixels to the left too, and on the row
    stream at every block. Both have ``blocks`` gated residual blocks at each size on the way down, halving
    the sides in between, and again on the way up, with a skip connection from each block on the way down. A
    coarse pixel (I, J) depends on nothing after the fine pixel (2I, 2J) and influences fine pixels from there
    on, so no pixel depends on later ones. Sides halve, rounding up, to at most ``scales`` sizes, while both
    are longer than 2.

    The paper's weight normalisation is left out. The output layer starts at zero.

    Args:
        channels: channels of the image.
        outputs: number of outputs at each pixel.
        size: height and width of the image.
        width: features of each stream.
        blocks: residual blocks at each size, on the way down and on the way up.
        scales: largest number of sizes.
        dropout: share of the features dropped in training, in each block.
        context: length of the one-hot label, which shifts every block; 0 for none.
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        size: tuple[int, int],
        *,
        width: int = 20,
        blocks: int = 1,
        scales: int = 3,
        dropout: float = 0.0,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.channels, self.size = channels, size
        inputs = channels + 1  # a channel of ones distinguishes a black pixel from the padding
        self.above = RowConv(inputs, width, (2, 3))
        self.beside = RowConv(inputs, width, (1, 3))
        self.left = PixelConv(inputs, width, (2, 1))
        self.sizes = _Size(self.size, width, blocks, scales, dropout, context)
        self.output = nn.Conv2d(width, outputs, 1)
        nn.init.zeros_(self.output.weight)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return outputs ``(B, outputs, H, W)``.

        Args:
            x: images ``(B, C, H, W)`` in [-1, 1].
            context: one-hot labels ``(B, K)``, if the network has a context.
        """
        add_nfe()
        x = _with_ones(x)
        beside, rows = self._row_stream(shift_down(x), context)
        return self._pixel_stream(shift_right(x), beside, rows, context)

    def generate(
        self,
        n: int,
        sample: Callable[[int, int, Tensor], Tensor],
        context: Tensor | None = None,
    ) -> Tensor:
        """Generate ``n`` images ``(n, C, H, W)`` in [-1, 1] pixel by pixel.

        The row stream is computed once for each row and the pixel stream once for each pixel; the coarser
        sizes only where a coarse row or pixel begins, for a quarter of the pixels, a sixteenth, and so on.

        Args:
            n: number of images.
            sample: function from row, column and the outputs ``(n, outputs)`` there to the pixel ``(n, C)``.
            context: one-hot labels ``(n, K)``, if the network has a context.
        """
        height, columns = self.size
        x = self.output.weight.new_zeros(n, self.channels, height, columns)
        caches = _Caches(columns, 0 if self.sizes.inner is None else self.sizes.inner.depth)
        padding = x.new_zeros(n, self.channels + 1, 1, 1)
        above = padding.expand(-1, -1, -1, columns)
        for row in range(height):
            caches.next_row(row)
            beside, rows = self._row_stream(above, context, caches)
            left = padding
            for column in range(columns):
                add_nfe()
                caches.move(column)
                output = self._pixel_stream(left, beside[..., column, None], rows, context, caches)
                x[:, :, row, column] = sample(row, column, output[:, :, 0, 0])
                left = _with_ones(x[:, :, row : row + 1, column : column + 1])
            above = _with_ones(x[:, :, row : row + 1])
        return x

    def _row_stream(
        self, above: Tensor, context: Tensor | None, caches: _Caches | None = None
    ) -> tuple[Tensor, _RowFeatures]:
        """Return the contributions of the rows above to the input of the pixel stream and to its blocks."""
        cache = None if caches is None else caches.cache
        _, rows = self.sizes.rows(self.above(above, cache), context, caches)
        return self.beside(above, cache), rows

    def _pixel_stream(
        self,
        left: Tensor,
        beside: Tensor,
        rows: _RowFeatures,
        context: Tensor | None,
        caches: _Caches | None = None,
    ) -> Tensor:
        h = beside + self.left(left, None if caches is None else caches.cache)
        return self.output(F.elu(self.sizes.pixels(h, rows, context, caches)))


class _Caches:
    """The caches of one size and of the coarser sizes, and the outputs of the next coarser size."""

    def __init__(self, columns: int, depth: int) -> None:
        self.cache = PixelCache(columns)
        self.row = 0
        self.inner = _Caches((columns + 1) // 2, depth - 1) if depth > 0 else None
        self.rows: Tensor | None = None  # two fine rows, from the latest coarse row
        self.pixels: Tensor | None = None  # two fine rows, from the coarse pixels so far
        self.row_features: _RowFeatures | None = None  # of the latest coarse row

    @property
    def row_begins(self) -> bool:
        """Return whether a row of the next coarser size begins here."""
        return self.row % 2 == 0

    @property
    def pixel_begins(self) -> bool:
        """Return whether a pixel of the next coarser size begins here."""
        return self.row_begins and self.cache.column % 2 == 0

    def next_row(self, row: int) -> None:
        self.row = row
        self.cache.next_row()
        if self.inner is not None and self.row_begins:
            self.inner.next_row(row // 2)

    def move(self, column: int) -> None:
        self.cache.column = column
        if self.inner is not None and self.pixel_begins:
            self.inner.move(column // 2)


@dataclass
class _RowFeatures:
    """The row stream's contributions to the pixel stream's blocks: down, at the coarser sizes, and up."""

    down: list[Tensor]
    inner: _RowFeatures | None
    up: list[Tensor]


class _Size(nn.Module):
    """The blocks at one size, with the blocks of the coarser sizes inside."""

    def __init__(
        self, size: tuple[int, int], width: int, blocks: int, scales: int, dropout: float, context: int
    ) -> None:
        super().__init__()
        self.size = size
        self.inner: _Size | None = None
        if scales > 1 and min(size) > 2:
            coarse = ((size[0] + 1) // 2, (size[1] + 1) // 2)
            self.inner = _Size(coarse, width, blocks, scales - 1, dropout, context)
            self.shrink_rows = RowConv(width, width, (2, 3), stride=2)
            self.shrink_pixels = PixelConv(width, width, (2, 2), stride=2)
            self.enlarge_rows = nn.ConvTranspose2d(
                width, width, (2, 3), stride=2, padding=(0, 1), output_padding=(0, 1)
            )
            self.enlarge_pixels = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.depth: int = 1 if self.inner is None else 1 + self.inner.depth
        up = blocks + (self.inner is not None)  # one for each skip connection, including the input's
        self.down = nn.ModuleList(_Pair(width, False, dropout, context) for _ in range(blocks))
        self.up = nn.ModuleList(_Pair(width, True, dropout, context) for _ in range(up))

    def rows(
        self, u: Tensor, context: Tensor | None, caches: _Caches | None = None
    ) -> tuple[Tensor, _RowFeatures]:
        cache = caches.cache if caches is not None else None
        features = _RowFeatures([], None, [])
        skips = [u]
        for pair in self.down:
            assert isinstance(pair, _Pair)
            u = pair.row(u, None, context, cache)
            skips.append(u)
            features.down.append(pair.link(u))
        if self.inner is None:
            skips.pop()
        elif caches is None:
            coarse, features.inner = self.inner.rows(self.shrink_rows(u), context)
            u = self._crop(self.enlarge_rows(coarse))
        else:
            if caches.row_begins:
                coarse, caches.row_features = self.inner.rows(
                    self.shrink_rows(u, cache), context, caches.inner
                )
                caches.rows = self._crop(self.enlarge_rows(coarse))
            else:
                self.shrink_rows.append(u, caches.cache)
            assert caches.rows is not None
            u, features.inner = caches.rows[:, :, caches.row % 2, None], caches.row_features
        for pair in self.up:
            assert isinstance(pair, _Pair)
            u = pair.row(u, skips.pop(), context, cache)
            features.up.append(pair.link(u))
        return u, features

    def pixels(
        self, h: Tensor, rows: _RowFeatures, context: Tensor | None, caches: _Caches | None = None
    ) -> Tensor:
        cache = None if caches is None else caches.cache
        skips = [h]
        for pair, condition in zip(self.down, rows.down, strict=True):
            assert isinstance(pair, _Pair)
            h = pair.pixel(h, _at_column(condition, cache), None, context, cache)
            skips.append(h)
        if self.inner is None:
            skips.pop()
        elif caches is None:
            assert rows.inner is not None
            coarse = self.inner.pixels(self.shrink_pixels(h), rows.inner, context)
            h = self._crop(self.enlarge_pixels(coarse))
        else:
            h = self._coarse_pixel(h, rows, context, caches)
        for pair, condition in zip(self.up, rows.up, strict=True):
            assert isinstance(pair, _Pair)
            h = pair.pixel(h, _at_column(condition, cache), skips.pop(), context, cache)
        return h

    def _coarse_pixel(self, h: Tensor, rows: _RowFeatures, context: Tensor | None, caches: _Caches) -> Tensor:
        """Return the coarser size's features at the current pixel, computed where a coarse pixel begins."""
        column = caches.cache.column
        if caches.pixels is None:
            caches.pixels = h.new_zeros(*h.shape[:2], 2, 2 * ((caches.cache.columns + 1) // 2))
        if caches.pixel_begins:
            assert self.inner is not None
            assert rows.inner is not None
            coarse = self.inner.pixels(self.shrink_pixels(h, caches.cache), rows.inner, context, caches.inner)
            caches.pixels[..., column : column + 2] = self.enlarge_pixels(coarse)
        else:
            self.shrink_pixels.append(h, caches.cache)
        return caches.pixels[:, :, caches.row % 2, None, column, None]

    def _crop(self, x: Tensor) -> Tensor:
        return x[:, :, : self.size[0], : self.size[1]]


class _Pair(nn.Module):
    """A gated residual block of each stream; the pixel stream is conditioned on the row stream."""

    def __init__(self, width: int, has_skip: bool, dropout: float, context: int) -> None:
        super().__init__()
        self.row = _Block(RowConv, (2, 3), width, has_skip, dropout, context)
        self.pixel_block = _Block(PixelConv, (2, 2), width, has_skip, dropout, context)
        self.listen = nn.Conv2d(2 * width, width, 1)

    def link(self, u: Tensor) -> Tensor:
        """Return the row stream's contribution to the pixel stream, ``(B, width, H, W)``."""
        return self.listen(_concat_elu(u))

    def pixel(
        self,
        h: Tensor,
        condition: Tensor,
        skip: Tensor | None,
        context: Tensor | None,
        cache: PixelCache | None,
    ) -> Tensor:
        return self.pixel_block(h, skip, context, cache, condition)


class _Block(nn.Module):
    """A block x + a * sigmoid(b), (a, b) = conv(e(conv(e(x)) + conditions)) + V y, e(x) = elu([x, -x])."""

    def __init__(
        self,
        conv: type[RowConv] | type[PixelConv],
        kernel: tuple[int, int],
        width: int,
        has_skip: bool,
        dropout: float,
        context: int,
    ) -> None:
        super().__init__()
        self.first = conv(2 * width, width, kernel)
        self.second = conv(2 * width, 2 * width, kernel)
        self.across = nn.Conv2d(2 * width, width, 1) if has_skip else None
        self.label = nn.Linear(context, 2 * width, bias=False) if context else None
        self.dropout = Dropout(dropout)
        with torch.no_grad():
            self.second.weight.mul_(0.1)  # blocks start near the identity

    def forward(
        self,
        x: Tensor,
        skip: Tensor | None,
        context: Tensor | None,
        cache: PixelCache | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        h = self.first(_concat_elu(x), cache)
        if self.across is not None:
            assert skip is not None
            h = h + self.across(_concat_elu(skip))
        if condition is not None:
            h = h + condition
        h = _concat_elu(h)
        if cache is None:  # sampling has no dropout, even in training mode
            h = self.dropout(h)
        content, gate = self.second(h, cache).chunk(2, 1)
        if self.label is not None:
            content_shift, gate_shift = self.label(context)[:, :, None, None].chunk(2, 1)
            content, gate = content + content_shift, gate + gate_shift
        return x + content * torch.sigmoid(gate)


def _at_column(condition: Tensor, cache: PixelCache | None) -> Tensor:
    return condition if cache is None else condition[..., cache.column, None]


def _concat_elu(x: Tensor) -> Tensor:
    return F.elu(torch.cat([x, -x], 1))


def _with_ones(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[:, :1])], 1)
