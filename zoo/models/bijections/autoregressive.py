"""Autoregressive bijections: each dimension is transformed given those before it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.models.bijections.base import Bijection, sum_event
from zoo.models.networks.made import MADE


def soft_clamp(x: Tensor, bound: float) -> Tensor:
    """bound * tanh(x / bound): close to x near zero, and never beyond ``bound``."""
    return bound * torch.tanh(x / bound)


class MaskedAffineAutoregressive(Bijection):
    """z_i = (x_i - m_i) exp(-s_i) with (m_i, s_i) functions of x_1 .. x_{i-1} (and the context).

    The layer of MAF (Papamakarios et al. 2017, arXiv:1705.07057, eq. 4-5). The Jacobian is triangular:
    log|det dz/dx| = -sum_i s_i. ``forward`` is one pass of a MADE; ``inverse``, x_i = z_i exp(s_i) + m_i, is
    D sequential steps, which together compute each hidden unit once. It starts as the identity.

    Args:
        dim: number of dimensions D; events are ``(D,)``.
        hidden: widths of the MADE's hidden layers.
        context: number of conditioning features; 0 for none.
        log_scale_bound: s is soft-clamped to (-bound, bound), so that one layer stretches a dimension by at
            most e^bound (5: a factor of 148) and a far outlier cannot overflow.
    """

    def __init__(
        self,
        dim: int,
        hidden: Sequence[int] = (128, 128),
        context: int = 0,
        log_scale_bound: float = 5.0,
    ) -> None:
        super().__init__()
        self.network = MADE(dim, parameters=2, hidden=hidden, context=context)
        self.log_scale_bound = float(log_scale_bound)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        mean, raw = self.network(x, context).unbind(2)
        log_scale = soft_clamp(raw, self.log_scale_bound)
        return (x - mean) * torch.exp(-log_scale), -sum_event(log_scale)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        columns = z.T.contiguous()
        log_scales: list[Tensor] = []

        def step(i: int, parameters: Tensor) -> Tensor:
            log_scales.append(soft_clamp(parameters[1], self.log_scale_bound))
            return columns[i] * torch.exp(log_scales[-1]) + parameters[0]

        x = self.network.generate(len(z), step, context)
        return x, sum_event(torch.stack(log_scales, dim=1))

    def extra_repr(self) -> str:
        return f"log_scale_bound={self.log_scale_bound:g}"
