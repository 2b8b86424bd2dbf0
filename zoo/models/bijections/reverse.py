"""The reversal of the order of the dimensions."""

from __future__ import annotations

from torch import Tensor

from zoo.models.bijections.base import Bijection, zeros


class Reverse(Bijection):
    """The reversal z_i = x_{D+1-i} of the flattened event: its own inverse, with log-determinant zero."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x.flatten(1).flip(1).reshape(x.shape), zeros(x)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.forward(z)
