"""Find the columns and rows of a table that have no density, and make discrete columns continuous.

A likelihood of continuous data rises without bound where values repeat: in a discrete, constant or copied
column, in one that is a function of others, and in rows that occur twice. Such a likelihood is meaningless,
so a table with such columns or rows is an error until the user chooses how to treat them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.special import pdtrc

from zoo.data.dependence import curved, dependent, rounding
from zoo.data.relations import partly_equal, related

MOST_LEVELS = 4096  # with more values, a model cannot resolve the rounding
LARGEST_ATOM = 0.05  # share of the rows from which any equal values are an atom, whatever their neighbours
SMALLEST_ATOM = 0.03  # share of the rows from which an atom is an error; a smaller one is only a note
LARGEST = 1e300  # largest absolute value
MOST_STEPS = 1e6  # largest number of steps of a grid


@dataclass
class Findings:
    """The problems of a table and their remedies.

    Attributes:
        problems: one clause for each problem, which names the column.
        drop: columns that must be left out.
        dequantise: discrete columns, to which noise can be added.
        repeats: whether rows occur twice.
        notes: small flaws, with which the table is read.
    """

    problems: list[str] = field(default_factory=list)
    drop: list[str] = field(default_factory=list)
    dequantise: list[str] = field(default_factory=list)
    repeats: bool = False
    notes: list[str] = field(default_factory=list)

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
        digits = min(300, max(0, 6 - int(np.floor(np.log10(self.step)))))
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
    return _grid_of(np.unique(x))


def _grid_of(values: np.ndarray) -> Grid | None:
    """Return the grid that distinct values in ascending order lie on, as :func:`grid` does."""
    if len(values) < 2:
        return None
    width = values[-1] - values[0]
    gaps = np.diff(values)
    gaps = gaps[gaps > 1e-9 * width]
    steps = np.rint(width / gaps.min())
    step = width / steps
    index = (values - values[0]) / step
    if steps > MOST_STEPS or np.abs(index - np.rint(index)).max() > 1e-2:
        return None
    if (values == np.rint(values)).all():
        step = float(np.rint(step))  # exact
    return Grid(float(values[0]), float(step))


@dataclass(frozen=True)
class Counts:
    """The distinct values of a column in ascending order, and how often each occurs."""

    values: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> Counts:
        """Return the counts of a column's values."""
        return cls(*np.unique(x, return_counts=True))

    @property
    def is_discrete(self) -> bool:
        """Whether there are few distinct values: each occurs twice or more on average."""
        return len(self.values) <= min(self.counts.sum() / 2, MOST_LEVELS)


def unit(x: np.ndarray) -> np.ndarray:
    """Return a scale for each column, ``(D,)``, in which computations do not overflow or underflow.

    It is 1, or the power of two near the largest absolute value where that is above 1e100 or below 1e-100.
    """
    largest = np.maximum(x.max(0), -x.min(0))
    exponent = np.frexp(largest)[1]
    return np.where((largest > 1e100) | ((largest > 0) & (largest < 1e-100)), 2.0 ** (exponent - 1), 1.0)


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of every column, ``(D,)`` each, of numbers of any size."""
    scale = unit(x)
    if (scale == 1).all():
        return x.mean(0), x.std(0)
    return (x / scale).mean(0) * scale, (x / scale).std(0) * scale


def standardised(x: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Return ``(x - mean) / std`` as float32."""
    scale = unit(np.stack([np.abs(x).max(0), np.abs(mean), std])) if len(x) else 1.0
    z = (x / scale - mean / scale) / (std / scale)
    return np.asarray(z, dtype=np.float32)


def extremes(arrays: Mapping[str, np.ndarray], names: Sequence[str]) -> Findings:
    """Return the columns with a value so large that the others cannot be told apart beside it.

    Args:
        arrays: the splits of the table, or all of it under ``all``.
        names: names of the columns.
    """
    findings = Findings()
    x = np.asfortranarray(np.concatenate(list(arrays.values())))
    rows = [
        f"{i + 1}" + ("" if key == "all" else f" of {key}")
        for key, part in arrays.items()
        for i in range(len(part))
    ]
    scale, (means, stds) = unit(x), moments(x)
    for j, name in enumerate(names):
        column, ordered = x[:, j], np.unique(x[:, j])

        def farthest(column: np.ndarray = column, scale: float = scale[j]) -> str:
            row = int(np.abs(column / scale - np.median(column / scale)).argmax())
            return f"{column[row]:g} in row {rows[row]}"

        if max(-ordered[0], ordered[-1]) > LARGEST:
            findings.problems.append(f"column '{name}' has {farthest()}, which is too large to compute with")
            findings.drop.append(name)
            continue
        if not stds[j]:
            continue
        shown = standardised(ordered[:, None], means[j : j + 1], stds[j : j + 1])
        if 2 * (1 + np.count_nonzero(np.diff(shown, axis=0))) < len(ordered):
            findings.problems.append(
                f"column '{name}' has {farthest()}, beside which most of its {len(ordered)} values look equal"
            )
            findings.drop.append(name)
    return findings


def numbers_rows(x: np.ndarray, values: np.ndarray) -> str:
    """Return how a column numbers or dates the rows, in words; empty if it does neither.

    It is a linear function of the row's number, a permutation of consecutive whole numbers (of which less
    than half are missing), or dates such as 20200131 or seconds since 1970 in ascending or descending order.

    Args:
        x: the column.
        values: its distinct values in ascending order.
    """
    n = len(x)
    if n < 3 or not np.ptp(x):
        return ""
    steps = np.diff(x)
    if (steps == steps[0]).all() and abs(steps[0]) == 1:
        return "counts the rows"
    slope = (x[-1] - x[0]) / (n - 1)
    away = float(np.abs(x - x[0] - slope * np.arange(n)).max())
    if n >= 5 and slope and away <= 2.02 * abs(slope):
        step = float(rounding(x).max())
        if away <= 1.01 * step + 1e-9 * np.ptp(x) and abs(slope) >= step / 2:
            return "rises or falls by equal steps from row to row"
    if (x == np.rint(x)).all() and _are_dates(x):
        return "holds dates as numbers"
    if len(values) < n:
        return ""
    whole = _grid_of(values)
    width = np.inf if whole is None else float(np.ptp(x)) / whole.step
    if width <= 2 * n and n * (n - 1) / (2 * width) >= 10:
        return "numbers the rows (each number of a sequence once)"
    ordered = bool((steps > 0).all() or (steps < 0).all())
    if ordered and any(
        9e8 * scale <= values[0] and values[-1] <= 2.2e9 * scale for scale in (1, 1e3, 1e6, 1e9)
    ):
        return "holds the time in seconds"
    return ""


def _are_dates(x: np.ndarray) -> bool:
    """Return whether whole numbers are dates of many days, written as 20200131."""
    if x.min() < 19000101 or x.max() > 21001231 or len(np.unique(x)) < 5:
        return False
    day, month = x % 100, x // 100 % 100
    return bool(((day >= 1) & (day <= 31) & (month >= 1) & (month <= 12)).all())


def atom(column: Counts) -> tuple[float, int] | None:
    """Return the value that occurs far more often than its neighbours, and how often; None if there is none.

    Rounding repeats a value about as often as its neighbours, and an atom far more often; fewer than 5 equal
    values are never one.
    """
    values, counts = column.values, column.counts
    if counts.max() < 5:
        return None
    for i in np.argsort(-counts, kind="stable")[:20].tolist():
        count = int(counts[i])
        if count < 5:
            break
        near = np.concatenate([counts[max(0, i - 5) : i], counts[i + 1 : i + 6]])
        mean = float(np.median(near)) if len(near) else 1.0
        mean = max(mean, float(np.sort(near)[-3:].mean())) if len(near) >= 8 else mean
        expected = min(mean, 2 * (mean - 1)) + 0.2
        if (
            pdtrc(count - 1, expected) * len(values) < 1e-3
        ):  # by Poisson's law, the chance of so many equal values
            return float(values[i]), count
    return None


def repeated_rows(x: np.ndarray) -> np.ndarray:
    """Return which rows of a table equal an earlier one, ``(N,)``.

    Of each row a hash is computed, and only rows with equal hashes are compared.
    """
    hashes = np.zeros(len(x), dtype=np.uint64)
    for j in range(x.shape[1]):
        bits = (x[:, j] + 0.0).view(np.uint64)  # -0.0 becomes 0.0
        hashes = (hashes ^ bits) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
    _, place, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    repeated = np.zeros(len(x), dtype=bool)
    alike = np.flatnonzero(counts[place] > 1)
    if len(alike):
        repeated[alike] = pd.DataFrame(x[alike]).duplicated().to_numpy()
    return repeated


def examine(x: np.ndarray, names: Sequence[str], dequantised: Collection[str] = ()) -> Findings:
    """Return the columns and rows without a density in a table of finite numbers.

    Args:
        x: the table, ``(N, D)``.
        names: names of the columns.
        dequantised: columns that noise is added to; they are only examined for being constant.
    """
    findings, x = Findings(), np.asfortranarray(x)
    constant = {j for j in range(x.shape[1]) if x[:, j].min() == x[:, j].max()}
    for j in sorted(constant):
        findings.problems.append(f"column '{names[j]}' has the same value in every row")
        findings.drop.append(names[j])
    rest = [j for j in range(x.shape[1]) if j not in constant and names[j] not in dequantised]
    if not rest:
        return findings
    counts = {j: Counts.of(x[:, j]) for j in rest}
    repeated = repeated_rows(x)
    relations = _relations(x, rest, counts)
    _report_functions(findings, x, names, relations)
    discrete = {j for j in rest if j not in relations.linear and counts[j].is_discrete}
    if x.shape[1] > 1 and repeated.any():  # repeated rows make a column neither discrete nor an atom
        distinct = x[~repeated]
        counts = {j: Counts.of(distinct[:, j]) for j in rest}
        if len(distinct) >= 20:
            discrete = {j for j in discrete if counts[j].is_discrete}
    for j in rest:
        if j in relations.linear or j in relations.curved or j in relations.equal:
            continue
        if j in relations.numbered:
            findings.problems.append(f"column '{names[j]}' {relations.numbered[j]}")
            findings.drop.append(names[j])
        elif j in discrete:
            findings.problems.append(f"column '{names[j]}' has only {len(counts[j].values)} distinct values")
            (findings.drop if grid(x[:, j]) is None else findings.dequantise).append(names[j])
        else:
            _report_atom(findings, names[j], counts[j])
    if x.shape[1] > 1 and repeated.any() and len(discrete) < len(rest):
        findings.problems.append(f"{int(repeated.sum())} of {len(x)} rows are copies of earlier rows")
        findings.repeats = True
    return findings


@dataclass(frozen=True)
class _Relations:
    """The columns that are functions of other columns, or of the number of the row.

    Attributes:
        linear: linear functions, each with the columns that it is a function of.
        numbered: columns that number or date the rows, each with how, in words.
        curved: other functions, each with the columns that it is a function of.
        equal: columns that equal others in many rows, each with those.
    """

    linear: dict[int, list[int]]
    numbered: dict[int, str]
    curved: dict[int, list[int]]
    equal: dict[int, list[int]]


def _relations(x: np.ndarray, columns: Sequence[int], counts: Mapping[int, Counts]) -> _Relations:
    """Return which columns are functions of others, or of the number of the row.

    Args:
        x: the whole table, ``(N, D)``.
        columns: the columns that are looked at.
        counts: of the values of each.
    """
    scaled = x if len(columns) == x.shape[1] else x[:, columns]
    scale = unit(scaled)
    scaled = scaled if (scale == 1).all() else scaled / scale
    discrete = {i for i, j in enumerate(columns) if counts[j].is_discrete}
    linear = _of_columns(columns, dependent(scaled, discrete))
    numbered = {
        j: how for j in columns if j not in linear and (how := numbers_rows(x[:, j], counts[j].values))
    }
    free = [i for i, j in enumerate(columns) if j not in linear and j not in numbered]
    exact = {k for k, i in enumerate(free) if i in discrete}
    equal = partly_equal(scaled[:, free], exact, share=0.95) if free else {}
    bends = {j: i for j, i in curved(scaled[:, free], exact).items() if j not in equal} if free else {}
    equal |= partly_equal(scaled[:, free], {*exact, *bends, *equal}) if free else {}
    bends |= related(scaled[:, free], exact, {*bends, *equal})
    places = [columns[i] for i in free]
    return _Relations(linear, numbered, _of_columns(places, bends), _of_columns(places, equal))


def _of_columns(columns: Sequence[int], functions: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
    """Return functions among the columns of a part of the table, under their positions in the whole table."""
    return {columns[j]: [columns[i] for i in others] for j, others in functions.items()}


def _report_functions(findings: Findings, x: np.ndarray, names: Sequence[str], relations: _Relations) -> None:
    """Add a problem to the findings for each column that is a function of others."""
    for j, others in relations.curved.items():
        findings.problems.append(f"column '{names[j]}' is a function of {_quoted(names, others)}")
        findings.drop.append(names[j])
    for j, others in relations.equal.items():
        rivals = " or ".join(f"'{names[i]}'" for i in others)
        findings.problems.append(f"column '{names[j]}' equals {rivals}, up to a sign, in many rows")
        findings.drop.append(names[j])
    for j, others in relations.linear.items():
        if len(others) == 1:
            how = "a copy" if np.array_equal(x[:, j], x[:, others[0]]) else "a linear function"
            findings.problems.append(f"column '{names[j]}' is {how} of '{names[others[0]]}'")
        else:
            findings.problems.append(f"column '{names[j]}' is a linear function of {_quoted(names, others)}")
        findings.drop.append(names[j])


def _report_atom(findings: Findings, name: str, column: Counts) -> None:
    """Add a problem to the findings for a value that occurs too often, or a note if few rows have it."""
    most, rows = int(column.counts.argmax()), int(column.counts.sum())
    peak = atom(column)
    if column.counts[most] >= 10 and column.counts[most] / rows >= LARGEST_ATOM:
        peak = float(column.values[most]), int(column.counts[most])
    if peak is None:
        return
    text = f"column '{name}' is {peak[0]:g} in {peak[1]} of {rows} rows"
    apart = _stands_apart(column, peak[0])
    if apart:
        text += ", far from all its other values"
    if peak[1] / rows >= SMALLEST_ATOM or apart:
        findings.problems.append(text)
        findings.drop.append(name)
    else:
        findings.notes.append(text)


def _stands_apart(column: Counts, value: float) -> bool:
    """Return whether a value lies farther from all others than these from each other, as -999 for a gap."""
    others = column.values[column.values != value]
    return len(others) > 1 and bool(np.abs(others - value).min() > np.ptp(others))


def _quoted(names: Sequence[str], chosen: Sequence[int]) -> str:
    return ", ".join(f"'{names[i]}'" for i in chosen[:6]) + (", ..." if len(chosen) > 6 else "")
