"""Find columns of a table that are functions of other columns, exactly or up to rounding.

The density of such a column, given the others, has no upper limit, which makes a likelihood of the table
meaningless.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from itertools import combinations_with_replacement

import numpy as np
from scipy.interpolate import make_lsq_spline
from scipy.linalg import solve_triangular

from zoo.data.bends import is_bent

# Residuals of a fit by other columns, in standard deviations of the fitted column:
DEPENDENT = 1e-5  # largest one of an exact linear function
CLOSE = 0.05  # largest one that the rounding of the values may explain
SMOOTH = 1e-4  # largest one of a smooth curve, in most rows
# Sizes of a table:
ROWS = 2000  # approximate number of rows, evenly spaced, that curves are fitted to
MOST_FOR_POWERS, MOST_FOR_CURVES = 8, 100  # largest number of columns for polynomials, and for curves
FEWEST_FOR_CURVES = 50  # least number of rows for any function that is not linear
FEWEST_FOR_RANKS = 200  # least number of rows for monotone functions: in fewer, noisy copies have equal ranks


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

    The values may be rounded. A table of at most twice as many rows as columns is not examined: in it, linear
    functions exist by chance.

    Args:
        x: the table, ``(N, D)``, without constant columns.
        exact: columns whose values are taken as exact, even if they are all rounded alike.
    """
    n, d = x.shape
    if n <= 2 * d:
        return {}
    z = (x - x.mean(0)) / x.std(0)
    gram = z.T @ z / n
    if _is_independent(gram):
        return {}

    @cache
    def step(j: int) -> np.ndarray:
        return np.zeros(n) if j in exact else rounding(x[:, j]) / x[:, j].std()

    smallest = max(DEPENDENT**2, 1e-13 * d)
    functions: dict[int, list[int]] = {}
    kept = [0]
    factor = np.zeros((d, d))  # of Cholesky: factor @ factor.T is gram, of the columns in kept
    factor[0, 0] = np.sqrt(gram[0, 0])
    for j in range(1, d):
        k = len(kept)
        row = solve_triangular(factor[:k, :k], gram[j, kept], lower=True)
        variance = gram[j, j] - row @ row  # of the residual of column j
        if variance < CLOSE**2:
            weights = solve_triangular(factor[:k, :k], row, lower=True, trans="T")
            if variance <= smallest or (
                j not in exact and _is_rounded(z[:, j] - z[:, kept] @ weights, weights, j, kept, step)
            ):
                functions[j] = _with_weight(kept, weights)
                continue
        factor[k, :k], factor[k, k] = row, np.sqrt(variance)
        kept.append(j)
    return functions


def _is_independent(gram: np.ndarray) -> bool:
    """Return whether every column keeps a large residual after a linear fit by the earlier ones."""
    try:
        return bool(np.linalg.cholesky(gram).diagonal().min() ** 2 > CLOSE**2)
    except np.linalg.LinAlgError:
        return False


def _with_weight(columns: Sequence[int], weights: np.ndarray) -> list[int]:
    """Return the columns that take part in a linear function with these weights."""
    return [columns[i] for i in np.flatnonzero(np.abs(weights) > 1e-3).tolist()]


def _is_rounded(
    rest: np.ndarray, weights: np.ndarray, j: int, kept: Sequence[int], step: Callable[[int], np.ndarray]
) -> bool:
    """Return whether the residual of a linear fit is no larger than the rounding of its columns."""
    bound = step(j) + sum(abs(weight) * step(i) for weight, i in zip(weights, kept, strict=True))
    return within(rest, bound / 2 + DEPENDENT)


def within(rest: np.ndarray, bound: np.ndarray) -> bool:
    """Return whether residuals stay within their bounds.

    Since the fit has an error, all may exceed their bound by a tenth, and one in a hundred up to twofold.
    """
    share = np.abs(rest) / bound
    return bool((share <= 1.1).mean() >= 0.99 and share.max() <= 2)


def curved(x: np.ndarray, exact: Collection[int] = ()) -> dict[int, list[int]]:
    """Return the columns that are nonlinear functions of few columns, together with those columns.

    Three kinds of functions are found: products, ratios and powers; smooth or monotone functions of one
    column; polynomials of degree two.

    Args:
        x: the table, ``(N, D)``, without columns that are constant or that :func:`dependent` finds.
        exact: discrete columns; they are never reported as functions of others, and their values are taken as
            exact.
    """
    n, d = x.shape
    if n < FEWEST_FOR_CURVES or d < 2:
        return {}
    x = x[:: max(1, n // ROWS)]
    functions = _products(x, exact)
    for j, others in _curves(x, exact).items():
        if j not in functions and not _in_a_circle(j, others, functions):
            functions[j] = others
    if d <= MOST_FOR_POWERS:
        for j in range(d - 1, -1, -1):
            if j in exact or j in functions:
                continue
            pool = [i for i in range(d) if i != j and i not in functions]
            others = _polynomial(x, j, pool, exact)
            if others and not _in_a_circle(j, others, functions):
                functions[j] = others
    return functions


def _in_a_circle(j: int, others: Sequence[int], functions: Mapping[int, Sequence[int]]) -> bool:
    """Return whether one of the other columns is itself a function of column ``j``."""
    return any(j in functions.get(i, ()) for i in others)


def _products(x: np.ndarray, exact: Collection[int]) -> dict[int, list[int]]:
    """Return the columns that are products, ratios or powers of earlier ones up to their sign."""
    usable = [
        j
        for j in range(x.shape[1])
        if j not in exact and (x[:, j] != 0).mean() > 0.98 and np.ptp(np.abs(x[:, j]))
    ]
    rows = (x[:, usable] != 0).all(1)
    if len(usable) < 2 or rows.mean() < 0.5:
        return {}
    size = np.abs(x[np.ix_(rows, usable)])
    logs = np.log(size)
    std = logs.std(0)
    z = (logs - logs.mean(0)) / std
    found: dict[int, list[int]] = {}
    for j in approximated(logs) if len(z) > 4 * len(usable) else []:
        earlier = [i for i in range(j) if i not in found]
        steps = np.stack([rounding(x[rows, usable[i]]) / size[:, i] / std[i] for i in [*earlier, j]], 1)
        bound = np.ones(len(z))
        for _ in range(3):  # values near 0 have inexact logarithms, which get little weight
            terms = np.column_stack([z[:, earlier], np.ones(len(z))])
            weights = np.linalg.lstsq(terms / bound[:, None], z[:, j] / bound, rcond=None)[0]
            bound = steps @ np.abs([*weights[:-1], 1.0]) / 2 + DEPENDENT
        if within(z[:, j] - terms @ weights, bound):
            found[j] = [i for i, weight in zip(earlier, weights, strict=False) if abs(weight) > 1e-3]
    return {usable[j]: [usable[i] for i in others] for j, others in found.items()}


def approximated(x: np.ndarray) -> list[int]:
    """Return the columns that a linear combination of earlier columns approximates closely, or reproduces."""
    z = (x - x.mean(0)) / x.std(0)
    gram = z.T @ z / len(z)
    factor = np.linalg.cholesky(gram + 1e-10 * np.eye(len(gram)))
    return np.flatnonzero(factor.diagonal() < CLOSE).tolist()


def _polynomial(x: np.ndarray, j: int, pool: Sequence[int], exact: Collection[int]) -> list[int]:
    """Return the columns of the pool of which column ``j`` is a quadratic polynomial; empty if of none."""
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
    if not within(rest, bound / 2 + DEPENDENT):
        return []
    return [i for i in pool if np.abs(slopes[i]).max() > 1e-3]


def _curves(x: np.ndarray, exact: Collection[int]) -> dict[int, list[int]]:
    """Return the columns that are smooth or monotone functions of one other column.

    Of two columns that are monotone functions of each other, the later one is returned.
    """
    n, d = x.shape
    if d > MOST_FOR_CURVES:
        return {}
    functions: dict[int, list[int]] = {}
    ranks = np.argsort(np.argsort(x, axis=0, kind="stable"), axis=0).astype(np.float64)
    in_order = {j for j in range(d) if _monotone(x[:, j])}
    for i in range(d):
        order = np.argsort(x[:, i], kind="stable")
        jumps = np.abs(np.diff(ranks[order], axis=0)).mean(0) / n
        # Chatterjee's coefficient is 1 - 3 * jumps: near 1 for functions of column i
        for j in np.flatnonzero(jumps < 0.05).tolist():
            if j == i or j in exact or i in exact or j in functions or j in functions.get(i, ()):
                continue
            ordered = np.lexsort((x[:, j], x[:, i])), np.lexsort((-x[:, j], x[:, i]))
            monotone = np.diff(x[ordered[0], j]).min() >= 0 or np.diff(x[ordered[1], j]).max() <= 0
            same_ranks = n >= FEWEST_FOR_RANKS and monotone and not {i, j} <= in_order
            a, b = x[order, i], x[order, j]
            if same_ranks or _is_curve(a, b) or is_bent(a, b, rounding(a), rounding(b), SMOOTH):
                late, early = max(i, j), min(i, j)
                if same_ranks and late not in functions:
                    functions[late] = [early]
                else:
                    functions[j] = [i]
    return functions


def _monotone(x: np.ndarray) -> bool:
    steps = np.diff(x)
    return bool((steps >= 0).all() or (steps <= 0).all())


def _is_curve(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether ``b`` is a smooth function of the ascending ``a`` in at least 85 % of the rows."""
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
