"""The values behind a claim's measurements, as data for the ledger's figures (``figures/ledger.py``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zoo.comparison.configurations import Group


@dataclass(frozen=True)
class Dots:
    """The values of some groups, one row each.

    Attributes:
        axis: the label of the values' axis.
        rows: (label, family, values) of each group.
        line: where a reference line stands; None: there is none.
        log: whether the axis may be logarithmic.
    """

    axis: str
    rows: list[tuple[str, str, list[float]]]
    line: float | None = None
    log: bool = False


@dataclass(frozen=True)
class Lines:
    """A curve for each model on logarithmic axes; a curve is (label, family, x, y)."""

    x: str
    y: str
    curves: list[tuple[str, str, list[float], list[float]]]


@dataclass(frozen=True)
class Scatter:
    """A named point for each model; a point is (label, family, x, y)."""

    x: str
    y: str
    points: list[tuple[str, str, float, float]]


Panel = Dots | Lines | Scatter


def rows(groups: Sequence[Group], samples: Sequence[list[float]]) -> list[tuple[str, str, list[float]]]:
    """Return the rows of :class:`Dots`: each group beside its values."""
    return [(group.label, group.family, values) for group, values in zip(groups, samples, strict=True)]
