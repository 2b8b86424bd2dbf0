"""Find columns of a table that are functions of other columns, exactly or up to their rounding.

The likelihood of such a column, given the others, has no upper limit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import combinations_with_replacement

import numpy as np
from scipy.interpolate import make_lsq_spline
from scipy.linalg import solve_triangular

DEPENDENT = 1e-5  # residual of a column after a fit by the others, in its standard deviations
CLOSE = 0.05  # residual in standard deviations from which a function of rounded columns is not looked for
SMOOTH = 1e-4  # residual of most rows after a fit by a curve
ROWS = 2000  # that curves are fitted to
MOST_FOR_POWERS, MOST_FOR_CURVES = 8, 100  # columns
FEWEST_FOR_CURVES = 50  # rows
FEWEST_FOR_RANKS = 200  # rows: with fewer, a little noise changes no rank


def rounding(x: np.ndarray) -> np.ndarray:
    """Return the step to which each value of a column is rounded, ``(N,)``; 0 if it is not rounded.

    A column is rounded if all its values have the same few decimals or the same few significant digits.
    """
    scale = x.std()
    if len(x) < 20 or not scale:
        return np.zeros(len(x))
    if len(x) > 200 and not rounding(x[:100]).any():
        return np.zeros(len(x))
    steps = np.zeros(len(x))
    first = int(np.ceil(-np.log10(scale)))
    for places in range(first, first + 9):
        if _are_whole(x * 10.0**places):
            steps[:] = 10.0**-places
            break
    size = np.zeros(len(x))
    size[x != 0] = np.floor(np.log10(np.abs(x[x != 0])))
    for digits in range(2, 8):
        units = 10.0 ** (size - digits + 1)
        if _are_whole(x / units):
            return np.maximum(steps, np.where(x == 0, 0.0, units))
    return steps


def _are_whole(x: np.ndarray) -> bool:
    return bool(np.abs(x - np.rint(x)).max() < 1e-4)


def dependent(x: np.ndarray, exact: Collection[int] = ()) -> dict[int, list[int]]:
    """Return the columns that are linear functions of earlier columns, together with those columns.

    The function may be rounded. A table of at most twice as many rows as columns is not examined: such
    functions exist by chance.

    Args:
        x: the table, ``(N, D)``, without constant columns.
        exact: columns whose rounding does not count.
    """
    n, d = x.shape
    if n <= 2 * d:
        return {}
    z = (x - x.mean(0)) / x.std(0)
    gram = z.T @ z / n
    smallest = max(DEPENDENT**2, 1e-13 * d)
    try:
        if np.linalg.cholesky(gram).diagonal().min() ** 2 > CLOSE**2:
            return {}
    except np.linalg.LinAlgError:
        pass
    steps: dict[int, np.ndarray] = {}

    def step(j: int) -> np.ndarray:
        if j not in steps:
            steps[j] = np.zeros(n) if j in exact else rounding(x[:, j]) / x[:, j].std()
        return steps[j]

    found: dict[int, list[int]] = {}
    kept: list[int] = []
    factor = np.zeros((d, d))  # of Cholesky, of the kept columns
    for j in range(d):
        k = len(kept)
        if not k:
            factor[0, 0] = np.sqrt(gram[j, j])
            kept.append(j)
            continue
        row = solve_triangular(factor[:k, :k], gram[j, kept], lower=True)
        rest = gram[j, j] - row @ row
        if rest < CLOSE**2:
            weights = solve_triangular(factor[:k, :k], row, lower=True, trans="T")
            if rest <= smallest or (
                j not in exact and _is_rounded(z[:, j] - z[:, kept] @ weights, weights, j, kept, step)
            ):
                found[j] = [kept[i] for i in np.flatnonzero(np.abs(weights) > 1e-3)]
                continue
        factor[k, :k], factor[k, k] = row, np.sqrt(rest)
        kept.append(j)
    return found


def _is_rounded(
    rest: np.ndarray, weights: np.ndarray, j: int, kept: Sequence[int], step: Callable[[int], np.ndarray]
) -> bool:
    """Return whether the residual of a linear fit is no larger than the rounding of its columns."""
    bound = step(j) + sum(abs(weight) * step(i) for weight, i in zip(weights, kept, strict=True))
    return _within(rest, bound / 2 + DEPENDENT)


def _within(rest: np.ndarray, bound: np.ndarray) -> bool:
    """Return whether residuals stay within their bounds; a few may exceed them by the error of the fit."""
    share = np.abs(rest) / bound
    return bool((share <= 1.1).mean() >= 0.99 and share.max() <= 2)


def curved(x: np.ndarray, exact: Collection[int] = ()) -> dict[int, list[int]]:
    """Return the columns that are other functions of few columns, together with those columns.

    These are products, ratios and powers, polynomials of degree two, and smooth or monotone functions of one
    column.

    Args:
        x: the table, ``(N, D)``, without columns that are constant or that :func:`dependent` finds.
        exact: columns that are discrete; they are not functions of others, and their rounding does not count.
    """
    n, d = x.shape
    if n < FEWEST_FOR_CURVES or d < 2:
        return {}
    x = x[:: max(1, n // ROWS)]
    found: dict[int, list[int]] = {}
    signed = [j for j in range(d) if j not in exact and ((x[:, j] > 0).all() or (x[:, j] < 0).all())]
    signed = [j for j in signed if np.ptp(np.log(np.abs(x[:, j]))) > 0]
    if len(signed) > 1:
        logs = np.log(np.abs(x[:, signed]))
        parts = [rounding(x[:, j]) / np.abs(x[:, j]) for j in signed]
        for j, others in _linear(logs, parts).items():
            found[signed[j]] = [signed[i] for i in others]
    for j, others in _curves(x, exact).items():
        if j not in found and not any(j in found.get(i, ()) for i in others):
            found[j] = others
    if d <= MOST_FOR_POWERS:
        for j in range(d - 1, -1, -1):
            if j in exact or j in found:
                continue
            pool = [i for i in range(d) if i != j and i not in found]
            involved = _polynomial(x, j, pool, exact)
            if involved and not any(j in found.get(i, ()) for i in involved):
                found[j] = involved
    return found


def _linear(x: np.ndarray, steps: Sequence[np.ndarray]) -> dict[int, list[int]]:
    """Return the columns that are linear functions of earlier ones, given the rounding of every value."""
    found: dict[int, list[int]] = {}
    if len(x) <= 4 * x.shape[1]:
        return found
    z, std = (x - x.mean(0)) / x.std(0), x.std(0)
    kept = [0]
    for j in range(1, x.shape[1]):
        weights = np.linalg.lstsq(z[:, kept], z[:, j], rcond=None)[0]
        bound = steps[j] / std[j] + sum(
            abs(w) * steps[i] / std[i] for w, i in zip(weights, kept, strict=True)
        )
        rest = z[:, j] - z[:, kept] @ weights
        if rest.std() < CLOSE and _within(rest, bound / 2 + DEPENDENT):
            found[j] = [kept[i] for i in np.flatnonzero(np.abs(weights) > 1e-3)]
        else:
            kept.append(j)
    return found


def _polynomial(x: np.ndarray, j: int, pool: Sequence[int], exact: Collection[int]) -> list[int]:
    """Return the columns of which a column is a polynomial of degree two; none if it is not."""
    if not pool:
        return []
    mean, std = x.mean(0), x.std(0)
    z = (x - mean) / std
    pairs = list(combinations_with_replacement(pool, 2))
    if len(x) < 4 * (1 + len(pool) + len(pairs)):
        return []
    columns = [np.ones(len(x)), *(z[:, i] for i in pool), *(z[:, a] * z[:, b] for a, b in pairs)]
    weights = np.linalg.lstsq(np.stack(columns, 1), z[:, j], rcond=None)[0]
    rest = z[:, j] - np.stack(columns, 1) @ weights
    if rest.std() >= CLOSE:
        return []
    slopes = {i: np.full(len(x), w) for i, w in zip(pool, weights[1:], strict=False)}
    for (a, b), w in zip(pairs, weights[1 + len(pool) :], strict=True):
        slopes[a] = slopes[a] + w * z[:, b]
        slopes[b] = slopes[b] + w * z[:, a]
    bound = rounding(x[:, j]) / std[j] + sum(
        np.abs(slope) * rounding(x[:, i]) / std[i] for i, slope in slopes.items() if i not in exact
    )
    if not _within(rest, bound / 2 + DEPENDENT):
        return []
    return [i for i in pool if np.abs(slopes[i]).max() > 1e-3]


def _curves(x: np.ndarray, exact: Collection[int]) -> dict[int, list[int]]:
    """Return the columns that are functions of one earlier column, or of a later one."""
    n, d = x.shape
    if d > MOST_FOR_CURVES:
        return {}
    found: dict[int, list[int]] = {}
    ranks = np.argsort(np.argsort(x, axis=0, kind="stable"), axis=0).astype(np.float64)
    in_order = {j for j in range(d) if _monotone(x[:, j])}
    for i in range(d):
        order = np.argsort(x[:, i], kind="stable")
        jumps = np.abs(np.diff(ranks[order], axis=0)).mean(0) / n
        # Chatterjee's coefficient is 1 - 3 * jumps: near 1 for functions of column i
        for j in np.flatnonzero(jumps < 0.05).tolist():
            if j == i or j in exact or i in exact or j in found or j in found.get(i, ()):
                continue
            ordered = np.lexsort((x[:, j], x[:, i])), np.lexsort((-x[:, j], x[:, i]))
            signs = np.diff(x[ordered[0], j]).min() >= 0 or np.diff(x[ordered[1], j]).max() <= 0
            is_copy = n >= FEWEST_FOR_RANKS and signs and not {i, j} <= in_order
            if is_copy or _is_curve(x[order, i], x[order, j]):
                late, early = max(i, j), min(i, j)
                if is_copy and late not in found:
                    found[late] = [early]
                else:
                    found[j] = [i]
    return found


def _monotone(x: np.ndarray) -> bool:
    steps = np.diff(x)
    return bool((steps >= 0).all() or (steps <= 0).all())


def _is_curve(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether ``b`` is a smooth function of ``a``, which ascends, for most rows."""
    n = len(a)
    knots = np.unique(np.quantile(a, np.linspace(0, 1, min(60, n // 8) + 2)[1:-1]))
    knots = knots[(knots > a[0]) & (knots < a[-1])]
    try:
        curve = make_lsq_spline(a, b, np.r_[[a[0]] * 6, knots, [a[-1]] * 6], k=5)
    except (ValueError, np.linalg.LinAlgError):  # too few distinct values between two knots
        return False
    scale = b.std()
    bound = 0.55 * (rounding(b) + np.abs(curve.derivative()(a)) * rounding(a)) + SMOOTH * scale
    return bool((np.abs(b - curve(a)) <= bound).mean() >= 0.85)
