"""Find columns of a table that others determine up to a sign, or in a part of the rows.

Examples are a point on a circle, ``|a|``, ``max(a, b)``, and a product of signed numbers. The likelihood of
such a column has no upper limit, as that of a function of other columns.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from zoo.data.dependence import (
    DEPENDENT,
    FEWEST_FOR_CURVES,
    ROWS,
    approximated,
    rounding,
    within,
)

EQUAL = 0.05  # least share of rows in which two columns are equal, to be reported
MOST_FOR_PAIRS = 28  # largest number of columns for equations with products of two columns


def related(x: np.ndarray, exact: Collection[int] = (), known: Collection[int] = ()) -> dict[int, list[int]]:
    """Return the columns that others determine, perhaps up to a sign, together with those others.

    Args:
        x: the table, ``(N, D)``.
        exact: discrete columns, which are not looked at.
        known: functions of other columns that are known already, which are not looked at either.
    """
    if len(x) < FEWEST_FOR_CURVES:
        return {}
    x = x[:: max(1, len(x) // ROWS)]
    found: dict[int, list[int]] = {}
    for search in (_quadratic,):
        left = [j for j in range(x.shape[1]) if j not in exact and j not in known and j not in found]
        if len(left) > 1:
            found |= {left[j]: [left[i] for i in others] for j, others in search(x[:, left]).items()}
    return found


def partly_equal(x: np.ndarray, known: Collection[int] = (), share: float = EQUAL) -> dict[int, list[int]]:
    """Return the columns that equal others in more rows than by chance, together with those others.

    A number equals its negative here. Rows where both are 0 do not count.

    Args:
        x: the table, ``(N, D)``.
        known: columns that are not looked at: discrete ones, and known functions of others.
        share: least share of equal rows.
    """
    if len(x) < FEWEST_FOR_CURVES:
        return {}
    x = x[:: max(1, len(x) // ROWS)]
    equal: dict[int, list[int]] = {}
    size = np.where(x == 0, np.nan, np.abs(x))
    shuffled = np.random.default_rng(0).permutation(size)
    columns = [j for j in range(x.shape[1]) if j not in known]
    for place, j in enumerate(columns):
        earlier = [i for i in columns[:place] if i not in equal]
        same = {i: float((size[:, i] == size[:, j]).mean()) for i in earlier}
        by_chance = {i: float((shuffled[:, i] == size[:, j]).mean()) for i in earlier}
        least = max(share, 10 / len(x))
        if others := [i for i in earlier if same[i] >= least and same[i] > 10 * by_chance[i]]:
            equal[j] = others
    return equal


def _quadratic(x: np.ndarray) -> dict[int, list[int]]:
    """Return the columns that solve a quadratic equation with earlier ones, such as ``a**2 + b**2 = 1``."""
    n, d = x.shape
    pairs = _terms(d, d <= MOST_FOR_PAIRS)
    if n < 4 * len(pairs):
        pairs = _terms(d, False)
    if n < 4 * len(pairs):
        return {}
    z = (x - x.mean(0)) / x.std(0)
    terms = np.stack([z[:, a] * z[:, b] if a >= 0 else z[:, b] for a, b in pairs], 1)
    terms -= terms.mean(0)
    candidates = approximated(terms)
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
        if len(involved) < 2 or j not in involved or not within(value - level, _bound(slopes, steps, spread)):
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
