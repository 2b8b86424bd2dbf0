"""Residual conditioners of neural spline flows, dense and convolutional."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.models.core.functional import for_convolutions
from zoo.models.core.nfe import add_nfe


class _Residual(nn.Module):
    """A residual block h + W2 dropout(relu(W1 relu(h)))."""

    def __init__(self, one: nn.Module, two: nn.Module, dropout: float) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.ReLU(), one, nn.ReLU(), nn.Dropout(dropout), two)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.branch(h)


class ResidualMLP(nn.Module):
    """A linear map, residual blocks of two linear maps, and a linear map from zero (Durkan et al. 2019, B.1).

    Args:
        in_features: width of the input.
        out_features: width of the output.
        hidden: width of the hidden layers.
        blocks: number of residual blocks.
        dropout: probability of dropout between the two maps of a block.
        context: length of the context, which is appended to the inputs; 0 for none.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden: int = 64,
        blocks: int = 2,
        dropout: float = 0.0,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.first = nn.Linear(in_features + context, hidden)
        self.blocks = nn.Sequential(
            *(_Residual(nn.Linear(hidden, hidden), nn.Linear(hidden, hidden), dropout) for _ in range(blocks))
        )
        self.last = nn.Linear(hidden, out_features)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return ``(B, out_features)`` from ``(B, in_features)`` and a context ``(B, context)``."""
        add_nfe()
        return self.last(self.blocks(self.first(x if context is None else torch.cat([x, context], 1))))


class ResidualConvNet(nn.Module):
    """A 1x1 convolution, residual blocks of two 3x3 convolutions, and a 1x1 convolution that starts at zero.

    Durkan et al. 2019, section 5.2, without the paper's batch normalisation.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, which has the input's height and width.
        width: number of inner channels.
        blocks: number of residual blocks.
        dropout: probability of dropout between the two convolutions of a block.
        context: length of the context, which shifts the first features; 0 for none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 32,
        blocks: int = 2,
        dropout: float = 0.0,
        context: int = 0,
    ) -> None:
        super().__init__()

        def three() -> nn.Module:
            return nn.Conv2d(width, width, 3, padding=1)

        self.first = nn.Conv2d(in_channels, width, 1)
        self.context = nn.Linear(context, width, bias=False) if context else None
        self.blocks = nn.Sequential(*(_Residual(three(), three(), dropout) for _ in range(blocks)))
        self.last = nn.Conv2d(width, out_channels, 1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return ``(B, out_channels, H, W)`` from ``(B, in_channels, H, W)`` and a context ``(B, K)``."""
        add_nfe()
        h = self.first(for_convolutions(x))
        if self.context is not None:
            h = h + self.context(context)[:, :, None, None]
        return self.last(self.blocks(h)).contiguous()
