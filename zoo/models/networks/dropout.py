"""Dropout from keyed noise."""

from __future__ import annotations

from torch import Tensor, nn

from zoo.models.core import rng


class Dropout(nn.Module):
    """Values kept with probability 1 - ``share`` and divided by it, in training (Srivastava et al. 2014).

    The mask comes from :mod:`zoo.models.core.rng`: an example's is the same whatever the number of processes
    and of pieces that its batch is worked through in.

    Args:
        share: of the values dropped, in [0, 1).
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """``(B, ...)`` to the same shape."""
        if not self.training or self.share == 0:
            return x
        return x * (rng.uniform(x) >= self.share) / (1 - self.share)
