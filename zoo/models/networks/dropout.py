"""Dropout with keyed noise."""

from __future__ import annotations

from torch import Tensor, nn

from zoo.models.core import rng


class Dropout(nn.Module):
    """Dropout: in training, keep each value with probability 1 - ``share`` and divide it by that.

    See Srivastava et al. 2014. The mask comes from :mod:`zoo.models.core.rng`, so an example's mask does not
    depend on the number of processes or on how its batch is divided.

    Args:
        share: share of the values dropped, in [0, 1).
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of ``x``, ``(B, ...)``."""
        if not self.training or self.share == 0:
            return x
        return x * (rng.uniform(x) >= self.share) / (1 - self.share)
