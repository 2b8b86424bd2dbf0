"""The words by which a model declares its likelihood, sampling and data; records hold some of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

# How a value of log-likelihood relates to the model's true one.
Kind = Literal["exact", "lower bound", "estimate", "none"]
# How a sample is drawn: all dimensions at once, one after the other, or by an iterative solver.
SamplingOrder = Literal["parallel", "sequential", "solver"]
# The kind of data that a model needs.
DataKind = Literal["any", "binary", "integer images"]


def suits(kind: DataKind, shape: Sequence[int] | None, levels: int | None) -> bool:
    """Return whether data of this shape and number of levels are of the kind that a model needs.

    Args:
        kind: the kind of data that the model declares.
        shape: shape of an example; None if it is unknown, which suits only ``any``.
        levels: number of values of an integer pixel; None for continuous data.

    >>> suits("binary", (1, 28, 28), 2), suits("binary", (1, 8, 8), 17), suits("integer images", (2,), None)
    (True, False, False)
    """
    if kind == "any":
        return True
    if shape is None or levels is None:
        return False
    return levels == 2 if kind == "binary" else len(shape) == 3
