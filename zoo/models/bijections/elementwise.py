"""Fixed elementwise maps for the preprocessing of a flow: scaling and logit, with log-determinants."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.models.bijections.base import Bijection, zeros
from zoo.models.core.functional import sum_event


class Affine(Bijection):
    """The map z = scale * x + shift with fixed numbers; log|det| = D ln|scale|."""

    def __init__(self, scale: float, shift: float = 0.0) -> None:
        super().__init__()
        if scale == 0 or not math.isfinite(scale):
            raise ValueError(f"An invertible scale must be finite and not zero; got {scale}.")
        self.scale, self.shift = float(scale), float(shift)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x * self.scale + self.shift, self._log_det(x)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (z - self.shift) / self.scale, -self._log_det(z)

    def _log_det(self, x: Tensor) -> Tensor:
        return zeros(x) + x.shape[1:].numel() * math.log(abs(self.scale))

    def extra_repr(self) -> str:
        return f"scale={self.scale:g}, shift={self.shift:g}"


class Logit(Bijection):
    """The logit z = ln x - ln(1-x), from (0, 1) to the reals; log|dz/dx| = -ln x - ln(1-x)."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_x, log_1_x = torch.log(x), torch.log1p(-x)
        return log_x - log_1_x, sum_event(-(log_x + log_1_x))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return torch.sigmoid(z), -sum_event(F.softplus(z) + F.softplus(-z))
