"""Two runs compared example by example: the test set's own spread cancels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from zoo.comparison.collect import Run
from zoo.record import LIKELIHOOD


@dataclass(frozen=True)
class Difference:
    """log p_a(x) - log p_b(x), over test examples x that both runs scored.

    Attributes:
        mean: in nats per example; above 0 the first run's model gives them more density.
        standard_error: of that mean over the draw of examples.
        n: examples.
        kinds: of the two likelihoods. A bound's difference from an exact value bounds the models' difference
            from one side only.
    """

    mean: float
    standard_error: float
    n: int
    kinds: tuple[str, str]


def paired(a: Run, b: Run) -> Difference | None:
    """The paired difference of two runs.

    None where it would mean nothing: another data set (by its fingerprint and sizes), a run without values of
    its examples, or fewer than two examples in common.
    """
    about = [run.record.provenance.get("data") or {} for run in (a, b)]
    keys = ("fingerprint", "sizes", "shape", "levels")
    if a.record.data != b.record.data or any(about[0].get(key) != about[1].get(key) for key in keys):
        return None
    first, second = _scores(a), _scores(b)
    if first is None or second is None:
        return None
    _, mine, yours = np.intersect1d(first[1], second[1], assume_unique=True, return_indices=True)
    if len(mine) < 2:
        return None
    change = first[0][mine].astype(np.float64) - second[0][yours].astype(np.float64)
    kinds = tuple(run.record.metrics["nll"].kind if "nll" in run.record.metrics else "?" for run in (a, b))
    error = float(change.std(ddof=1)) / math.sqrt(len(change))
    return Difference(float(change.mean()), error, len(change), (kinds[0], kinds[1]))


def _scores(run: Run) -> tuple[np.ndarray, np.ndarray] | None:
    """Values and indices of a run's examples; None where it left none, or a damaged file."""
    arrays = run.arrays(LIKELIHOOD) or {}
    if not {"values", "indices"} <= arrays.keys():
        return None
    values, indices = arrays["values"], arrays["indices"]
    sound = values.shape == indices.shape and values.ndim == 1 and np.isfinite(values).all()
    return (values, indices) if sound and len(np.unique(indices)) == len(indices) else None
