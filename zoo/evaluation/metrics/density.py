"""``density/<extractor>``: how crowded with real examples the samples' places are."""

from __future__ import annotations

import math

from zoo.evaluation.context import Context
from zoo.evaluation.metrics import Value, metric

K = 5


@metric("density", direction="higher", needs=("samples", "features"))
def density(context: Context) -> Value:
    """Real examples within whose reach a sample lies, over k, on average (Naeem et al. 2020).

    Unlike precision, one real outlier with a wide reach counts for little; it may exceed 1.
    """
    reached = context.distances("samples", "test") <= context.radii("test", K)
    per_sample = reached.double().sum(1) / K
    n = len(per_sample)
    error = per_sample.std().item() / math.sqrt(n) if n > 1 else None
    return Value(per_sample.mean().item(), error, n=n, details={"k": K, "reference_n": reached.shape[1]})
