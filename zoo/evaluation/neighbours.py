"""Nearest neighbours in a space of features."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo.errors import ZooError

ROWS = 500  # compared at once


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances ``(N, M)`` of ``(N, D)`` and ``(M, D)``.

    By differences, not by x^2 - 2xy + y^2, so that equal features are at distance zero exactly.
    """
    return torch.cat([_block(rows, y) for rows in x.split(ROWS)])


def nearest(x: Tensor, y: Tensor) -> Tensor:
    """Distance ``(N,)`` of each of ``(N, D)`` to the nearest of ``(M, D)``."""
    return torch.cat([_block(rows, y).min(1).values for rows in x.split(ROWS)])


def radii(within: Tensor, k: int) -> Tensor:
    """Distance ``(N,)`` to the ``k``-th nearest other member, from a set's own distances ``(N, N)``.

    Raises:
        ZooError: not more than ``k`` members.
    """
    if len(within) <= k:
        raise ZooError(
            f"The {k} nearest neighbours need more than {k} examples in each set; got {len(within)}. "
            "Raise evaluation.samples, or compare on more data."
        )
    return within.kthvalue(k + 1, dim=1).values  # the nearest is the example itself


def _block(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def share(yes: Tensor) -> tuple[float, float]:
    """The share of a Boolean ``(N,)`` that is true, and its standard error.

    The error is that of the share with two successes and two failures more (Agresti & Coull 1998): the plain
    binomial one is zero where all or none are true, however few they are.
    """
    n = len(yes)
    adjusted = (yes.sum().item() + 2) / (n + 4)
    return yes.double().mean().item(), math.sqrt(adjusted * (1 - adjusted) / (n + 4))
