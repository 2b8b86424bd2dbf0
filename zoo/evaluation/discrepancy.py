"""The squared maximum mean discrepancy of two sets under a kernel, with its standard error."""

from __future__ import annotations

import math

from torch import Tensor


def discrepancy(x: Tensor, y: Tensor, x_to_y: Tensor, y_to_x: Tensor) -> tuple[float, float]:
    r"""Return :math:`E\,k(X, X') + E\,k(Y, Y') - 2\,E\,k(X, Y)` and its standard error.

    Each mean is over all pairs of different examples, so the estimate is unbiased (Gretton et al. 2012, eq.
    3). The error is over the draw of both sets, by the jackknife; NaN with fewer than three examples in
    one set.

    Args:
        x, y: for each example the sum of its kernels with the others of its set, ``(N,)`` and ``(M,)``.
        x_to_y, y_to_x: for each example the sum of its kernels with all of the other set, ``(N,)`` and
            ``(M,)``.
    """
    n, m = len(x), len(y)
    own_x, own_y, cross = x.sum(), y.sum(), x_to_y.sum()
    value = own_x / (n * (n - 1)) + own_y / (m * (m - 1)) - 2 * cross / (n * m)
    if min(n, m) < 3:
        return value.item(), math.nan
    # the value without one example, for each: its own terms are a row and a column
    without_x = (own_x - 2 * x) / ((n - 1) * (n - 2)) + own_y / (m * (m - 1))
    without_x = without_x - 2 * (cross - x_to_y) / ((n - 1) * m)
    without_y = (own_y - 2 * y) / ((m - 1) * (m - 2)) + own_x / (n * (n - 1))
    without_y = without_y - 2 * (cross - y_to_x) / (n * (m - 1))
    variance = sum((len(values) - 1) * values.var(correction=0).item() for values in (without_x, without_y))
    return value.item(), math.sqrt(variance)
