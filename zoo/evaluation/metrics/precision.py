"""``precision/<extractor>``: the share of samples that look real."""

from __future__ import annotations

from zoo.evaluation.context import Context
from zoo.evaluation.metrics import Value, metric
from zoo.evaluation.neighbours import share

K = 3


@metric("precision", direction="higher", needs=("samples", "features"))
def precision(context: Context) -> Value:
    """Share of samples within the reach of a real example: its third neighbour (Kynkäänniemi et al. 2019)."""
    inside = (context.distances("samples", "test") <= context.radii("test", K)).any(1)
    value, error = share(inside)
    details = {"k": K, "reference_n": len(context.radii("test", K))}
    return Value(value, error, n=len(inside), details=details)
