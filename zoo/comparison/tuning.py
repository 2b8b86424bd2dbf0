"""What a model family reaches when its best of k configurations is chosen on validation data.

The estimate for k of n configurations is the U-statistic of the *concomitant* (Tang et al. 2020,
arXiv:2004.13705, of the value that goes with the selected one): sort the n by validation, then the mean over
all subsets of k of the test value of the first is ``sum_i w_i(k) y_(i)`` with
``w_i(k) = C(n - i, k - 1) / C(n, k)``. It is unbiased. Its error is the
delete-one jackknife's, with t(n - 1). The test value is that of the quantity which judges the models, see
:mod:`zoo.comparison.criterion`: of distances, which are positive, its logarithm.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from zoo.comparison.configurations import Group, family_rank
from zoo.comparison.criterion import criterion_of, is_positive, kind_of
from zoo.comparison.guards import collapsed, key_of
from zoo.comparison.quantities import Quantity
from zoo.comparison.statistics import LEVEL
from zoo.comparison.studies import Study
from zoo.record import best_validation

LEAST_CONFIGURATIONS = 4  # configurations of a family


@dataclass(frozen=True)
class Trial:
    """One configuration: the value that selects it, lower first, and the test value that judges it."""

    selection: float
    value: float


@dataclass(frozen=True)
class Effort:
    """The expected best of k configurations of a family.

    Attributes:
        family: of the models.
        kind: of their likelihood, if that judges them; empty otherwise.
        n: number of configurations.
        selected_on: ``validation``, or ``test`` where no validation criterion is shared by all.
        k: 1, 2, ... up to half of n.
        expected: the mean of what judges the models; of distances the geometric mean.
        low, high: 95 % band, up to a quarter of n; NaN beyond, where no band can be trusted.
    """

    family: str
    kind: str
    n: int
    selected_on: str
    k: tuple[int, ...]
    expected: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def weights(n: int, k: int) -> np.ndarray:
    """Return the share of the subsets of k of n in which each item, in their order, is the first.

    >>> weights(4, 2).tolist()
    [0.5, 0.3333333333333333, 0.16666666666666666, 0.0]
    """
    passed = np.arange(1, n)  # each share over the one before
    ratios = np.maximum(n - passed - k + 1, 0) / (n - passed)
    return k / n * np.cumprod([1.0, *ratios])


def expected_best(trials: Sequence[Trial], k: int) -> float:
    """Return the expected value of the best of ``k`` trials, chosen by their selection."""
    return float(weights(len(trials), k) @ _ordered(trials))


def jackknife_error(trials: Sequence[Trial], k: int) -> float:
    """Return the delete-one jackknife's standard error of :func:`expected_best`."""
    n, values = len(trials), _ordered(trials)
    shares = weights(n - 1, k)
    before = np.cumsum([0.0, *(shares * values[:-1])])  # what comes before the trial that is left out
    after = np.cumsum([0.0, *(shares * values[1:])[::-1]])[::-1]
    return math.sqrt((n - 1) * float(np.var(before + after)))


def _ordered(trials: Sequence[Trial]) -> np.ndarray:
    """Return the values of trials, the first selected first."""
    return np.array([trial.value for trial in sorted(trials, key=lambda trial: trial.selection)])


def efforts(study: Study) -> list[Effort]:
    """Return the curve of each family with :data:`LEAST_CONFIGURATIONS` configurations or more.

    Where a likelihood judges the models, each of its kinds has a curve of its own. A configuration of which
    no run finished or one collapsed counts as the worst of its kind in the study: it cost its budget.
    """
    criterion = criterion_of(study)
    if criterion is None:
        return []
    logs = is_positive(study, criterion)
    measured = {
        key_of(group): statistics.fmean(map(math.log, values) if logs else values)
        for group in study.groups
        if (values := group.values(criterion))
    }
    dead, kinds = collapsed(study), _kinds(study, criterion)
    worst: dict[str, float] = {}
    for key, value in measured.items():
        worst[kinds[key]] = max(value, worst.get(kinds[key], -math.inf))
    curves: dict[tuple[str, str], list[tuple[Group, float]]] = {}
    for group in study.groups:
        key = key_of(group)
        kind = kinds[key]
        if kind in worst and (key in measured or not group.finished):
            value = worst[kind] if key in dead else measured.get(key, worst[kind])
            curves.setdefault((group.family, kind), []).append((group, value))
    found = [
        _effort(family, kind, pairs, logs)
        for (family, kind), pairs in curves.items()
        if len(pairs) >= LEAST_CONFIGURATIONS
    ]
    return sorted(found, key=lambda effort: (family_rank(effort.family), effort.kind))


def _kinds(study: Study, criterion: Quantity) -> dict[str, str]:
    """Return the kind of each configuration's likelihood, by its ``key_of``.

    One that never finished has that of most configurations of its model, or of its family.
    """
    known = {key_of(group): kind_of(group, criterion) for group in study.groups}

    def usual(groups: Sequence[Group]) -> str:
        counts = Counter(kind for group in groups if (kind := known[key_of(group)]))
        return max(counts, key=lambda kind: counts[kind], default="")

    return {
        key_of(group): known[key_of(group)]
        or usual(study.of(group.model))
        or usual([other for other in study.groups if other.family == group.family])
        for group in study.groups
    }


def _effort(family: str, kind: str, pairs: Sequence[tuple[Group, float]], logs: bool) -> Effort:
    from scipy.special import stdtrit

    validation = [_validation(group) for group, _ in pairs]
    criteria = {_criterion(group) for group, _ in pairs if group.finished}
    shared = len(criteria) == 1 and all(
        v is not None for v, (g, _) in zip(validation, pairs, strict=True) if g.finished
    )
    trials = [
        Trial((math.inf if v is None else v) if shared else value, value)
        for v, (_, value) in zip(validation, pairs, strict=True)
    ]
    n = len(trials)
    ks = range(1, max(1, n // 2) + 1)
    means = [expected_best(trials, k) for k in ks]
    reach = [
        float(stdtrit(n - 1, 1 - LEVEL / 2)) * jackknife_error(trials, k) if k <= n // 4 else math.nan
        for k in ks
    ]

    def shown(values: Iterable[float]) -> tuple[float, ...]:
        return tuple(math.exp(value) if logs else value for value in values)

    return Effort(
        family, kind, n, "validation" if shared else "test", tuple(ks), shown(means),
        shown(m - r for m, r in zip(means, reach, strict=True)),
        shown(m + r for m, r in zip(means, reach, strict=True)),
    )  # fmt: skip


def _validation(group: Group) -> float | None:
    """Return the mean over seeds of the best validation criterion."""
    best = [value for run in group.finished if (value := best_validation(run.directory)) is not None]
    return statistics.fmean(best) if best else None


def _criterion(group: Group) -> str:
    """Return what a configuration's validation criterion is; only criteria of one model compare."""
    return group.model
