"""Sums over the processes that share a batch. A single process is the case of one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def world() -> int:
    """How many processes share the batch."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def total(x: Tensor) -> Tensor:
    """The sum of ``x`` over all processes, differentiable: each gets the gradients of all their losses."""
    return _Total.apply(x) if world() > 1 else x


def moments(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance of each row of ``(C, N)`` over the batch of all processes, and its length.

    The variance is that of the distances from the mean, so that a large mean costs no digits. Each process
    has its part of the batch, which may be empty, and must call this; an empty whole has moments of NaN.
    """
    count = total(torch.tensor(float(values.shape[1]), device=values.device, dtype=torch.float32))
    mean = total(values.sum(1)) / count
    variance = total((values - mean[:, None]).square().sum(1)) / count
    return mean, variance, count


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.detach().clone().contiguous()
        distributed.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        gradient = gradients[0].clone().contiguous()
        distributed.all_reduce(gradient)
        return gradient
