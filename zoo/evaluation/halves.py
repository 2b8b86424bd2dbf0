"""Standard errors over the draw of samples and of real examples together, by half-samples of both.

A half-sample is half of each set, drawn without replacement. The deviation of a statistic over half-samples
is its standard error at full size, to first order in 1/n (the delete-d jackknife with d = n/2; Shao & Wu
1989). Unlike a bootstrap it repeats no example, whose distance to its copy would be the smallest of its
neighbourhood, so that a bootstrap's errors of precision, recall and coverage are too large. And the bias of
a Fréchet distance, which is proportional to 1/n, is the mean over half-samples less the value itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

ROUNDS = 200


def half_samples(n: int, m: int, rounds: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the rows of ``rounds`` half-samples of sets of ``n`` and ``m`` examples."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(rounds):
        yield (
            torch.randperm(n, generator=generator)[: n // 2],
            torch.randperm(m, generator=generator)[: m // 2],
        )


def error(statistic: Callable[[Tensor, Tensor], float], n: int, m: int, rounds: int, seed: int) -> float:
    """Return the standard error of a statistic of rows of two sets, ``n`` and ``m`` examples."""
    values = [statistic(*rows) for rows in half_samples(n, m, rounds, seed)]
    return torch.tensor(values, dtype=torch.float64).std().item()
