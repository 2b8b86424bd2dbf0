"""Optimal transport between two sets of points."""

from __future__ import annotations

from torch import Tensor

from zoo.errors import ZooError
from zoo.models.core.functional import squared_distances

LARGEST = 2000  # points of each set in a metric: an assignment of 10,000 takes minutes


def squared_wasserstein(x: Tensor, y: Tensor) -> float:
    """Return W2^2 between two sets of as many points ``(N, D)``: the least mean squared distance of pairs.

    It is exact (an assignment problem, O(N^3)). Between two samples of one distribution it is above 0.

    >>> import torch
    >>> squared_wasserstein(torch.tensor([[0.0], [3.0]]), torch.tensor([[4.0], [0.0]]))
    0.5
    """
    from scipy.optimize import linear_sum_assignment

    if len(x) != len(y):
        raise ZooError(f"An assignment needs sets of one size; got {len(x)} and {len(y)} points.")
    cost = squared_distances(x.double(), y.double()).cpu().numpy()
    rows, columns = linear_sum_assignment(cost)
    return float(cost[rows, columns].mean())
