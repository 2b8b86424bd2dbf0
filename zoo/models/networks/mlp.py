"""The dense conditioner."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.models.networks.evaluations import tick


class MLP(nn.Module):
    """Linear layers with SiLU between them; the last starts near zero, so that a flow starts near identity.

    Args:
        in_features: width of the input.
        out_features: width of the output.
        hidden: widths of the hidden layers.
    """

    def __init__(self, in_features: int, out_features: int, hidden: Sequence[int] = (128, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(in_features, width), nn.SiLU()]
            in_features = width
        last = nn.Linear(in_features, out_features)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """``(B, in_features)`` to ``(B, out_features)``; a context counts among the inputs."""
        tick()
        return self.layers(x if context is None else torch.cat([x, context], 1))
