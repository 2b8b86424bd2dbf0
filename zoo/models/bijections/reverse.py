"""The reversal of the order of the dimensions."""

from __future__ import annotations

from torch import Tensor

from zoo.models.bijections.base import Rearrangement


class Reverse(Rearrangement):
    """The reversal z_i = x_{D+1-i} of the flattened event, its own inverse."""

    def move(self, x: Tensor) -> Tensor:
        return x.flip(1) if x.ndim == 2 else x.flatten(1).flip(1).reshape(x.shape)

    def move_back(self, z: Tensor) -> Tensor:
        return self.move(z)
