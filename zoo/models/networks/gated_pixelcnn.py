"""The gated PixelCNN: logits of each sub-pixel given the sub-pixels before it, without a blind spot."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.models.core.functional import to_symmetric
from zoo.models.core.nfe import add_nfe
from zoo.models.networks.causal import PixelCache, PixelConv, RowConv, shift_down


class GatedPixelCNN(nn.Module):
    """A gated PixelCNN with a vertical and a horizontal stack (van den Oord et al. 2016, arXiv:1606.05328).

    Order: rows from the top, pixels from the left, channels within the pixel. The vertical stack v depends on
    all rows above. The horizontal stack h depends on the pixels to the left, the channels before within the
    pixel, and the vertical stack. With an optional one-hot label y (eq. 4 of the paper),

        v_pre = conv(v) + V y,                           v = tanh(v_pre^a) * sigmoid(v_pre^b),
        h_pre = conv_left(h) + conv_1x1(v_pre) + U y,    h = h + conv_1x1(tanh(h_pre^a) * sigmoid(h_pre^b)).

    Together they cover everything above and to the left. Horizontal features form one group for each channel;
    within a pixel, group c depends on channels before c in the first layer (the paper's mask A), and on
    groups up to c in all later layers (mask B).

    The receptive field reaches ``first_kernel // 2 + (layers - 1) * (kernel // 2)`` pixels in each direction:
    7 by default, which is all of an 8x8 image. The output layer starts at zero, so that all levels have equal
    probability.

    Args:
        channels: channels C of the image.
        levels: number of values of a sub-pixel, 0 .. levels-1.
        width: features of each stack, at least C.
        layers: number of gated layers.
        kernel: size of the layers' (masked) kernels, odd.
        first_kernel: size of the first layer's kernels, odd.
        head: features of the hidden 1x1 layer before the logits, at least C.
        context: length of the one-hot label; 0 for none.

    Raises:
        ZooError: fewer features than channels, or a kernel that is even or below 3.
    """

    def __init__(
        self,
        channels: int,
        levels: int,
        *,
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
        """Return logits ``(B, C, levels, H, W)``.

        Args:
            x: integers ``(B, C, H, W)`` in a floating dtype.
            context: one-hot labels ``(B, K)``, if the network has a context.
        """
        add_nfe()
        x = to_symmetric(x, self.levels)
        return self._horizontal(x, self._vertical(shift_down(x), context))

    def generate(
        self,
        n: int,
        height: int,
        columns: int,
        sample: Callable[[int, int, int, Tensor], Tensor],
        context: Tensor | None = None,
    ) -> Tensor:
        """Generate ``n`` images ``(n, C, height, columns)`` sub-pixel by sub-pixel.

        The vertical stack is computed once for each row, only for that row; the horizontal stack once for
        each sub-pixel, only for that pixel.

        Args:
            n: number of images.
            height, columns: size of the images.
            sample: function from channel, row, column and the logits ``(n, levels)`` there to levels
                ``(n,)``.
            context: one-hot labels ``(n, K)``, if the network has a context.
        """
        x = self.output.weight.new_zeros(n, self.channels, height, columns)
        cache, above = PixelCache(columns), torch.zeros_like(x[:, :, :1])
        first = self.layers[0].horizontal
        assert isinstance(first, PixelConv)
        for row in range(height):
            cache.next_row()
            vertical = self._vertical(above, context, cache)
            for cache.column in range(columns):
                pixel = x[:, :, row : row + 1, cache.column : cache.column + 1]
                condition = [features[..., cache.column, None] for features in vertical]
                for channel in range(self.channels):
                    add_nfe()
                    logits = self._horizontal(to_symmetric(pixel, self.levels), condition, cache)
                    levels = sample(channel, row, cache.column, logits[:, channel, :, 0, 0])
                    pixel[:, channel, 0, 0] = levels.to(x.dtype)
                first.append(to_symmetric(pixel, self.levels), cache)  # the pixel is now complete
            above = to_symmetric(x[:, :, row : row + 1], self.levels)
        return x

    def _vertical(
        self, above: Tensor, context: Tensor | None, cache: PixelCache | None = None
    ) -> list[Tensor]:
        """Return the vertical stack's contribution to each horizontal layer, ``(B, 2 * width, H, W)``."""
        contributions, v = [], above
        for layer in self.layers:
            assert isinstance(layer, _GatedLayer)
            pre = layer.vertical(v, cache) + layer.label_shift(context, 0)
            contributions.append(layer.link(pre) + layer.label_shift(context, 1))
            v = _gate(pre)
        return contributions

    def _horizontal(self, x: Tensor, vertical: list[Tensor], cache: PixelCache | None = None) -> Tensor:
        """Return logits, as :meth:`forward` does, from ``x`` and the vertical stack's contributions."""
        h = x
        for index, (layer, contribution) in enumerate(zip(self.layers, vertical, strict=True)):
            assert isinstance(layer, _GatedLayer)
            update = layer.out(_gate(layer.horizontal(h, cache) + contribution), cache)
            h = h + update if index > 0 else update
        h = torch.relu(self.head(torch.relu(h), cache))
        return self.output(h, cache).unflatten(1, (self.channels, self.levels))


class _GatedLayer(nn.Module):
    def __init__(self, groups_in: Tensor, groups: Tensor, reach: int, first: bool, context: int) -> None:
        super().__init__()
        gated = torch.cat([groups, groups])  # two halves: content and gate
        self.vertical = RowConv(len(groups_in), len(gated), (reach + 1, 2 * reach + 1))
        self.link = nn.Conv2d(len(gated), len(gated), 1)
        self.horizontal = _left(groups_in, gated, reach, strict=first)
        self.out = _left(groups, groups)
        self.label = nn.Linear(context, 2 * len(gated), bias=False) if context else None

    def label_shift(self, context: Tensor | None, stack: int) -> Tensor | float:
        """Return the label's contribution to the vertical (0) or the horizontal (1) stack."""
        return 0.0 if self.label is None else self.label(context).chunk(2, 1)[stack][:, :, None, None]


def _left(groups_in: Tensor, groups_out: Tensor, reach: int = 0, strict: bool = False) -> PixelConv:
    """Return a convolution over ``reach`` pixels to the left and, within the pixel, earlier groups.

    Args:
        groups_in: group (channel) of each input feature.
        groups_out: group of each output feature.
        reach: number of pixels to the left.
        strict: whether to exclude an output's group within the pixel.
    """
    mask = groups_in[None, :] + int(strict) <= groups_out[:, None]
    return PixelConv(len(groups_in), len(groups_out), (1, reach + 1), mask=None if bool(mask.all()) else mask)


def _gate(pre: Tensor) -> Tensor:
    content, gate = pre.chunk(2, dim=1)
    return torch.tanh(content) * torch.sigmoid(gate)


def _groups(features: int, channels: int) -> Tensor:
    """Return the channel to which each feature belongs, sorted, in groups of nearly equal size."""
    return torch.arange(features) * channels // features
