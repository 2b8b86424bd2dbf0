"""Likelihoods of runs and models compared example by example, so that the spread of the test set cancels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoo.comparison.collect import Run
from zoo.comparison.datasets import dataset
from zoo.record import LIKELIHOOD


@dataclass(frozen=True)
class Difference:
    """The mean of log p_a(x) - log p_b(x) over the test examples x that both runs scored.

    Attributes:
        mean: in nats per example; above 0 where the first run's model gives the examples more density.
        standard_error: of the mean, over the draw of examples.
        n: number of examples.
        kinds: of the two likelihoods. The difference of a bound and an exact value only bounds the difference
            of the two models.
    """

    mean: float
    standard_error: float
    n: int
    kinds: tuple[str, str]


def paired(a: Run, b: Run) -> Difference | None:
    """Return the paired difference of two runs.

    None if the runs are of different data sets (by fingerprint, sizes, shape and levels), if one has no
    values of its examples, or if they have fewer than two examples in common.
    """
    if dataset(a) != dataset(b):
        return None
    first, second = _scores(a), _scores(b)
    if first is None or second is None:
        return None
    _, of_first, of_second = np.intersect1d(first[1], second[1], assume_unique=True, return_indices=True)
    if len(of_first) < 2:
        return None
    change = first[0][of_first].astype(np.float64) - second[0][of_second].astype(np.float64)
    kinds = tuple(run.record.metrics["nll"].kind if "nll" in run.record.metrics else "?" for run in (a, b))
    error = float(change.std(ddof=1)) / math.sqrt(len(change))
    return Difference(float(change.mean()), error, len(change), (kinds[0], kinds[1]))


@dataclass(frozen=True)
class Scores:
    """Log-likelihoods of test examples.

    Attributes:
        values: in nats, ``(seeds, examples)``.
        indices: places of the examples in the test split, ``(examples,)``, rising.
    """

    values: np.ndarray
    indices: np.ndarray


def scores_of(runs: Sequence[Run], least: int = 2) -> Scores | None:
    """Return each run's log-likelihoods of the test examples that all of the runs scored.

    None for fewer than ``least`` runs, if the file of a run is missing or damaged, and if fewer than two
    examples are common to all.
    """
    if len(runs) < least:
        return None
    scored = []
    for run in runs:
        if (known := _scores(run)) is None:
            return None
        values, indices = known
        order = np.argsort(indices)
        scored.append((values[order].astype(np.float64), indices[order]))
    common = scored[0][1]
    for _, indices in scored[1:]:
        common = np.intersect1d(common, indices)
    if len(common) < 2:
        return None
    return Scores(np.stack([values[np.isin(indices, common)] for values, indices in scored]), common)


def compare_scores(a: Scores | None, b: Scores | None) -> tuple[float, float, float] | None:
    """Return the mean difference of two models, its variance, and the sum that gives its degrees of freedom.

    The variance has two parts: of the mean over the test examples, paired, and of the mean over the seeds.
    """
    if a is None or b is None:
        return None
    if np.array_equal(a.indices, b.indices):
        of_a, of_b = a.values, b.values
    else:
        common, in_a, in_b = np.intersect1d(a.indices, b.indices, assume_unique=True, return_indices=True)
        if len(common) < 2:
            return None
        of_a, of_b = a.values[:, in_a], b.values[:, in_b]
    change = of_a.mean(axis=0) - of_b.mean(axis=0)
    parts = [(change.var(ddof=1) / len(change), len(change))]
    parts += [(one.mean(axis=1).var(ddof=1) / len(one), len(one)) for one in (of_a, of_b) if len(one) > 1]
    weights = sum(variance**2 / (n - 1) for variance, n in parts)
    return float(change.mean()), float(sum(variance for variance, _ in parts)), float(weights)


def differences(models: Sequence[Sequence[Run]]) -> list[tuple[int, int, float, float, float]]:
    """Return (i, j, difference, standard error, its degrees of freedom) of the log-likelihoods of every pair.

    In nats, for i < j. They are paired over the test examples that both scored; the error has the spread over
    seeds too, where there are several. Pairs without common examples are left out. An error of 0 has no
    degrees of freedom: 0.
    """
    scores = [scores_of(runs, least=1) for runs in models]
    found = []
    for i, j in itertools.combinations(range(len(models)), 2):
        if (parts := compare_scores(scores[i], scores[j])) is not None:
            gap, variance, weights = parts
            found.append((i, j, gap, math.sqrt(variance), variance**2 / weights if weights else 0.0))
    return found


def _scores(run: Run) -> tuple[np.ndarray, np.ndarray] | None:
    """Return values and indices of a run's examples; None if the file is missing or damaged."""
    arrays = run.arrays(LIKELIHOOD) or {}
    if not {"values", "indices"} <= arrays.keys():
        return None
    values, indices = arrays["values"], arrays["indices"]
    sound = values.shape == indices.shape and values.ndim == 1 and np.isfinite(values).all()
    return (values, indices) if sound and len(np.unique(indices)) == len(indices) else None
