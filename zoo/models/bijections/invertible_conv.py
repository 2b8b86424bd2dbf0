"""The invertible 1x1 convolution: a learned mixing of channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.models.bijections.base import Bijection, zeros


class InvertibleConv1x1(Bijection):
    """z = W x at every pixel, W = P L (U + diag(sign exp(log s))), log|det| = H W sum log s.

    Kingma & Dhariwal 2018, eq. 9-11: L unit lower and U strictly upper triangular, P a fixed permutation and
    the signs fixed, from a random rotation. On vectors ``(B, D)`` it is a linear layer in LU form. Cost:
    O(C^2) a pixel; the inverse is two triangular solves of C x C, made once a call.

    Args:
        channels: C.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        rotation = torch.linalg.qr(torch.randn(channels, channels, dtype=torch.float64))[0]
        p, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        dtype = torch.get_default_dtype()
        self.register_buffer("permutation", p.to(dtype))
        self.register_buffer("sign", diagonal.sign().to(dtype))
        self.log_s = nn.Parameter(diagonal.abs().log().to(dtype))
        below, above = (torch.tril_indices(channels, channels, -1), torch.triu_indices(channels, channels, 1))
        self.register_buffer("below", below, persistent=False)
        self.register_buffer("above", above, persistent=False)
        self.lower = nn.Parameter(lower[below[0], below[1]].to(dtype))
        self.upper = nn.Parameter(upper[above[0], above[1]].to(dtype))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._triangles()
        return self._mix(self.permutation @ lower @ upper, x), self._log_det(x)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._triangles()
        half = torch.linalg.solve_triangular(lower, self.permutation.T, upper=False, unitriangular=True)
        return self._mix(torch.linalg.solve_triangular(upper, half, upper=True), z), -self._log_det(z)

    def _triangles(self) -> tuple[Tensor, Tensor]:
        below, above = torch.unbind(self.below), torch.unbind(self.above)  # type: ignore[arg-type]
        lower = torch.diag(torch.ones_like(self.log_s)).index_put(below, self.lower)
        return lower, torch.diag(self.sign * self.log_s.exp()).index_put(above, self.upper)

    @staticmethod
    def _mix(weight: Tensor, x: Tensor) -> Tensor:
        return torch.einsum("ij,bj...->bi...", weight, x)

    def _log_det(self, x: Tensor) -> Tensor:
        total = zeros(x)
        return total + self.log_s.sum(dtype=total.dtype) * x.shape[2:].numel()
