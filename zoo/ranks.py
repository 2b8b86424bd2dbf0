"""This process's place among the processes that share a batch. Needs torch."""

from __future__ import annotations

from torch import distributed


def world_size() -> int:
    """Return the number of processes that share the batch; 1 without a process group."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Return this process's number among them; 0 without a process group."""
    return distributed.get_rank() if world_size() > 1 else 0
