"""The gated PixelCNN network: logits of each sub-pixel from those before it, without a blind spot."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.models.core.nfe import add_nfe
from zoo.models.networks.causal import PixelConv, RowConv, Walk, shift_down


class GatedPixelCNN(nn.Module):
    """Gated PixelCNN with a vertical and a horizontal stack (van den Oord et al. 2016, arXiv:1606.05328).

    Order: rows from the top, pixels from the left, channels within the pixel. The vertical stack sees the
    rows above, whole; the horizontal stack sees the pixels to the left and, within the pixel, the channels
    before, and hears the vertical one:

        v_pre = conv(v) + V y,                           v = tanh(v_pre^a) * sigmoid(v_pre^b),
        h_pre = conv_left(h) + conv_1x1(v_pre) + U y,    h = h + conv_1x1(tanh(h_pre^a) * sigmoid(h_pre^b)),

    with a label y or none. So together they see everything above and to the left. Horizontal features form
    one group for each channel; within a pixel group c sees channels before c in the first layer, and groups
    up to c after it.

    Reach is ``first_kernel // 2 + (layers - 1) * (kernel // 2)`` pixels in each direction: 7 by default,
    which is all of an 8x8 image. The output layer starts at zero: uniform over the levels.

    Args:
        channels: channels C of the image.
        levels: values of a sub-pixel, 0 .. levels-1.
        width: features of each stack, at least C.
        layers: gated layers.
        kernel: size of the layers' (masked) kernels, odd.
        first_kernel: size of the first one's, odd.
        head: features of the hidden 1x1 layer before the logits.
        context: length of the label's one-hot; 0 for none.
    """

    def __init__(
        self,
        channels: int,
        levels: int,
        width: int = 16,
        layers: int = 5,
        kernel: int = 3,
        first_kernel: int = 7,
        head: int = 32,
        context: int = 0,
    ) -> None:
        super().__init__()
        wrong_kernels = any(k < 3 or k % 2 == 0 for k in (kernel, first_kernel))
        if min(width, head) < channels or layers < 1 or wrong_kernels:
            raise ZooError(
                f"A gated PixelCNN needs width and head >= channels ({channels}), layers >= 1 and odd "
                f"kernels >= 3; got {width}, {head}, {layers}, {kernel} and {first_kernel}."
            )
        self.channels, self.levels = channels, levels
        reaches = [first_kernel // 2] + [kernel // 2] * (layers - 1)
        pixel, features = torch.arange(channels), _groups(width, channels)
        self.layers = nn.ModuleList(
            _GatedLayer(pixel if first else features, features, reach, first, context)
            for first, reach in zip([True] + [False] * (layers - 1), reaches, strict=True)
        )
        head_groups = _groups(head, channels)
        self.head = _left(features, head_groups)
        self.output = _left(head_groups, pixel.repeat_interleave(levels))
        nn.init.zeros_(self.output.weight)
        assert self.output.bias is not None
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Logits ``(B, C, levels, H, W)`` from integers ``x`` ``(B, C, H, W)`` (in floating dtype)."""
        add_nfe()
        x = self._scale(x)
        return self._horizontal(x, self._vertical(shift_down(x), context), context)

    def generate(
        self,
        rows: int,
        height: int,
        columns: int,
        step: Callable[[int, int, int, Tensor], Tensor],
        context: Tensor | None = None,
    ) -> Tensor:
        """Fill in images sub-pixel by sub-pixel, ``(rows, C, height, columns)``.

        The vertical stack is computed once a row, for that row; the horizontal one once a sub-pixel, for that
        pixel.

        Args:
            rows: batch size B.
            height, columns: size of the images.
            step: given channel, row, column and the logits ``(B, levels)`` there, returns levels ``(B,)``.
            context: ``(B, K)``, where the network has one.
        """
        x = self.output.weight.new_zeros(rows, self.channels, height, columns)
        walk, above = Walk(columns), torch.zeros_like(x[:, :, :1])
        entry = self.layers[0].horizontal
        assert isinstance(entry, PixelConv)
        for row in range(height):
            walk.next_row()
            said = self._vertical(above, context, walk)
            for walk.column in range(columns):
                pixel = x[:, :, row : row + 1, walk.column : walk.column + 1]
                heard = [word[..., walk.column, None] for word in said]
                for channel in range(self.channels):
                    add_nfe()
                    logits = self._horizontal(self._scale(pixel), heard, context, walk)[:, channel, :, 0, 0]
                    pixel[:, channel, 0, 0] = step(channel, row, walk.column, logits).to(x.dtype)
                entry.remember(self._scale(pixel), walk)  # now with its last channel
            above = self._scale(x[:, :, row : row + 1])
        return x

    def _scale(self, x: Tensor) -> Tensor:
        """0 .. levels-1 to [-1, 1]."""
        return x * (2 / (self.levels - 1)) - 1

    def _vertical(self, above: Tensor, context: Tensor | None, walk: Walk | None = None) -> list[Tensor]:
        """For each layer, what the rows above say to every pixel: ``(B, 2 * width, H, W)``."""
        said, v = [], above
        for layer in self.layers:
            assert isinstance(layer, _GatedLayer)
            pre = layer.vertical(v, walk) + layer.told(context, 0)
            said.append(layer.link(pre) + layer.told(context, 1))
            v = _gate(pre)
        return said

    def _horizontal(
        self, x: Tensor, said: list[Tensor], context: Tensor | None, walk: Walk | None = None
    ) -> Tensor:
        """Logits, as :meth:`forward` gives, from ``x`` and the vertical stack's word."""
        h = x
        for index, (layer, word) in enumerate(zip(self.layers, said, strict=True)):
            assert isinstance(layer, _GatedLayer)
            update = layer.out(_gate(layer.horizontal(h, walk) + word), walk)
            h = h + update if index > 0 else update
        h = torch.relu(self.head(torch.relu(h), walk))
        return self.output(h, walk).unflatten(1, (self.channels, self.levels))


class _GatedLayer(nn.Module):
    def __init__(self, groups_in: Tensor, groups: Tensor, reach: int, first: bool, context: int) -> None:
        super().__init__()
        gated = torch.cat([groups, groups])  # two halves: content and gate
        self.vertical = RowConv(len(groups_in), len(gated), (reach + 1, 2 * reach + 1))
        self.link = nn.Conv2d(len(gated), len(gated), 1)
        self.horizontal = _left(groups_in, gated, reach, strict=first)
        self.out = _left(groups, groups)
        self.label = nn.Linear(context, 2 * len(gated), bias=False) if context else None

    def told(self, context: Tensor | None, stack: int) -> Tensor | float:
        """What the label adds to the vertical (0) or to the horizontal (1) stack."""
        return 0.0 if self.label is None else self.label(context).chunk(2, 1)[stack][:, :, None, None]


def _left(groups_in: Tensor, groups_out: Tensor, reach: int = 0, strict: bool = False) -> PixelConv:
    """A convolution that sees ``reach`` pixels to the left and, within the pixel, the groups before.

    Args:
        groups_in: group (channel) of each input feature.
        groups_out: group of each output feature.
        reach: pixels to the left.
        strict: within the pixel, see only groups before one's own; otherwise one's own too.
    """
    seen = groups_in[None, :] + int(strict) <= groups_out[:, None]
    mask = None if bool(seen.all()) else seen
    return PixelConv(len(groups_in), len(groups_out), (1, reach + 1), mask=mask)


def _gate(pre: Tensor) -> Tensor:
    content, gate = pre.chunk(2, dim=1)
    return torch.tanh(content) * torch.sigmoid(gate)


def _groups(features: int, channels: int) -> Tensor:
    """The channel to which each feature belongs, sorted and even."""
    return torch.arange(features) * channels // features
