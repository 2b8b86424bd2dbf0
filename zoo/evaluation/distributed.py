"""The rows of an evaluation, shared out over the processes of a run."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed, nn

from zoo.errors import ZooError
from zoo.models.core.model import GenerativeModel
from zoo.models.core.nfe import add_nfe, count_nfe
from zoo.ranks import rank as own_rank
from zoo.ranks import world_size


def in_batches(model: nn.Module, n: int, batch_size: int, work: Callable[[slice], Tensor]) -> Tensor:
    """``work`` on the rows ``0 .. n-1``, ``batch_size`` at a time, put together on the CPU.

    Each of several processes works through a run of the batches that one process would make, so that even
    a solver whose steps depend on its batch takes the same; a process may have none. All of them must call
    this, and all get the whole, with the evaluations that any of them counted, or raise the same error, that
    of the first process to have one. A model that is not zoo's may draw from torch's global generator in the
    order of its batches: each process works through them all.

    Args:
        model: that ``work`` asks.
        n: rows, at least one.
        batch_size: of them at once.
        work: what the model answers for these rows, ``(rows, ...)``.
    """
    batches = [slice(first, min(first + batch_size, n)) for first in range(0, n, batch_size)]
    if world_size() == 1 or not isinstance(model, GenerativeModel):
        return torch.cat([work(rows).cpu() for rows in batches])
    rank, ranks = own_rank(), world_size()
    mine = batches[rank * len(batches) // ranks : (rank + 1) * len(batches) // ranks]
    parts, error = [], None
    with count_nfe() as counter:
        try:
            parts = [work(rows).cpu() for rows in mine]
        except Exception as raised:  # the others wait for this process
            error = raised
    every: list[Any] = [None] * ranks
    distributed.all_gather_object(every, (parts, counter.count, error and _portable(error, rank)))
    for other, (_, _, theirs) in enumerate(every):
        if theirs is not None:
            raise error if error is not None and other == rank else theirs
    add_nfe(sum(count for _, count, _ in every))
    return torch.cat([part for parts, _, _ in every for part in parts])


def first_goes_on() -> bool:
    """End the process group where there is one; whether this process is the first, which goes on alone."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return True
    first = distributed.get_rank() == 0
    distributed.destroy_process_group()
    return first


def _portable(error: Exception, rank: int) -> Exception:
    """The error as another process can raise it, with where it comes from."""
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:
        copy = ZooError(f"{type(error).__name__}: {error}")
    copy.add_note(f"In process {rank}:\n{''.join(traceback.format_exception(error))}")
    return copy
