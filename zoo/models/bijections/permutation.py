"""A fixed permutation of the features or channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.models.bijections.base import Rearrangement


class Permutation(Rearrangement):
    """The permutation z_i = x_{order(i)} along dimension 1 (features or channels).

    The order is a buffer and saved with the weights, so a reloaded model has the permutation of its training.

    Args:
        order: permutation of ``0 .. C-1``.

    Raises:
        ValueError: ``order`` is not a permutation.

    >>> Permutation([2, 0, 1])(torch.tensor([[10, 11, 12]]))[0].tolist()
    [[12, 10, 11]]
    """

    order: Tensor
    back: Tensor

    def __init__(self, order: Sequence[int] | Tensor) -> None:
        super().__init__()
        order = torch.as_tensor(order, dtype=torch.int64)
        places = torch.arange(len(order), device=order.device)
        # a meta tensor, in a model built only for its shapes, has no values to check
        if order.ndim != 1 or not (order.is_meta or torch.equal(order.sort().values, places)):
            raise ValueError(f"A permutation of {len(order)} must hold each of 0..{len(order) - 1} once.")
        self.register_buffer("order", order)
        self.register_buffer("back", order.argsort())

    def move(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.order)

    def move_back(self, z: Tensor) -> Tensor:
        return z.index_select(1, self.back)
