"""The order of training examples: a pure function of the seed and the update."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=2)  # all batches of an epoch use one permutation
def epoch_order(seed: int, epoch: int, n: int) -> Tensor:
    """Return the permutation of ``n`` examples in the given epoch, ``(n,)``."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(n, generator=generator)


def batch_indices(seed: int, update: int, batch_size: int, n: int) -> Tensor:
    """Return the indices ``(batch_size,)`` of the global batch of an update (counted from 0).

    The permutations of all epochs follow each other without a gap and are cut into batches. So every example
    is seen once in an epoch, a batch may span two epochs, and training resumes at any update without state.
    """
    first = update * batch_size
    parts = []
    for epoch in range(first // n, (first + batch_size - 1) // n + 1):
        begin = max(first - epoch * n, 0)
        end = min(first + batch_size - epoch * n, n)
        parts.append(epoch_order(seed, epoch, n)[begin:end])
    return torch.cat(parts)
