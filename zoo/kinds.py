"""The words that models declare about themselves, and that records and papers' tables hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

# What a value of log-likelihood is.
Kind = Literal["exact", "lower bound", "estimate", "none"]
# How a sample is drawn: all dimensions at once, one after the other, or by an iterative solver.
SamplingOrder = Literal["parallel", "sequential", "solver"]
# The data that a model can be made for.
DataKind = Literal["any", "binary", "integer images"]


def suits(kind: DataKind, shape: Sequence[int] | None, levels: int | None) -> bool:
    """Return whether a model of this kind of data can be made for data of this shape and number of levels.

    Args:
        kind: that the model declares.
        shape: of an example; None if it is not known, which suits models of any data alone.
        levels: number of values of an integer pixel; None for continuous data.

    >>> suits("binary", (1, 28, 28), 2), suits("binary", (1, 8, 8), 17), suits("integer images", (2,), None)
    (True, False, False)
    """
    if kind == "any":
        return True
    if shape is None or levels is None:
        return False
    return levels == 2 if kind == "binary" else len(shape) == 3
