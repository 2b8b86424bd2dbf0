"""``kid/<extractor>``: the kernel distance."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.evaluation.base import FeatureMetric, Value
from zoo.evaluation.context import Context
from zoo.evaluation.discrepancy import discrepancy
from zoo.evaluation.metrics import compare, metric


class KernelDistance(FeatureMetric):
    r"""Squared maximum mean discrepancy of features under a cubic kernel (Bińkowski et al. 2018), KID.

    .. math:: E\,k(x, x') + E\,k(r, r') - 2\,E\,k(x, r), \quad k(a, b) = \big(f(a) \cdot f(b) / D + 1\big)^3

    Each mean is over all pairs of different images, so the estimate is unbiased: where the distributions
    agree it is around zero, and sometimes below. The literature averages over random subsets to save time,
    which has the same expectation and more variance; one subset with all images gives this value.

    >>> import torch
    >>> metric = KernelDistance()
    >>> metric.update(torch.tensor([[0.0], [1.0], [2.0]]), real=True)
    >>> metric.update(torch.tensor([[0.0], [1.0], [3.0]]), real=False)
    >>> metric.compute()
    tensor(-67.6667, dtype=torch.float64)
    """

    higher_is_better = False

    def _estimate(self) -> Value:
        generated, real = self._sets()
        value, error = mmd(generated, real)
        details = {"reference_n": len(real), "kernel": "(x.y/dim + 1)^3"}
        return Value(value, error, n=len(generated), details=details)


@metric("kid", needs=("samples", "features", "reference"), split_again=True)
def kernel_distance(context: Context) -> Value:
    """Squared maximum mean discrepancy of features under a cubic kernel (Bińkowski et al. 2018).

    Unbiased: where the distributions agree it is around zero, and sometimes below. Its error is that of the
    draw of both sets, by the jackknife.
    """
    return compare(KernelDistance(), context.few("samples"), context.few("reference"))


def mmd(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Return the squared maximum mean discrepancy of features, and its standard error.

    Args:
        x: ``(N, D)``, N at least 3.
        y: ``(M, D)``, M at least 3.

    Raises:
        ZooError: fewer than three examples.
    """
    n, m = len(x), len(y)
    if min(n, m) < 3:
        raise ZooError(f"A kernel distance needs three examples in each set; got {n} and {m}.")
    within_x, within_y, across = (_kernel(a, b) for a, b in ((x, x), (y, y), (x, y)))
    rows_x, rows_y = (within.sum(1) - within.diagonal() for within in (within_x, within_y))
    return discrepancy(rows_x, rows_y, across.sum(1), across.sum(0))


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    x, y = x.to(torch.float64), y.to(torch.float64)
    return (x @ y.T / x.shape[1] + 1) ** 3
