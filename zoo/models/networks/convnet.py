"""The convolutional conditioner."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.core.functional import for_convolutions
from zoo.models.core.nfe import add_nfe


class ConvNet(nn.Module):
    """A 3x3 convolution, residual blocks (3x3, 1x1), and a 3x3 convolution that starts at zero.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, which has the input's height and width.
        width: number of inner channels.
        blocks: number of residual blocks.
        context: length of the context, which shifts the first features; 0 for none.
    """

    def __init__(
        self, in_channels: int, out_channels: int, width: int = 32, blocks: int = 1, context: int = 0
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 1)
            )
            for _ in range(blocks)
        )
        self.context = nn.Linear(context, width, bias=False) if context else None
        self.last = nn.Conv2d(width, out_channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return ``(B, out_channels, H, W)`` from ``(B, in_channels, H, W)`` and a context ``(B, K)``."""
        add_nfe()
        h = self.first(for_convolutions(x))
        if self.context is not None:
            h = h + self.context(context)[:, :, None, None]
        for block in self.blocks:
            h = h + block(h)
        return self.last(F.silu(h)).contiguous()
