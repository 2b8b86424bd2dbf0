"""Groups of ties in place of a single best: which numbers of a column a test can tell apart.

Within one data set, protocol and kind of likelihood, every pair of configurations is tested. Likelihoods of
the same test examples are paired example by example, everything else is compared over seeds by Welch's t.
Holm's correction covers all pairs. Configurations that share a letter cannot be told apart. Which of them are
the best: :func:`best_of`.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zoo.comparison.configurations import Group
from zoo.comparison.guards import broken, collapsed, key_of
from zoo.comparison.metrics import shared_error
from zoo.comparison.paired import Scores, compare_scores, scores_of
from zoo.comparison.quantities import (
    LATENCY,
    LIKELIHOODS,
    PARAMETERS,
    SEQUENTIAL_EVALUATIONS,
    THROUGHPUT,
    TRAIN_SECONDS,
    UPDATES,
    Quantity,
)
from zoo.comparison.statistics import LEVEL, holm
from zoo.comparison.student import quantile, two_sided
from zoo.comparison.studies import Study
from zoo.comparison.timing import timing, usual_timing
from zoo.record import Direction

LEAST_RANKED = 2  # seeds of a configuration that is ranked
COUNTS = (
    SEQUENTIAL_EVALUATIONS,
    PARAMETERS,
    UPDATES,
)  # known without error, so that two values differ if they are unequal
TIMED = (LATENCY, THROUGHPUT, TRAIN_SECONDS)
ALPHABET = string.ascii_lowercase + string.ascii_uppercase
ONE_SEED = "n = 1: no ranks"


@dataclass(frozen=True)
class Entry:
    """The numbers of one configuration in one column.

    Attributes:
        key: what identifies the configuration.
        name: as tables write it.
        values: one for each seed.
        kind: of a likelihood; only entries of one kind are ranked together.
        scores: log-likelihoods of test examples, if the values are likelihoods.
        reason: why it is not ranked; empty if it is.
    """

    key: str
    name: str
    values: tuple[float, ...]
    kind: str = ""
    scores: Scores | None = field(default=None, compare=False, repr=False)
    reason: str = ""


@dataclass(frozen=True)
class Place:
    """A configuration's place in a ranking.

    Attributes:
        key, name: of the :class:`Entry`.
        mean: over seeds.
        low, high: ends of the 95 % t interval of the mean (of its logarithm, for positive distances and
            times); None for one seed.
        n: number of seeds.
        letters: the groups that it belongs to; empty if it is not ranked.
        best: whether it is the best of its kind or tied with it, see :func:`best_of`; False without a rival.
        reason: why it is not ranked; empty if it is.
    """

    key: str
    name: str
    mean: float
    low: float | None
    high: float | None
    n: int
    letters: str
    best: bool
    reason: str


@dataclass(frozen=True)
class Ranking:
    """The configurations of one kind in one column, the best first; those without a rank come last.

    Attributes:
        quantity: name of the column.
        kind: of likelihood; empty for other numbers.
        direction: the better direction.
        test: what was tested, in words.
        places: of every configuration that has a value.
    """

    quantity: str
    kind: str
    direction: Direction
    test: str
    places: tuple[Place, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the ranking as plain values that JSON can hold."""
        return dataclasses.asdict(self)


def rankings(study: Study, quantity: Quantity, groups: Sequence[Group] | None = None) -> list[Ranking]:
    """Return the ranking of each kind of likelihood, or the only one of another quantity.

    Args:
        study: runs that may be compared.
        quantity: the column.
        groups: the configurations to rank; None: all of the study.
    """
    rows = entries(study, quantity, groups)
    return [rank(rows_of, quantity) for rows_of in by_kind(rows).values()]


def entries(study: Study, quantity: Quantity, groups: Sequence[Group] | None = None) -> list[Entry]:
    """Return an entry for each configuration that has values.

    A configuration with a collapsed run is ranked by its likelihood alone, if that is sound. Of a duration or
    a speed, only the values count that were timed under the conditions of most of the study's runs.
    """
    chosen = study.groups if groups is None else groups
    likelihood = quantity.name in LIKELIHOODS
    dead = broken(study) if likelihood else collapsed(study)
    usual = usual_timing_of(study) if quantity in TIMED else None
    measured = []
    for group in chosen:
        runs = [run for run in group.finished if not usual or timing(run) == usual]
        reason = dead.get(key_of(group), "")
        if not runs:
            runs, reason = group.finished, reason or "timed under other conditions than the rest"
        values = tuple(v for run in runs if (v := quantity.of(run.record)) is not None)
        if not values:
            continue
        kinds = group.kinds(quantity.name) if likelihood else {""}
        kind = kinds.pop() if len(kinds) == 1 else "mixed"
        if kind == "mixed":
            reason = reason or "its seeds' kinds differ"
        scores = (
            scores_of(runs, LEAST_RANKED)
            if quantity.name in LIKELIHOODS and len(values) >= LEAST_RANKED
            else None
        )
        measured.append(Entry(key_of(group), study.name(group), values, kind, scores, reason))
    return measured


def usual_timing_of(study: Study) -> str | None:
    """Return the conditions under which most of a study's runs were timed; computed once."""
    if "usual timing" not in study.memo:
        study.memo["usual timing"] = usual_timing(study.groups)
    known: str | None = study.memo["usual timing"]
    return known


def by_kind(rows: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Return the entries of each kind."""
    kinds: dict[str, list[Entry]] = {}
    for row in rows:
        kinds.setdefault(row.kind, []).append(row)
    return kinds


def rank(rows: Sequence[Entry], quantity: Quantity) -> Ranking:
    """Return the ranking of entries of one kind.

    Args:
        rows: the entries.
        quantity: what their values are.
    """
    direction = quantity.direction
    logs = is_logarithmic(rows, quantity)
    ranked = [
        row for row in rows if not row.reason and (len(row.values) >= LEAST_RANKED or quantity in COUNTS)
    ]
    ranked.sort(key=lambda row: loss(statistics.fmean(row.values), direction))
    different: np.ndarray = np.less(pairwise(ranked, quantity), LEVEL)
    ordered = direction != "none"
    letters = compact_letters(different) if ordered else [""] * len(ranked)
    best = best_of(different) if ordered and len(ranked) > 1 else [False] * len(ranked)
    places = [_place(row, logs, letters[i], best[i]) for i, row in enumerate(ranked)]
    others = [row for row in rows if row not in ranked]
    others.sort(key=lambda row: loss(statistics.fmean(row.values), direction))
    places += [_place(row, logs, "", False, row.reason or ONE_SEED) for row in others]
    return Ranking(
        quantity.name, rows[0].kind if rows else "", direction, _test(ranked, quantity, logs), tuple(places)
    )


def best_of(different: np.ndarray) -> list[bool]:
    """Return which entries are the best, or tied with the best.

    The first is the best. Another one is tied with it if none with a better mean is significantly better,
    and if it is significantly better than some entry wherever the first is: a large variance, which no test
    can tell from anything, is no merit.

    Args:
        different: symmetric truth values, ``(n, n)``, the entries ordered from the best mean.

    >>> import numpy as np
    >>> best_of(np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], dtype=bool))
    [True, False, False]
    """
    better = np.triu(different, 1).astype(bool)
    n = len(better)
    beats = [bool(better[i].any()) for i in range(n)]
    return [not better[:, i].any() and (beats[i] or not beats[0]) for i in range(n)]


def is_logarithmic(rows: Sequence[Entry], quantity: Quantity) -> bool:
    """Whether a column's values are compared by their ratios: positive distances and times are."""
    return (
        quantity.name not in LIKELIHOODS
        and quantity.direction == "lower"
        and all(value > 0 for row in rows for value in row.values)
    ) or quantity in (THROUGHPUT,)


def loss(value: float, direction: Direction) -> float:
    """Return a number that is smaller where ``value`` is better; of a ratio to 1, twice is as bad as half."""
    if direction == "one":
        return abs(math.log(value)) if value > 0 else math.inf
    return -value if direction == "higher" else value


def pairwise(rows: Sequence[Entry], quantity: Quantity) -> np.ndarray:
    """Return Holm's adjusted two-sided p-value of each pair of entries, ``(n, n)``, 1 on the diagonal."""
    n = len(rows)
    table = np.ones((n, n))
    if n < 2:
        return table
    if quantity in COUNTS:
        means = np.array([statistics.fmean(row.values) for row in rows])
        return np.where(means[:, None] == means[None, :], 1.0, 0.0)
    logs = is_logarithmic(rows, quantity)
    samples = [np.array([_scale(v, quantity.direction, logs) for v in row.values]) for row in rows]
    size = np.array([len(sample) for sample in samples])
    mean = np.array([sample.mean() for sample in samples])
    error = np.array([sample.var(ddof=1) for sample in samples]) / size
    first, second = np.triu_indices(n, 1)
    gap, squares = mean[first] - mean[second], error[first] + error[second]
    weights = error[first] ** 2 / (size[first] - 1) + error[second] ** 2 / (size[second] - 1)
    for place, (i, j) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        if (paired := compare_scores(rows[i].scores, rows[j].scores)) is not None:
            gap[place], squares[place], weights[place] = paired
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = squares**2 / weights
        raw = two_sided(gap / np.sqrt(squares), freedom)
    raw = np.where(np.isfinite(raw), raw, 1.0)  # samples without any spread say nothing about another seed
    table[first, second] = table[second, first] = holm(list(raw))
    return table


def _scale(value: float, direction: Direction, logs: bool) -> float:
    if direction == "one":
        return loss(value, direction)
    return math.log(value) if logs else value


def proven(rows: Sequence[Entry], quantity: Quantity) -> list[tuple[Entry, list[Entry]]]:
    """Return each lower bound that is surely better than some exact values, with the entries that have these.

    A likelihood whose bound is better than an exact value is better itself; the reverse proves nothing. Every
    pair of a bound and an exact value is tested as :func:`pairwise` does, but on one side, with Holm's
    correction over these pairs.

    Args:
        rows: entries of all kinds.
        quantity: a likelihood of which less is better; of others nothing is returned.
    """
    if quantity.name not in LIKELIHOODS or quantity.direction != "lower":
        return []
    ranked = [row for row in rows if not row.reason and len(row.values) >= LEAST_RANKED]
    bounds = [row for row in ranked if row.kind == "lower bound"]
    exact = [row for row in ranked if row.kind == "exact"]
    pairs = [(bound, other) for bound in bounds for other in exact]
    adjusted = holm([_better(*pair) for pair in pairs])
    beaten: dict[str, list[Entry]] = {}
    for (bound, other), p in zip(pairs, adjusted, strict=True):
        if p < LEVEL:
            beaten.setdefault(bound.key, []).append(other)
    return [(bound, beaten[bound.key]) for bound in bounds if bound.key in beaten]


def _better(a: Entry, b: Entry) -> float:
    """Return the one-sided p-value that likelihood ``a`` is better than ``b``; 1 where nothing has spread."""
    if (parts := compare_scores(a.scores, b.scores)) is not None:
        gain, variance, weights = parts
    else:
        samples = [np.asarray(row.values) for row in (b, a)]
        errors = [(sample.var(ddof=1) / len(sample), len(sample)) for sample in samples]
        gain, variance = (
            float(samples[0].mean() - samples[1].mean()),
            float(sum(error for error, _ in errors)),
        )
        weights = float(sum(error**2 / (n - 1) for error, n in errors))
    if not (variance > 0 and weights > 0):
        return 1.0
    both = float(two_sided(np.array(gain / math.sqrt(variance)), np.array(variance**2 / weights)))
    return both / 2 if gain > 0 else 1 - both / 2


def compact_letters(different: np.ndarray) -> list[str]:
    """Return the letters of each item, so that two items share one exactly if they are not different.

    The algorithm is insert and absorb (Piepho 2004, J. Comput. Graph. Stat. 13(2)). The first item gets
    ``a``.

    Args:
        different: symmetric truth values, ``(n, n)``, the items ordered from the best.

    >>> import numpy as np
    >>> compact_letters(np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], dtype=bool))
    ['a', 'ab', 'b']
    """
    n = len(different)
    columns = [frozenset(range(n))] if n else []
    for i, j in zip(*np.nonzero(np.triu(different, 1)), strict=True):
        split = [column - {one} for column in columns if {i, j} <= column for one in (i, j)]
        others = [column for column in columns if not {i, j} <= column]
        for column in sorted(split, key=len, reverse=True):
            if not any(column <= other for other in others):
                others.append(column)
        columns = others
    columns.sort(key=sorted)
    return [
        "".join(letter for letter, column in zip(ALPHABET, columns, strict=False) if i in column)
        for i in range(n)
    ]


def interval(values: Sequence[float], logs: bool) -> tuple[float, float] | None:
    """Return the 95 % t interval of the mean of two or more values, or of the mean of their logarithms."""
    if len(values) < 2:
        return None
    if len(set(values)) == 1:
        return values[0], values[0]
    sample = np.log(values) if logs else np.asarray(values, dtype=np.float64)
    reach = quantile(len(sample) - 1, 1 - LEVEL) * float(sample.std(ddof=1)) / math.sqrt(len(sample))
    ends = float(sample.mean()) - reach, float(sample.mean()) + reach
    if logs:
        ends = math.exp(max(ends[0], -700)), math.exp(min(ends[1], 700))
    return ends


def drawn_alike(group: Group, quantity: Quantity | None, relative: bool = False) -> float:
    """Return the variance of a mean over seeds that their spread leaves out, since they share their latents.

    The mean square of the runs' standard errors, see :func:`~zoo.comparison.metrics.shared_error`; 0 for
    runs with samples of their own.

    Args:
        group: the seeds.
        quantity: the number that was averaged.
        relative: of the number's logarithm.
    """
    if quantity is None:
        return 0.0
    errors = []
    for run in group.finished:
        value, error = quantity.of(run.record), shared_error(run, quantity.name)
        if value is not None:
            errors.append(error / abs(value) if relative and value else error)
    return statistics.fmean(error * error for error in errors) if errors else 0.0


def sharpness_error(group: Group, name: str) -> float:
    """Return the variance of the logarithm of a sharpness that the spread over seeds leaves out.

    All seeds are compared with the same real images. The mean square of the records' standard errors, which
    are of samples and real images together, stands for their error.
    """
    measured = [run.record.metrics.get(name) for run in group.finished]
    errors = [(one.standard_error or 0.0) / one.value for one in measured if one is not None and one.value]
    return statistics.fmean(error * error for error in errors) if errors else 0.0


def _place(row: Entry, logs: bool, letters: str, best: bool, reason: str = "") -> Place:
    ends = interval(row.values, logs)
    low, high = ends if ends is not None else (None, None)
    mean = statistics.fmean(row.values)
    return Place(row.key, row.name, mean, low, high, len(row.values), letters, best, reason)


def _test(rows: Sequence[Entry], quantity: Quantity, logs: bool) -> str:
    if quantity in COUNTS:
        return "counts, compared as they are"
    over = "Welch's t over seeds" + (" of logarithms" if logs else "")
    if sum(row.scores is not None for row in rows) > 1:
        over = f"paired over test examples and seeds where both have them, else {over}"
    return f"{over}, all pairs by Holm at {LEVEL:.0%}"
