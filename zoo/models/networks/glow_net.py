"""Glow's convolutional conditioner."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.core.functional import for_convolutions
from zoo.models.core.nfe import add_nfe


class GlowNet(nn.Module):
    """Convolutions of 3x3, 1x1 and 3x3 with ReLU between; the last starts at zero and is scaled by exp(3 l).

    Kingma & Dhariwal 2018, section 4 and appendix B; l is a learned number for each output channel. The
    activation normalisation inside the network is replaced by biases.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, which has the input's height and width.
        width: number of inner channels.
        context: length of the context, which shifts the first features; 0 for none.
    """

    def __init__(self, in_channels: int, out_channels: int, width: int = 512, context: int = 0) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.context = nn.Linear(context, width, bias=False) if context else None
        self.middle = nn.Conv2d(width, width, 1)
        self.last = nn.Conv2d(width, out_channels, 3, padding=1)
        self.log_scale = nn.Parameter(torch.zeros(out_channels, 1, 1))
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return ``(B, out_channels, H, W)`` from ``(B, in_channels, H, W)`` and a context ``(B, K)``."""
        add_nfe()
        h = self.first(for_convolutions(x))
        if self.context is not None:
            h = h + self.context(context)[:, :, None, None]
        h = F.relu(self.middle(F.relu(h, inplace=True)), inplace=True)
        return (self.last(h) * (3 * self.log_scale).exp()).contiguous()
