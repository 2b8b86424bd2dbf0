"""Sums and errors of the processes that share a batch; a single process needs no special case.

The sums have a process group of their own. In the default group they would mix with the exchange of
gradients, which runs during the backward pass, in an order that differs between processes.
"""

from __future__ import annotations

import pickle
import traceback
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from zoo.errors import ZooError
from zoo.ranks import rank, world_size


def all_reduce_sum(x: Tensor) -> Tensor:
    """Return the sum of ``x`` over all processes; the backward pass sums their gradients too."""
    return _AllReduceSum.apply(x) if world_size() > 1 else x


def moments(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean ``(C,)``, biased variance ``(C,)`` and total length of rows ``(C, N)`` over all processes.

    The variance is computed from differences to the mean, so a large mean loses no precision. All three are
    float32 or wider, also for values in half precision. Every process must call this function with its part
    of the batch, which may be empty. Without any values the moments are NaN.
    """
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    count = all_reduce_sum(torch.tensor(float(values.shape[1]), device=values.device, dtype=torch.float32))
    mean = all_reduce_sum(values.sum(1)) / count
    variance = all_reduce_sum((values - mean[:, None]).square().sum(1)) / count
    return mean, variance, count


def raise_together(error: Exception | None) -> None:
    """Raise in every process the error of the lowest rank that has one; return if none has.

    Every process must call this function, before the next operation for which they wait for each other: a
    process that has failed would be missing there.

    Args:
        error: the error of this process; None if it has none.
    """
    if world_size() == 1:
        if error is not None:
            raise error
        return
    every: list[Any] = [None] * world_size()
    distributed.all_gather_object(every, error and _portable(error))
    for other, theirs in enumerate(every):
        if theirs is not None:
            raise error if error is not None and other == rank() else theirs


def _portable(error: Exception) -> Exception:
    """Return the error in a form that another process can raise, with the original traceback as a note."""
    try:
        copy: Exception = pickle.loads(pickle.dumps(error))
    except Exception:
        copy = ZooError(f"{type(error).__name__}: {error}")
    copy.add_note(f"In process {rank()}:\n{''.join(traceback.format_exception(error))}")
    return copy


_groups: dict[str, Any] = {}
_timeout: list[timedelta] = []  # timeout of the process group; empty: the default of torch's backend


def wait_at_most(timeout: timedelta) -> None:
    """Set how long a process waits for the others in these sums; call it before the first sum.

    The process group of the sums does not inherit the timeout of the default group.
    """
    _timeout[:] = [timeout]


def meet() -> None:
    """Make the process group of these sums now; every process must call this.

    Otherwise the first sum makes it. A process that is lost before that sum would be noticed by the others
    only at the timeout: they wait for it in the store, not in a connection that breaks.
    """
    _group()


def _group() -> Any:
    """Return the process group of these sums; every process must make the first call, which creates it."""
    if "own" not in _groups or _groups["world"] is not distributed.group.WORLD:
        timeout = _timeout[0] if _timeout else None
        _groups.update(world=distributed.group.WORLD, own=distributed.new_group(timeout=timeout))
    return _groups["own"]


class _AllReduceSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.detach().clone().contiguous()
        distributed.all_reduce(x, group=_group())
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        gradient = gradients[0].clone().contiguous()
        distributed.all_reduce(gradient, group=_group())
        return gradient
