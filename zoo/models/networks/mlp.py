"""The dense conditioner."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from zoo.models.core.nfe import add_nfe


class MLP(nn.Module):
    """A dense network W_L a(... a(W_1 x + b_1) ...) + b_L with an activation a.

    Args:
        in_features: width of the input.
        out_features: width of the output.
        hidden: widths of the hidden layers.
        activation: class of a; a smooth one keeps a flow's density smooth.
        zero_init_last: whether the last layer starts at zero, so that a flow starts as the identity.
        context: length of the context, which is appended to the inputs; 0 for none.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden: Sequence[int] = (128, 128),
        activation: Callable[[], nn.Module] = nn.SiLU,
        zero_init_last: bool = True,
        context: int = 0,
    ) -> None:
        super().__init__()
        in_features += context
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(in_features, width), activation()]
            in_features = width
        last = nn.Linear(in_features, out_features)
        if zero_init_last:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return ``(B, out_features)`` from ``(B, in_features)`` and a context ``(B, context)``."""
        add_nfe()
        return self.layers(x if context is None else torch.cat([x, context], 1))
