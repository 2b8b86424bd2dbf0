"""The PixelCNN++ network: two causal streams through a U of sizes, with short cuts across it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.core.nfe import add_nfe
from zoo.models.networks.causal import PixelConv, RowConv, Walk, shift_down, shift_right
from zoo.models.networks.dropout import Dropout


class PixelCNNPP(nn.Module):
    """Outputs at each pixel from the pixels before it (Salimans et al. 2017, arXiv:1701.05517, section 2).

    Order: rows from the top, pixels from the left; the channels of a pixel are not told apart here. One
    stream sees the rows above; the other sees the pixels to the left too, and hears the first at every block.
    Both pass through ``blocks`` gated residual blocks at each size, halving the sides in between, and back
    up through blocks that each hear the block across (short cuts). A coarse pixel (I, J) has seen nothing
    after the fine pixel (2I, 2J), and speaks to the four fine pixels from there on; so nothing sees what
    comes later. Sides halve, rounding up, up to ``scales`` sizes, as long as both are longer than 2.

    The weight normalisation of the paper is left out. The output layer starts at zero.

    Args:
        channels: channels of the image.
        outputs: numbers at each pixel.
        size: height and width.
        width: features of each stream.
        blocks: residual blocks at each size, each way.
        scales: sizes at most.
        dropout: share of the features dropped in training, in each block.
        context: length of the label's one-hot, which shifts every block; 0 for none.
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        size: tuple[int, int],
        width: int = 20,
        blocks: int = 1,
        scales: int = 3,
        dropout: float = 0.0,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.channels, self.size = channels, size
        seen = channels + 1  # one channel of ones, so that a black pixel and the outside differ
        self.above = RowConv(seen, width, (2, 3))
        self.beside = RowConv(seen, width, (1, 3))
        self.left = PixelConv(seen, width, (2, 1))
        self.sizes = _Size(self.size, width, blocks, scales, dropout, context)
        self.output = nn.Conv2d(width, outputs, 1)
        nn.init.zeros_(self.output.weight)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Outputs ``(B, outputs, H, W)`` from ``x`` ``(B, C, H, W)`` in [-1, 1]."""
        add_nfe()
        x = _with_ones(x)
        beside, said = self._rows(shift_down(x), context)
        return self._pixels(shift_right(x), beside, said, context)

    def generate(
        self,
        rows: int,
        step: Callable[[int, int, Tensor], Tensor],
        context: Tensor | None = None,
    ) -> Tensor:
        """Fill in images pixel by pixel, ``(rows, C, H, W)`` in [-1, 1].

        The stream of rows is computed once a row, the other once a pixel, and at the coarser sizes only where
        a row or a pixel begins there: a quarter of the pixels, a sixteenth, ...

        Args:
            rows: batch size B.
            step: given row, column and the outputs ``(B, outputs)`` there, returns the pixel ``(B, C)``.
            context: ``(B, K)``, where the network has one.
        """
        height, columns = self.size
        x = self.output.weight.new_zeros(rows, self.channels, height, columns)
        walks = _Walks(columns, 0 if self.sizes.inner is None else self.sizes.inner.depth)
        outside = x.new_zeros(rows, self.channels + 1, 1, 1)
        above = outside.expand(-1, -1, -1, columns)
        for row in range(height):
            walks.next_row(row)
            beside, said = self._rows(above, context, walks)
            left = outside
            for column in range(columns):
                add_nfe()
                walks.move(column)
                output = self._pixels(left, beside[..., column, None], said, context, walks)
                x[:, :, row, column] = step(row, column, output[:, :, 0, 0])
                left = _with_ones(x[:, :, row : row + 1, column : column + 1])
            above = _with_ones(x[:, :, row : row + 1])
        return x

    def _rows(
        self, above: Tensor, context: Tensor | None, walks: _Walks | None = None
    ) -> tuple[Tensor, _Said]:
        """What the rows above say to the entry of the other stream and to its blocks."""
        walk = None if walks is None else walks.walk
        _, said = self.sizes.rows(self.above(above, walk), context, walks)
        return self.beside(above, walk), said

    def _pixels(
        self,
        left: Tensor,
        beside: Tensor,
        said: _Said,
        context: Tensor | None,
        walks: _Walks | None = None,
    ) -> Tensor:
        h = beside + self.left(left, None if walks is None else walks.walk)
        return self.output(F.elu(self.sizes.pixels(h, said, context, walks)))


class _Walks:
    """A walk at this size and, inside, those at the coarser ones; what those last said to this one."""

    def __init__(self, columns: int, depth: int) -> None:
        self.walk = Walk(columns)
        self.row = 0
        self.inner = _Walks((columns + 1) // 2, depth - 1) if depth > 0 else None
        self.rows: Tensor | None = None  # two rows, from the coarse row that began last
        self.pixels: Tensor | None = None  # two rows, from the coarse pixels so far
        self.said: _Said | None = None  # by the coarse rows to the coarse pixels

    @property
    def row_begins(self) -> bool:
        """Whether a row of the next coarser size begins here."""
        return self.row % 2 == 0

    @property
    def pixel_begins(self) -> bool:
        """Whether a pixel of the next coarser size begins here."""
        return self.row_begins and self.walk.column % 2 == 0

    def next_row(self, row: int) -> None:
        self.row = row
        self.walk.next_row()
        if self.inner is not None and self.row_begins:
            self.inner.next_row(row // 2)

    def move(self, column: int) -> None:
        self.walk.column = column
        if self.inner is not None and self.pixel_begins:
            self.inner.move(column // 2)


@dataclass
class _Said:
    """The stream of rows' word to each block of the other: on the way in, within, and on the way out."""

    down: list[Tensor]
    inner: _Said | None
    up: list[Tensor]


class _Size(nn.Module):
    """The blocks at one size, around those at the next coarser one."""

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
        back = blocks + (self.inner is not None)  # one for each that the way in left, its entry too
        self.down = nn.ModuleList(_Pair(width, False, dropout, context) for _ in range(blocks))
        self.up = nn.ModuleList(_Pair(width, True, dropout, context) for _ in range(back))

    def rows(self, u: Tensor, context: Tensor | None, walks: _Walks | None = None) -> tuple[Tensor, _Said]:
        walk = walks.walk if walks is not None else None
        said = _Said([], None, [])
        across = [u]
        for pair in self.down:
            assert isinstance(pair, _Pair)
            u = pair.row(u, None, context, walk)
            across.append(u)
            said.down.append(pair.link(u))
        if self.inner is None:
            across.pop()
        elif walks is None:
            coarse, said.inner = self.inner.rows(self.shrink_rows(u), context)
            u = self._crop(self.enlarge_rows(coarse))
        else:
            if walks.row_begins:
                coarse, walks.said = self.inner.rows(self.shrink_rows(u, walk), context, walks.inner)
                walks.rows = self._crop(self.enlarge_rows(coarse))
            else:
                self.shrink_rows.remember(u, walks.walk)
            assert walks.rows is not None
            u, said.inner = walks.rows[:, :, walks.row % 2, None], walks.said
        for pair in self.up:
            assert isinstance(pair, _Pair)
            u = pair.row(u, across.pop(), context, walk)
            said.up.append(pair.link(u))
        return u, said

    def pixels(self, h: Tensor, said: _Said, context: Tensor | None, walks: _Walks | None = None) -> Tensor:
        walk = None if walks is None else walks.walk
        across = [h]
        for pair, word in zip(self.down, said.down, strict=True):
            assert isinstance(pair, _Pair)
            h = pair.pixel(h, _here(word, walk), None, context, walk)
            across.append(h)
        if self.inner is None:
            across.pop()
        elif walks is None:
            assert said.inner is not None
            coarse = self.inner.pixels(self.shrink_pixels(h), said.inner, context)
            h = self._crop(self.enlarge_pixels(coarse))
        else:
            h = self._coarse_pixel(h, said, context, walks)
        for pair, word in zip(self.up, said.up, strict=True):
            assert isinstance(pair, _Pair)
            h = pair.pixel(h, _here(word, walk), across.pop(), context, walk)
        return h

    def _coarse_pixel(self, h: Tensor, said: _Said, context: Tensor | None, walks: _Walks) -> Tensor:
        """What the coarser size says to the walk's pixel; computed where its own pixel begins."""
        column = walks.walk.column
        if walks.pixels is None:
            walks.pixels = h.new_zeros(*h.shape[:2], 2, 2 * ((walks.walk.columns + 1) // 2))
        if walks.pixel_begins:
            assert self.inner is not None
            assert said.inner is not None
            coarse = self.inner.pixels(self.shrink_pixels(h, walks.walk), said.inner, context, walks.inner)
            walks.pixels[..., column : column + 2] = self.enlarge_pixels(coarse)
        else:
            self.shrink_pixels.remember(h, walks.walk)
        return walks.pixels[:, :, walks.row % 2, None, column, None]

    def _crop(self, x: Tensor) -> Tensor:
        return x[:, :, : self.size[0], : self.size[1]]


class _Pair(nn.Module):
    """A gated residual block of each stream; that of pixels hears that of rows."""

    def __init__(self, width: int, hears_across: bool, dropout: float, context: int) -> None:
        super().__init__()
        self.row = _Block(RowConv, (2, 3), width, hears_across, dropout, context)
        self.pixel_block = _Block(PixelConv, (2, 2), width, hears_across, dropout, context)
        self.listen = nn.Conv2d(2 * width, width, 1)

    def link(self, u: Tensor) -> Tensor:
        """The word of the stream of rows, ``(B, width, H, W)``."""
        return self.listen(_concat_elu(u))

    def pixel(
        self, h: Tensor, word: Tensor, across: Tensor | None, context: Tensor | None, walk: Walk | None
    ) -> Tensor:
        return self.pixel_block(h, across, context, walk, word)


class _Block(nn.Module):
    """x + a * sigmoid(b) with (a, b) = conv(e(conv(e(x)) + heard)) + V y, and e(x) = elu([x, -x])."""

    def __init__(
        self,
        conv: type[RowConv] | type[PixelConv],
        kernel: tuple[int, int],
        width: int,
        hears_across: bool,
        dropout: float,
        context: int,
    ) -> None:
        super().__init__()
        self.first = conv(2 * width, width, kernel)
        self.second = conv(2 * width, 2 * width, kernel)
        self.across = nn.Conv2d(2 * width, width, 1) if hears_across else None
        self.label = nn.Linear(context, 2 * width, bias=False) if context else None
        self.dropout = Dropout(dropout)
        with torch.no_grad():
            self.second.weight.mul_(0.1)  # blocks start near the identity

    def forward(
        self,
        x: Tensor,
        across: Tensor | None,
        context: Tensor | None,
        walk: Walk | None = None,
        word: Tensor | None = None,
    ) -> Tensor:
        h = self.first(_concat_elu(x), walk)
        if self.across is not None:
            assert across is not None
            h = h + self.across(_concat_elu(across))
        if word is not None:
            h = h + word
        h = _concat_elu(h)
        if walk is None:  # a sampler drops nothing
            h = self.dropout(h)
        content, gate = self.second(h, walk).chunk(2, 1)
        if self.label is not None:
            shift, lift = self.label(context)[:, :, None, None].chunk(2, 1)
            content, gate = content + shift, gate + lift
        return x + content * torch.sigmoid(gate)


def _here(word: Tensor, walk: Walk | None) -> Tensor:
    return word if walk is None else word[..., walk.column, None]


def _concat_elu(x: Tensor) -> Tensor:
    return F.elu(torch.cat([x, -x], 1))


def _with_ones(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[:, :1])], 1)
