"""``wasserstein2``: the 2-Wasserstein distance between samples and test points of the plane."""

from __future__ import annotations

import math

from zoo.evaluation.base import TwoSampleMetric, Value
from zoo.evaluation.context import Context, subset
from zoo.evaluation.metrics import compare, metric
from zoo.evaluation.transport import LARGEST, squared_wasserstein


class Wasserstein2(TwoSampleMetric):
    r"""2-Wasserstein distance of as many generated and real vectors, in the data's units.

    .. math:: \min_\pi \Big(\frac1N \sum_i |x_i - r_{\pi(i)}|^2\Big)^{1/2}

    It is exact: an assignment problem, whose cost grows as N^3. Where the distributions agree it is above
    zero, and falls slowly with the number of points. ``update`` takes batches ``(B, ...)``, which are
    flattened.

    Raises:
        ZooError: by ``compute``: the sets differ in size.

    >>> import torch
    >>> metric = Wasserstein2()
    >>> metric.update(torch.tensor([[0.0], [3.0]]), real=True)
    >>> metric.update(torch.tensor([[7.0], [4.0]]), real=False)
    >>> metric.compute()
    tensor(4., dtype=torch.float64)
    """

    higher_is_better = False
    plot_lower_bound = 0.0

    def _estimate(self) -> Value:
        generated, real = self._sets()
        return Value(math.sqrt(squared_wasserstein(generated, real)), n=len(generated))


@metric("wasserstein2", unit="data units", needs=("samples", "plane"), floor="val")
def wasserstein2(context: Context) -> Value:
    """2-Wasserstein distance of samples and as many test points, exact: an assignment of least mean square.

    Where the distributions agree it is above zero, and falls slowly with the number of points. The cost grows
    as its cube, so at most :data:`~zoo.evaluation.transport.LARGEST` are used, also where other metrics
    compare more pairs.
    """
    test = context.examples("test")
    count = min(len(context.samples), len(test), context.settings.pairwise_examples, LARGEST)
    return compare(Wasserstein2(), context.samples[:count], subset(test, count, context.settings.seed))
