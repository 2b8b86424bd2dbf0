"""The gated PixelCNN network: logits of each sub-pixel from those before it, without a blind spot."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.networks.evaluations import tick


class GatedPixelCNN(nn.Module):
    """Gated PixelCNN with a vertical and a horizontal stack (van den Oord et al. 2016, arXiv:1606.05328).

    Order: rows from the top, pixels from the left, channels within the pixel. The vertical stack sees whole
    rows; it enters the horizontal stack shifted down by one row. The horizontal stack sees the pixels to the
    left and, within the pixel, the channels before:

        v_pre = conv(v),                                v = tanh(v_pre^a) * sigmoid(v_pre^b),
        h_pre = conv_left(h) + conv_1x1(down(v_pre)),   h = h + conv_1x1(tanh(h_pre^a) * sigmoid(h_pre^b)).

    So together they see everything above and to the left. Horizontal features form one group for each
    channel; within a pixel group c sees channels before c in the first layer, and groups up to c after it.

    Reach is ``first_kernel // 2 + (layers - 1) * (kernel // 2)`` pixels in each direction: 7 by default,
    which is all of an 8x8 image. The output layer starts at zero: uniform over the levels.

    Args:
        channels: channels C of the image.
        levels: values of a sub-pixel, 0 .. levels-1.
        width: features of each stack, at least C.
        layers: gated layers.
        kernel: size of the layers' (masked) kernels, odd.
        first_kernel: size of the first one's.
        head: features of the hidden 1x1 layer before the logits.
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
    ) -> None:
        super().__init__()
        if min(width, head) < channels or layers < 1 or min(kernel, first_kernel) < 3:
            raise ValueError(
                f"A gated PixelCNN needs width and head >= channels ({channels}), a layer and kernels >= 3; "
                f"got {width}, {head}, {layers}, {kernel} and {first_kernel}."
            )
        self.channels, self.levels = channels, levels
        reaches = [first_kernel // 2] + [kernel // 2] * (layers - 1)
        self.reach = sum(reaches)
        pixel, features = torch.arange(channels), _groups(width, channels)
        self.layers = nn.ModuleList(
            _GatedLayer(pixel if first else features, features, reach, first)
            for first, reach in zip([True] + [False] * (layers - 1), reaches, strict=True)
        )
        head_groups = _groups(head, channels)
        self.head = _LeftConv(features, head_groups, reach=0)
        self.output = _LeftConv(head_groups, pixel.repeat_interleave(levels), reach=0)
        nn.init.zeros_(self.output.weight)
        assert self.output.bias is not None
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, C, levels, H, W)`` from integers ``x`` ``(B, C, H, W)`` (in floating dtype)."""
        tick()
        x = self.scale(x)
        return self.horizontal(x, self.vertical(x))

    def scale(self, x: Tensor) -> Tensor:
        """0 .. levels-1 to [-1, 1]."""
        return x * (2 / (self.levels - 1)) - 1

    def vertical(self, x: Tensor) -> list[Tensor]:
        """For each layer, what the rows above say to every pixel: ``(B, 2 * width, H, W)``."""
        said, v = [], x
        for layer in self.layers:
            assert isinstance(layer, _GatedLayer)
            pre = layer.vertical(v)
            said.append(layer.link(F.pad(pre, (0, 0, 1, -1))))
            v = _gate(pre)
        return said

    def horizontal(self, x: Tensor, above: list[Tensor]) -> Tensor:
        """Logits, as :meth:`forward` gives, from ``x`` and the vertical stack's word, row by row."""
        h = x
        for index, (layer, link) in enumerate(zip(self.layers, above, strict=True)):
            assert isinstance(layer, _GatedLayer)
            update = layer.out(_gate(layer.horizontal(h) + link))
            h = h + update if index > 0 else update
        h = torch.relu(self.head(torch.relu(h)))
        return self.output(h).unflatten(1, (self.channels, self.levels))


class _GatedLayer(nn.Module):
    def __init__(self, groups_in: Tensor, groups: Tensor, reach: int, first: bool) -> None:
        super().__init__()
        gated = torch.cat([groups, groups])  # two halves: content and gate
        self.vertical = _UpConv(len(groups_in), len(gated), reach)
        self.link = nn.Conv2d(len(gated), len(gated), 1)
        self.horizontal = _LeftConv(groups_in, gated, reach, strict=first)
        self.out = _LeftConv(groups, groups, reach=0)


class _UpConv(nn.Conv2d):
    """A convolution that sees the pixel's own row and ``reach`` rows above, ``reach`` columns either side."""

    def __init__(self, channels_in: int, channels_out: int, reach: int) -> None:
        super().__init__(channels_in, channels_out, (reach + 1, 2 * reach + 1))
        self.reach = reach

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(F.pad(input, (self.reach, self.reach, self.reach, 0)))


class _LeftConv(nn.Conv2d):
    """A convolution that sees ``reach`` pixels to the left and, within the pixel, the groups before.

    Args:
        groups_in: group (channel) of each input feature.
        groups_out: group of each output feature.
        reach: pixels to the left.
        strict: within the pixel, see only groups before one's own; otherwise one's own too.
    """

    mask: Tensor | None

    def __init__(self, groups_in: Tensor, groups_out: Tensor, reach: int, strict: bool = False) -> None:
        super().__init__(len(groups_in), len(groups_out), (1, reach + 1))
        self.reach = reach
        seen = groups_in[None, :] + int(strict) <= groups_out[:, None]
        mask = torch.ones_like(self.weight)
        mask[..., -1] = seen[..., None].to(mask.dtype)
        self.register_buffer("mask", None if bool(seen.all()) else mask, persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight if self.mask is None else self.weight * self.mask
        return F.conv2d(F.pad(input, (self.reach, 0)) if self.reach else input, weight, self.bias)


def _gate(pre: Tensor) -> Tensor:
    content, gate = pre.chunk(2, dim=1)
    return torch.tanh(content) * torch.sigmoid(gate)


def _groups(features: int, channels: int) -> Tensor:
    """The channel to which each feature belongs, sorted and even."""
    return torch.arange(features) * channels // features
