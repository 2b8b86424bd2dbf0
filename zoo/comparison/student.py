"""Student's t distribution, in NumPy: importing it from SciPy takes as long as comparing twenty runs.

The incomplete beta function is evaluated by Lentz's continued fraction (Press et al., Numerical Recipes,
section 6.4).
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

_TERMS = 10_000  # of the continued fraction; it takes about the square root of the degrees of freedom
_TINY = 1e-300
_PRECISION = 1e-15


def two_sided(t: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Return the probability that a t variable is at least as far from 0 as ``t``; NaN where one is.

    Args:
        t: values of the test statistic; their sign does not matter.
        freedom: degrees of freedom, above 0, of the same shape; they need not be whole.

    >>> two_sided(np.array([12.706, 0.0]), np.array([1.0, 9.0])).round(4).tolist()
    [0.05, 1.0]
    """
    t, freedom = np.broadcast_arrays(np.asarray(t, np.float64), np.asarray(freedom, np.float64))
    p = np.full(t.shape, np.nan)
    known = np.isfinite(freedom) & (freedom > 0) & ~np.isnan(t)
    if known.any():
        squares, nu = t[known] ** 2, freedom[known]
        far = squares / nu  # infinite for an infinite t
        with np.errstate(invalid="ignore"):
            rest = np.where(np.isinf(far), 1.0, far / (1 + far))
        p[known] = _beta(1 / (1 + far), rest, nu / 2)
    return p


@cache
def quantile(freedom: float, level: float = 0.95) -> float:
    """Return the number that a t variable's distance from 0 exceeds with probability ``1 - level``.

    >>> round(quantile(4), 3)
    2.776
    """
    goal = 1 - level
    low, high = 0.0, 1.0
    while two_sided(np.array([high]), np.array([freedom]))[0] > goal:
        low, high = high, 2 * high
    while high - low > 1e-14 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        above = two_sided(np.array([middle]), np.array([freedom]))[0] > goal
        low, high = (middle, high) if above else (low, middle)
    return (low + high) / 2


def _beta(x: np.ndarray, rest: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Return the regularised incomplete beta function I_x(a, 1/2), where ``rest`` is 1 - x."""
    b = np.full_like(a, 0.5)
    gammas = [math.lgamma(one + 0.5) - math.lgamma(one) - math.lgamma(0.5) for one in a.tolist()]
    with np.errstate(divide="ignore"):
        front = np.exp(np.array(gammas) + a * np.log(x) + b * np.log(rest))
    direct = x < (a + 1) / (a + b + 2)  # the fraction of the other tail converges fast elsewhere
    ends = [np.where(direct, one, other) for one, other in ((a, b), (b, a), (x, rest))]
    values = front * _fraction(*ends) / ends[0]
    return np.where(direct, values, 1 - values)


def _fraction(a: np.ndarray, b: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the continued fraction of the incomplete beta function."""
    c, d = np.ones_like(x), 1 / _away(1 - (a + b) * x / (a + 1))
    total = d
    for m in range(1, _TERMS):
        for factor in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / _away(1 + factor * d), _away(1 + factor / c)
            total = total * d * c
        if (np.abs(d * c - 1) < _PRECISION).all():
            break
    return total


def _away(values: np.ndarray) -> np.ndarray:
    """Return values with those at 0 moved away from it, to divide by."""
    return np.where(np.abs(values) < _TINY, _TINY, values)
