"""Find functions with bends or jumps, such as ``|a - 1|``, which consist of almost straight pieces."""

from __future__ import annotations

import numpy as np


def is_bent(a: np.ndarray, b: np.ndarray, step_a: np.ndarray, step_b: np.ndarray, smooth: float) -> bool:
    """Return whether most values of ``b`` lie on the line between their neighbours.

    Args:
        a: one column, in ascending order.
        b: the other column, in the same order of the rows.
        step_a: the step to which each value of ``a`` is rounded; 0 if it is not.
        step_b: the same of ``b``.
        smooth: the largest distance from the line in standard deviations, beside that by the rounding.
    """
    width, rise = a[2:] - a[:-2], b[2:] - b[:-2]
    slope = rise / np.where(width > 0, width, np.inf)
    rest = np.abs(b[1:-1] - b[:-2] - slope * (a[1:-1] - a[:-2]))
    bound = np.minimum(smooth * b.std(), 0.1 * np.abs(rise))
    rough = 1.1 * (step_b[1:-1] + np.abs(slope) * step_a[1:-1])
    coarse = 2 * np.median(rough) > np.median(np.abs(rise))  # neighbours differ by their rounding alone
    return not coarse and bool((rest <= bound + rough).mean() >= 0.85)
