"""Find the columns and rows of a table that have no density, and make discrete columns continuous.

A likelihood of continuous data rises without bound where values repeat: on a discrete, constant or repeated
column, on one that follows from others, and on rows that occur twice. Such a likelihood is meaningless, so a
table with such columns or rows is an error until the user chooses how to treat them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.linalg import solve_triangular

from zoo.data.frames import counts_rows

MOST_LEVELS = 4096  # with more values, a model cannot resolve the rounding
LARGEST_ATOM = 0.05
DEPENDENT = 1e-5  # residual of a column after a linear fit by the others, in its standard deviations


@dataclass
class Findings:
    """The problems of a table and their remedies.

    Attributes:
        problems: one clause for each problem, which names the column.
        drop: columns that must be left out.
        dequantise: discrete columns, to which noise can be added.
        repeats: whether rows occur twice.
    """

    problems: list[str] = field(default_factory=list)
    drop: list[str] = field(default_factory=list)
    dequantise: list[str] = field(default_factory=list)
    repeats: bool = False

    def sentence(self) -> str:
        """Return all problems and remedies as a sentence without its subject, the file."""
        advice = []
        if self.drop:
            advice.append(f"leave out what has no density by {override('drop', self.drop)}")
        if self.dequantise:
            advice.append(
                f"add uniform noise to what is discrete by {override('dequantise', self.dequantise)} "
                "(or leave it out by data.drop)"
            )
        if self.repeats:
            advice.append("keep one of equal rows by data.drop_repeats=true")
        shown = self.problems[:8]
        if len(self.problems) > len(shown):
            shown.append(f"and {len(self.problems) - len(shown)} more such columns")
        return f"{'; '.join(shown)}; {', '.join(advice)}."


@dataclass(frozen=True)
class Grid:
    """The values ``lowest + i * step`` of a discrete column, ``i`` = 0, 1, 2, ..."""

    lowest: float
    step: float

    def index(self, x: np.ndarray) -> np.ndarray:
        """Return the index of the grid's value at or below each value."""
        return np.floor((x - self.lowest) / self.step)

    def nearest(self, x: np.ndarray) -> np.ndarray:
        """Return the index of the grid's nearest value."""
        return np.rint((x - self.lowest) / self.step)

    def values(self, index: np.ndarray) -> np.ndarray:
        """Return the grid's values at these indices."""
        digits = max(0, 6 - int(np.floor(np.log10(self.step))))
        return np.round(self.lowest + index * self.step, digits)


def override(setting: str, names: Sequence[str]) -> str:
    """Return the override that lists columns, as it is typed in a shell.

    >>> print(override("drop", ["a", "b"]), override("drop", ["a, b"]))
    data.drop=[a,b] 'data.drop=["a, b"]'
    """
    if all(re.fullmatch(r"\w+", name) for name in names):
        return f"data.{setting}=[{','.join(names)}]"
    quoted = ",".join('"' + name.replace('"', '\\"') + '"' for name in names)
    return f"'data.{setting}=[{quoted}]'"


def grid(x: np.ndarray) -> Grid | None:
    """Return the grid that all values lie on; None if there is no grid or only one value."""
    values = np.unique(x)
    if len(values) < 2:
        return None
    width = values[-1] - values[0]
    gaps = np.diff(values)
    gaps = gaps[gaps > 1e-9 * width]
    steps = np.rint(width / gaps.min())
    step = width / steps
    index = (values - values[0]) / step
    if steps > 1e6 or np.abs(index - np.rint(index)).max() > 1e-2:
        return None
    if (values == np.rint(values)).all():
        step = float(np.rint(step))  # exact
    return Grid(float(values[0]), float(step))


def is_discrete(x: np.ndarray) -> bool:
    """Return whether a column has few distinct values: each occurs twice or more on average."""
    distinct = len(np.unique(x))
    return distinct <= min(len(x) / 2, MOST_LEVELS)


def dependent(x: np.ndarray) -> dict[int, list[int]]:
    """Return the columns that are linear functions of earlier columns, together with those columns.

    A table of at most twice as many rows as columns is not examined: such functions exist by chance.

    Args:
        x: the table, ``(N, D)``, without constant columns.
    """
    n, d = x.shape
    if n <= 2 * d:
        return {}
    z = (x - x.mean(0)) / x.std(0)
    gram = z.T @ z / n
    smallest = max(DEPENDENT**2, 1e-13 * d)
    try:
        if np.linalg.cholesky(gram).diagonal().min() ** 2 > smallest:
            return {}
    except np.linalg.LinAlgError:
        pass
    parents: dict[int, list[int]] = {}
    independent: list[int] = []
    factor = np.zeros((d, d))  # of Cholesky, of the kept columns
    for j in range(d):
        k = len(independent)
        if not k:
            factor[0, 0] = np.sqrt(gram[j, j])
            independent.append(j)
            continue
        row = solve_triangular(factor[:k, :k], gram[j, independent], lower=True)
        rest = gram[j, j] - row @ row
        if rest > smallest:
            factor[k, :k], factor[k, k] = row, np.sqrt(rest)
            independent.append(j)
        else:
            weights = solve_triangular(factor[:k, :k], row, lower=True, trans="T")
            parents[j] = [independent[i] for i in np.flatnonzero(np.abs(weights) > 1e-3)]
    return parents


def examine(x: np.ndarray, names: Sequence[str], dequantised: Collection[str] = ()) -> Findings:
    """Return the columns and rows without a density in a table of finite numbers.

    Args:
        x: the table, ``(N, D)``.
        names: names of the columns.
        dequantised: columns that noise is added to; they are only examined for being constant.
    """
    findings = Findings()
    constant = {j for j in range(x.shape[1]) if x[:, j].min() == x[:, j].max()}
    for j in sorted(constant):
        findings.problems.append(f"column '{names[j]}' has the same value in every row")
        findings.drop.append(names[j])
    rest = [j for j in range(x.shape[1]) if j not in constant and names[j] not in dequantised]
    if not rest:
        return findings
    repeated = pd.DataFrame(x).duplicated().to_numpy()
    linked = {rest[j]: [rest[i] for i in others] for j, others in dependent(x[:, rest]).items()}
    for j, others in linked.items():
        if len(others) == 1:
            how = "a copy" if np.array_equal(x[:, j], x[:, others[0]]) else "a linear function"
            findings.problems.append(f"column '{names[j]}' is {how} of '{names[others[0]]}'")
        else:
            of = ", ".join(f"'{names[i]}'" for i in others[:6]) + (", ..." if len(others) > 6 else "")
            findings.problems.append(f"column '{names[j]}' is a linear function of {of}")
        findings.drop.append(names[j])
    distinct = x[~repeated]
    discrete = {j for j in rest if j not in linked and is_discrete(x[:, j])}
    if x.shape[1] > 1 and len(distinct) >= 20:  # repeated rows do not make a column discrete
        discrete = {j for j in discrete if is_discrete(distinct[:, j])}
    for j in rest:
        if j in linked:
            continue
        if counts_rows(pd.Series(x[:, j])):
            findings.problems.append(f"column '{names[j]}' counts the rows")
            findings.drop.append(names[j])
        elif j in discrete:
            count = len(np.unique(x[:, j]))
            findings.problems.append(f"column '{names[j]}' has only {count} distinct values")
            (findings.drop if grid(x[:, j]) is None else findings.dequantise).append(names[j])
        else:
            values, counts = np.unique(distinct[:, j] if x.shape[1] > 1 else x[:, j], return_counts=True)
            most = int(counts.argmax())
            share = counts[most] / counts.sum()
            if counts[most] >= 5 and share >= LARGEST_ATOM:
                findings.problems.append(
                    f"column '{names[j]}' is {values[most]:g} in {share:.0%} of the rows"
                )
                findings.drop.append(names[j])
    if x.shape[1] > 1 and repeated.any() and len(discrete) < len(rest):
        findings.problems.append(f"{int(repeated.sum())} of {len(x)} rows are copies of earlier rows")
        findings.repeats = True
    return findings
