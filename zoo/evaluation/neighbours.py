"""Nearest neighbours among points, such as the features of images."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo.errors import ZooError

ROWS = 500  # largest number of points that are compared at once


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Return the Euclidean distances ``(N, M)`` between ``(N, D)`` and ``(M, D)``.

    Computed from differences, not from x² - 2xy + y², so that equal points are at distance zero exactly.
    """
    return torch.cat([_block(rows, y) for rows in x.split(ROWS)])


def nearest(x: Tensor, y: Tensor) -> Tensor:
    """Return the distance ``(N,)`` of each of ``(N, D)`` to the nearest of ``(M, D)``."""
    return torch.cat([_block(rows, y).min(1).values for rows in x.split(ROWS)])


def radii(within: Tensor, k: int) -> Tensor:
    """Return the distance ``(N,)`` to the ``k``-th nearest other member, from all distances ``(N, N)``.

    Raises:
        ZooError: the set has at most ``k`` members.
    """
    if len(within) <= k:
        raise ZooError(
            f"The {k} nearest neighbours need more than {k} examples in each set; got {len(within)}. "
            "Raise evaluation.samples, or compare on more data."
        )
    return within.kthvalue(k + 1, dim=1).values  # the nearest point is the example itself


class Reaches:
    """Distances to the k-th nearest other member within subsets of a set, from a list of near neighbours.

    Args:
        within: all distances ``(N, N)``.
        k: number of the neighbour.
    """

    def __init__(self, within: Tensor, k: int) -> None:
        self.within, self.k = within, k
        # of 8 k + 32 neighbours at least k are in a random half, but for one case of millions
        near = min(len(within), 8 * k + 32)
        self.order = within.clone().fill_diagonal_(-1.0).topk(near, largest=False).indices[:, 1:]

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the distance ``(R,)`` of each of the rows ``(R,)`` to the ``k``-th nearest other of them."""
        chosen = torch.zeros(len(self.within), dtype=torch.bool).index_fill_(0, rows.cpu(), True)
        order = self.order[rows]
        count = chosen.to(order.device)[order].cumsum(1)
        if bool((count[:, -1] < self.k).any()):
            return radii(self.within[rows][:, rows], self.k)
        place = (count >= self.k).byte().argmax(1)
        return self.within[rows, order.gather(1, place[:, None])[:, 0]]


class Pairs:
    """Distances between sets of points, computed once for each pair of sets.

    Metrics that hold the same ``Pairs`` and the same tensors compute each distance once. All computed
    distances and the sets are kept in memory.

    >>> pairs, x = Pairs(), torch.tensor([[0.0], [1.0], [3.0]])
    >>> pairs.distances(x, x) is pairs.distances(x, x)
    True
    >>> pairs.radii(x, k=1)
    tensor([1., 1., 2.])
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[Tensor, Tensor, Tensor]] = {}

    def distances(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the distances ``(N, M)`` between ``(N, D)`` and ``(M, D)``."""
        known = self._known.get((id(x), id(y)))
        if known is None or known[0] is not x or known[1] is not y:  # a copied Pairs has copies of the sets
            known = self._known[id(x), id(y)] = (x, y, distances(x, y))
        return known[2]

    def radii(self, x: Tensor, k: int) -> Tensor:
        """Return the distance ``(N,)`` of each of ``(N, D)`` to the ``k``-th nearest other one."""
        return radii(self.distances(x, x), k)


def _block(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def share(count: int, n: int) -> tuple[float, float]:
    """Return the share ``count / n`` and its standard error.

    The error is the binomial one after adding two successes and two failures (Agresti & Coull 1998); without
    them it would be zero for a share of 0 or 1, however small ``n`` is.
    """
    adjusted = (count + 2) / (n + 4)
    return count / n, math.sqrt(adjusted * (1 - adjusted) / (n + 4))
