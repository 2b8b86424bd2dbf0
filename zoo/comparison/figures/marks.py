"""The marks that say in a legend whether a likelihood is exact, a bound or an estimate."""

from __future__ import annotations

from collections.abc import Iterable

from zoo.comparison.configurations import Group
from zoo.comparison.tables.cells import KIND_WORDS

MARKS = {"lower bound": " ≤", "estimate": " ≈", "exact†": " †"}
LIKELIHOODS = {"val/bits_per_dim": "bits_per_dim", "val/nll": "nll"}  # curve: the metric that has its kind


def meanings(kinds: Iterable[str]) -> str:
    """Return what the marks of some kinds mean, in the words of the tables' captions; empty without marks."""
    present = set(kinds)
    return "; ".join(words for kind, words in KIND_WORDS.items() if kind in present)


def curve_kind(group: Group, curve: str) -> str:
    """Return the kind of a curve's likelihood; empty for a curve of anything else, and of several kinds."""
    kinds = group.kinds(LIKELIHOODS[curve]) if curve in LIKELIHOODS else set()
    return kinds.pop() if len(kinds) == 1 else ""


def curve_mark(group: Group, curve: str) -> str:
    """Return the mark of the kind of a curve's likelihood.

    Empty for an exact one, for a curve of anything else, and where the kinds of the seeds differ.
    """
    return MARKS.get(curve_kind(group, curve), "")
