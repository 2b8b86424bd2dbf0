"""From integers to a density and back: the stochastic step in front of a flow."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.models import noise


class UniformDequantisation(nn.Module):
    """x + u with u uniform on [0, 1); rounding down undoes it.

    The noise has density 1, so its log-density adds nothing: log p(x + u) averaged over u is a lower bound on
    log P(x) (Theis et al. 2016, eq. 3). The sum stays below the next integer also in float32.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Integers ``(B, ...)`` to a point of each one's unit cell."""
        y = x + noise.uniform(x)
        return torch.minimum(y, torch.nextafter(x + 1, x))

    def inverse(self, y: Tensor) -> Tensor:
        """The integer in whose unit cell ``y`` lies."""
        return torch.floor(y)
