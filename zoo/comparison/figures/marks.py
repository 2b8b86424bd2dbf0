"""The marks of kinds of likelihood, which stand behind the names of lines."""

from __future__ import annotations

from zoo.comparison.configurations import Group

MARKS = {"lower bound": " ≤", "estimate": " ≈", "exact†": " †"}
MEANINGS = "† dequantised, ≤ bound, ≈ estimate"
LIKELIHOODS = {"val/bits_per_dim": "bits_per_dim", "val/nll": "nll"}  # curve: the metric that has its kind


def curve_mark(group: Group, curve: str) -> str:
    """Return the mark of the kind of a curve's likelihood.

    Empty for an exact one, for a curve of anything else, and where the kinds of the seeds differ.
    """
    kinds = group.kinds(LIKELIHOODS[curve]) if curve in LIKELIHOODS else set()
    return MARKS.get(kinds.pop(), "") if len(kinds) == 1 else ""
