"""``recall/<extractor>``: the share of real examples that the model could have made."""

from __future__ import annotations

from zoo.evaluation.context import Context
from zoo.evaluation.metrics import Value, metric
from zoo.evaluation.metrics.precision import K
from zoo.evaluation.neighbours import share


@metric("recall", direction="higher", needs=("samples", "features"))
def recall(context: Context) -> Value:
    """Share of test examples within the reach of a sample: its third neighbour (Kynkäänniemi et al. 2019)."""
    inside = (context.distances("samples", "test") <= context.radii("samples", K)[:, None]).any(0)
    value, error = share(inside)
    return Value(value, error, n=len(context.few("samples")), details={"k": K, "reference_n": len(inside)})
