"""Find columns of a table that hang together without being smooth functions of each other.

A point on a circle, ``|a|``, ``max(a, b)``, or a product of signed numbers is as good as known from other
columns, perhaps up to its sign, so its likelihood has no upper limit either.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from zoo.data.dependence import (
    CLOSE,
    DEPENDENT,
    FEWEST_FOR_CURVES,
    ROWS,
    _within,
    rounding,
)

EQUAL = 0.05  # share of rows with the same value in two columns, from which it is no chance
MOST_FOR_PAIRS = 28  # columns of which all products of two are looked at


def related(x: np.ndarray, exact: Collection[int] = (), known: Collection[int] = ()) -> dict[int, list[int]]:
    """Return the columns that others determine, perhaps up to a sign or in a part of the rows, with those.

    Args:
        x: the table, ``(N, D)``.
        exact: columns that are discrete; they are not looked at.
        known: columns that are known to be functions of others; they are not looked at either.
    """
    if len(x) < FEWEST_FOR_CURVES:
        return {}
    x = x[:: max(1, len(x) // ROWS)]
    found: dict[int, list[int]] = {}
    for search in (_equal, _products, _quadratic):
        left = [j for j in range(x.shape[1]) if j not in exact and j not in known and j not in found]
        if len(left) > 1:
            found |= {left[j]: [left[i] for i in others] for j, others in search(x[:, left]).items()}
    return found


def _equal(x: np.ndarray) -> dict[int, list[int]]:
    """Return the columns that equal others, perhaps with another sign, in more rows than by chance.

    Rows where both are 0 do not count.
    """
    found: dict[int, list[int]] = {}
    size = np.where(x == 0, np.nan, np.abs(x))
    shuffled = np.random.default_rng(0).permutation(size)
    for j in range(1, x.shape[1]):
        same = (size[:, :j] == size[:, j : j + 1]).mean(0)
        often = [i for i in np.flatnonzero(same >= max(EQUAL, 10 / len(x))).tolist() if i not in found]
        others = [i for i in often if same[i] > 10 * (shuffled[:, i] == size[:, j]).mean()]
        if others:
            found[j] = others
    return found


def _products(x: np.ndarray) -> dict[int, list[int]]:
    """Return the columns that are products, ratios or powers of earlier ones up to their sign."""
    usable = [j for j in range(x.shape[1]) if (x[:, j] != 0).mean() > 0.98 and np.ptp(np.abs(x[:, j]))]
    rows = (x[:, usable] != 0).all(1)
    if len(usable) < 2 or rows.mean() < 0.5:
        return {}
    size = np.abs(x[np.ix_(rows, usable)])
    logs = np.log(size)
    std = logs.std(0)
    z = (logs - logs.mean(0)) / std
    found: dict[int, list[int]] = {}
    for j in _candidates(logs) if len(z) > 4 * len(usable) else []:
        earlier = [i for i in range(j) if i not in found]
        steps = np.stack([rounding(x[rows, usable[i]]) / size[:, i] / std[i] for i in [*earlier, j]], 1)
        bound = np.ones(len(z))
        for _ in range(3):  # the logarithms near 0 are inexact and count little
            terms = np.column_stack([z[:, earlier], np.ones(len(z))])
            weights = np.linalg.lstsq(terms / bound[:, None], z[:, j] / bound, rcond=None)[0]
            bound = steps @ np.abs([*weights[:-1], 1.0]) / 2 + DEPENDENT
        if _within(z[:, j] - terms @ weights, bound):
            found[j] = [i for i, weight in zip(earlier, weights, strict=False) if abs(weight) > 1e-3]
    return {usable[j]: [usable[i] for i in others] for j, others in found.items()}


def _candidates(x: np.ndarray) -> list[int]:
    """Return the columns of which a linear fit by the earlier ones leaves almost nothing."""
    z = (x - x.mean(0)) / x.std(0)
    gram = z.T @ z / len(z)
    factor = np.linalg.cholesky(gram + 1e-10 * np.eye(len(gram)))
    return np.flatnonzero(factor.diagonal() < CLOSE).tolist()


def _quadratic(x: np.ndarray) -> dict[int, list[int]]:
    """Return the columns that a quadratic equation ties to earlier ones, as ``a**2 + b**2 = 1`` does."""
    n, d = x.shape
    pairs = _terms(d, d <= MOST_FOR_PAIRS)
    if n < 4 * len(pairs):
        pairs = _terms(d, False)
    if n < 4 * len(pairs):
        return {}
    z = (x - x.mean(0)) / x.std(0)
    terms = np.stack([z[:, a] * z[:, b] if a >= 0 else z[:, b] for a, b in pairs], 1)
    terms -= terms.mean(0)
    candidates = _candidates(terms)
    found: dict[int, list[int]] = {}
    steps = {j: rounding(x[:, j]) / x[:, j].std() for j in range(d)} if candidates else {}
    spread = np.minimum(1, np.subtract(*np.quantile(z, [0.75, 0.25], axis=0)))
    shuffled = np.random.default_rng(0).permuted(z, axis=0) if candidates else z
    for c in candidates:
        j = pairs[c][1]
        earlier = [k for k in range(c) if pairs[k][0] not in found and pairs[k][1] not in found]
        if j in found or not earlier:
            continue
        weights = np.linalg.lstsq(terms[:, earlier], terms[:, c], rcond=None)[0]
        equation = [(pairs[c], 1.0), *zip([pairs[k] for k in earlier], (-weights).tolist(), strict=True)]
        value, slopes = _value(z, equation)
        level = value.mean()
        involved = [i for i in range(j + 1) if np.abs(slopes[i]).mean() > 1e-3]
        if (
            len(involved) < 2
            or j not in involved
            or not _within(value - level, _bound(slopes, steps, spread))
        ):
            continue
        value, slopes = _value(shuffled, equation)  # of rows without any relation
        if (np.abs(value - level) <= _bound(slopes, steps, spread)).mean() < 0.2:
            found[j] = [i for i in involved if i != j]
    return found


Term = tuple[int, int]  # the product of two columns; one column if the first is -1


def _terms(d: int, all_pairs: bool) -> list[Term]:
    """Return every column, its square, and its products with earlier columns if wanted, column by column."""
    return [
        term for j in range(d) for term in ((-1, j), *((i, j) for i in range(j if all_pairs else 0)), (j, j))
    ]


def _value(z: np.ndarray, equation: Sequence[tuple[Term, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Return a weighted sum of terms in every row, ``(N,)``, and its derivatives, ``(D, N)``."""
    value, slopes = np.zeros(len(z)), np.zeros((z.shape[1], len(z)))
    for (a, b), weight in equation:
        if a < 0:
            value += weight * z[:, b]
            slopes[b] += weight
        else:
            value += weight * z[:, a] * z[:, b]
            slopes[a] += weight * z[:, b]
            slopes[b] += weight * z[:, a]
    return value, slopes


def _bound(slopes: np.ndarray, steps: dict[int, np.ndarray], spread: np.ndarray) -> np.ndarray:
    """Return how far an equation's value may lie from 0 by the rounding of the columns.

    Args:
        slopes: derivatives of the value by each column, ``(D, N)``.
        steps: for each column, the step to which each of its values is rounded.
        spread: distance between the quartiles of each column: the deviation is that of a few rows if skewed.
    """
    size = np.sqrt(((slopes * spread[:, None]) ** 2).sum(0))
    rough = sum(np.abs(slopes[i]) * step for i, step in steps.items())
    return np.asarray(rough / 2 + DEPENDENT * (size + 0.01 * np.median(size)))
