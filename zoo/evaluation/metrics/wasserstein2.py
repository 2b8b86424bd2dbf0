"""``wasserstein2``: the 2-Wasserstein distance between samples and test points of the plane."""

from __future__ import annotations

import math

from zoo.evaluation.base import Value
from zoo.evaluation.context import Context, subset
from zoo.evaluation.metrics import metric
from zoo.evaluation.transport import squared_wasserstein


@metric("wasserstein2", unit="data units", needs=("samples", "plane"), floor="val")
def wasserstein2(context: Context) -> Value:
    """2-Wasserstein distance of samples and as many test points, exact: an assignment of least mean square.

    Where the distributions agree it is above zero, and falls slowly with the number of points.
    """
    test = context.examples("test")
    count = min(len(context.samples), len(test), context.settings.pairwise_examples)
    drawn, reference = context.samples[:count], subset(test, count, context.settings.seed)
    return Value(math.sqrt(squared_wasserstein(drawn, reference)), n=count)
