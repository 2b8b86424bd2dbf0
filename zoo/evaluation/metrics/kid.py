"""``kid/<extractor>``: the kernel distance."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.evaluation.context import Context
from zoo.evaluation.discrepancy import discrepancy
from zoo.evaluation.metrics import Value, metric


@metric("kid", needs=("samples", "features"))
def kernel_distance(context: Context) -> Value:
    """Squared maximum mean discrepancy of features under a cubic kernel (Bińkowski et al. 2018).

    Unbiased: around zero, and now and then below it, where the distributions agree. Its error is that of the
    draw of both sets, by the jackknife.
    """
    ours, reference = context.few("samples"), context.few("test")
    value, error = mmd(ours, reference)
    return Value(
        value, error, n=len(ours), details={"reference_n": len(reference), "kernel": "(x.y/dim + 1)^3"}
    )


def mmd(x: Tensor, y: Tensor) -> tuple[float, float]:
    """E k(X, X') + E k(Y, Y') - 2 E k(X, Y) with k(x, y) = (x.y / D + 1)^3, and its standard error.

    Each mean is over all pairs of different examples. Means over random subsets, which the literature takes
    to save time, have the same expectation and a greater variance; one subset of everything is this.

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
