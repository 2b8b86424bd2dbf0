"""Division of an evaluation's rows between the processes of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed, nn

from zoo.models.core.capabilities import declared
from zoo.models.core.distributed import raise_together
from zoo.models.core.nfe import add_nfe, count_nfe
from zoo.ranks import rank as own_rank
from zoo.ranks import world_size


def in_batches(
    model: nn.Module, n: int, batch_size: int, work: Callable[[slice], Tensor], to_first: bool = False
) -> Tensor:
    """Return ``work`` of the rows ``0 .. n-1``, computed ``batch_size`` at a time and joined on the CPU.

    The batches are those of a single process, so that a solver whose steps depend on its batch takes the same
    steps; each process computes some of them, possibly none. All processes must call this function. All count
    the network evaluations of all, or raise the same error (from the lowest rank that has one). A model
    without keyed noise may draw from torch's global generator in the order of its batches, so each process
    then computes all of them.

    Args:
        model: the model that ``work`` calls.
        n: number of rows, at least one.
        batch_size: number of rows in a batch.
        work: function from a slice of rows to the model's result for them, ``(rows, ...)``.
        to_first: whether only the first process needs the result, as with samples, which may be gigabytes.
            The others then get only the rows that they have computed, and no process but the first holds
            those of another.
    """
    batches = [slice(first, min(first + batch_size, n)) for first in range(0, n, batch_size)]
    if world_size() == 1 or not declared(model).keyed_noise:
        return torch.cat([work(rows).cpu() for rows in batches])
    rank, ranks = own_rank(), world_size()
    mine = batches[rank * len(batches) // ranks : (rank + 1) * len(batches) // ranks]
    parts, error = [], None
    with count_nfe() as counter:
        try:
            parts = [work(rows).cpu() for rows in mine]
        except Exception as raised:  # the others wait for this process
            error = raised
    raise_together(error)
    every: list[Any] = [None] * ranks
    distributed.all_gather_object(every, counter.count)
    add_nfe(sum(every))
    if not to_first:
        distributed.all_gather_object(every, parts)
    else:
        distributed.gather_object(parts, every if rank == 0 else None)
        if rank != 0:
            return torch.cat(parts) if parts else torch.empty(0)
    return torch.cat([part for parts in every for part in parts])


def first_goes_on() -> bool:
    """End the process group, if there is one. Return whether this is the first process, which continues."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return True
    first = distributed.get_rank() == 0
    distributed.destroy_process_group()
    return first
