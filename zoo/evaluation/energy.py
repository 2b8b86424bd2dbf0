"""The energy distance, for vectors: no features, no bandwidth, zero only between equal distributions."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.errors import ZooError


def energy_distance(x: Tensor, y: Tensor) -> float:
    """2 E|X-Y| - E|X-X'| - E|Y-Y'| (Székely & Rizzo 2013, eq. 1), in the data's units.

    Each mean is over pairs of different examples, so the estimate is unbiased: around zero, and now and then
    below it, where the distributions agree.

    Args:
        x: ``(N, D)``, N at least 2.
        y: ``(M, D)``, M at least 2.

    Raises:
        ZooError: fewer than two examples, or values that are not finite.
    """
    x, y = (t.detach().flatten(1).to(device="cpu", dtype=torch.float64) for t in (x, y))
    if len(x) < 2 or len(y) < 2:
        raise ZooError(f"An energy distance needs two examples in each set; got {len(x)} and {len(y)}.")
    if not bool(torch.isfinite(x).all() and torch.isfinite(y).all()):
        raise ZooError("An energy distance needs finite values; some are NaN or infinite.")
    return 2 * _distances(x, y) / (len(x) * len(y)) - _within(x) - _within(y)


def _within(x: Tensor) -> float:
    return _distances(x, x) / (len(x) * (len(x) - 1))


def _distances(x: Tensor, y: Tensor) -> float:
    """The sum of all |x_i - y_j|."""
    return sum(
        torch.cdist(rows, y, compute_mode="donot_use_mm_for_euclid_dist").sum().item()
        for rows in x.split(500)
    )
