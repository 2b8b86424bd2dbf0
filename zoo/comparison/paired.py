"""Two runs compared example by example, so that the spread of the test set cancels."""

from __future__ import annotations

import math
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


def _scores(run: Run) -> tuple[np.ndarray, np.ndarray] | None:
    """Return values and indices of a run's examples; None if the file is missing or damaged."""
    arrays = run.arrays(LIKELIHOOD) or {}
    if not {"values", "indices"} <= arrays.keys():
        return None
    values, indices = arrays["values"], arrays["indices"]
    sound = values.shape == indices.shape and values.ndim == 1 and np.isfinite(values).all()
    return (values, indices) if sound and len(np.unique(indices)) == len(indices) else None
