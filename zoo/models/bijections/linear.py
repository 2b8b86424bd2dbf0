"""A learned linear map of features in LU form."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.bijections.base import Bijection, zeros
from zoo.models.core.memo import Memo

SMALLEST = 1e-3  # least diagonal entry: the map stays invertible


class LULinear(Bijection):
    """A linear layer z = L U x + b, L unit lower and U upper triangular with diagonal u = softplus(.) + 1e-3.

    log|det| = sum_i ln u_i. It starts as the identity; a fixed permutation before it compensates for the
    fixed order of the pivots (Oliva et al. 2018; Durkan et al. 2019, section 3.2). Cost: O(D^3) per call and
    O(D^2) per row; the inverse takes two triangular solves of D x D per call. In evaluation the matrices are
    computed once, see :class:`~zoo.models.core.memo.Memo`. Autocast is off inside, as in
    :class:`~zoo.models.bijections.invertible_conv.Mixing`.

    Args:
        features: number of features D.
    """

    below: Tensor
    above: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        below, above = torch.tril_indices(features, features, -1), torch.triu_indices(features, features, 1)
        self.register_buffer("below", below, persistent=False)
        self.register_buffer("above", above, persistent=False)
        self.lower = nn.Parameter(torch.zeros(below.shape[1]))
        self.upper = nn.Parameter(torch.zeros(above.shape[1]))
        one = torch.tensor(1 - SMALLEST).expm1().log()  # softplus(value) + 1e-3 = 1
        self.diagonal = nn.Parameter(one.repeat(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self._product: Memo[Tensor] = Memo()
        self._inverse: Memo[Tensor] = Memo()

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with torch.autocast(x.device.type, enabled=False):
            weight = self._product.of(self, self._weights(), lambda: torch.mm(*self._triangles()))
            return F.linear(x, weight.to(x.dtype), self.bias.to(x.dtype)), self._log_det(x)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.invert(z), -self._log_det(z)

    def invert(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        with torch.autocast(z.device.type, enabled=False):
            weight = self._inverse.of(self, self._weights(), lambda: solve_lu(*self._triangles()))
            return F.linear(z - self.bias.to(z.dtype), weight.to(z.dtype))

    def train(self, mode: bool = True) -> LULinear:
        self._product.forget()
        self._inverse.forget()
        return super().train(mode)

    def _weights(self) -> tuple[Tensor, ...]:
        return self.lower, self.upper, self.diagonal

    def _scale(self) -> Tensor:
        wide = torch.promote_types(self.diagonal.dtype, torch.float32)
        return F.softplus(self.diagonal.to(wide)) + SMALLEST

    def _triangles(self) -> tuple[Tensor, Tensor]:
        return triangles(self.lower, self.upper, self._scale(), self.below, self.above)

    def _log_det(self, x: Tensor) -> Tensor:
        return zeros(x) + self._scale().log().sum()


def triangles(
    lower: Tensor, upper: Tensor, diagonal: Tensor, below: Tensor, above: Tensor
) -> tuple[Tensor, Tensor]:
    """Return L with a unit diagonal and U with ``diagonal``, from entries at ``below`` and ``above``."""
    wide = diagonal.dtype
    unit = torch.diag(torch.ones_like(diagonal))
    return (
        unit.index_put(torch.unbind(below), lower.to(wide)),
        torch.diag(diagonal).index_put(torch.unbind(above), upper.to(wide)),
    )


def solve_lu(lower: Tensor, upper: Tensor, right: Tensor | None = None) -> Tensor:
    """Return (L U)^-1 ``right`` by two triangular solves; the inverse itself if ``right`` is None."""
    right = torch.eye(len(lower), dtype=lower.dtype, device=lower.device) if right is None else right
    half = torch.linalg.solve_triangular(lower, right, upper=False, unitriangular=True)
    return torch.linalg.solve_triangular(upper, half, upper=True)
