"""``coverage/<extractor>``: the share of real examples with a sample beside them."""

from __future__ import annotations

from zoo.evaluation.context import Context
from zoo.evaluation.metrics import Value, metric
from zoo.evaluation.metrics.density import K
from zoo.evaluation.neighbours import share


@metric("coverage", direction="higher", needs=("samples", "features"))
def coverage(context: Context) -> Value:
    """Share of test examples within whose reach a sample lies (Naeem et al. 2020).

    Unlike recall it trusts the real examples' neighbourhoods only, which no sample can widen.
    """
    covered = (context.distances("samples", "test") <= context.radii("test", K)).any(0)
    value, error = share(covered)
    return Value(value, error, n=len(context.few("samples")), details={"k": K, "reference_n": len(covered)})
