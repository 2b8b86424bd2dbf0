"""``density/<extractor>``: how many real examples are near a sample."""

from __future__ import annotations

from torch import Tensor

from zoo.evaluation.base import NeighbourMetric, Value
from zoo.evaluation.context import Context
from zoo.evaluation.metrics import compare, metric


class Density(NeighbourMetric):
    r"""Number of real images within whose reach a generated image lies, over k, on average (Naeem et al.
    2020).

    .. math:: \frac1{kN} \sum_i \sum_j 1\big[|f(x_i) - f(r_j)| \le \rho_k(r_j)\big]

    with :math:`\rho_k(r)`, the reach of r, its distance to the k-th nearest other real image; k = 5. It may
    exceed 1. Unlike for precision, a real outlier with a wide reach counts for little.

    >>> import torch
    >>> metric = Density(k=2)
    >>> metric.update(torch.tensor([[0.0], [1.0], [2.0]]), real=True)
    >>> metric.update(torch.tensor([[1.0], [3.0]]), real=False)
    >>> metric.compute()
    tensor(1., dtype=torch.float64)
    """

    higher_is_better = True
    plot_lower_bound = 0.0
    default_k = 5

    def _value(self, across: Tensor, reach: Tensor) -> float:
        return (across <= reach).double().sum(1).mean().item() / self.k


@metric("density", direction="higher", needs=("samples", "features", "reference"))
def density(context: Context) -> Value:
    """Number of test examples within whose reach a sample lies, over k, on average (Naeem et al. 2020).

    Unlike for precision, a real outlier with a wide reach counts for little. It may exceed 1.
    """
    judge = Density(pairs=context.pairs, rounds=context.half_samples, seed=context.settings.seed)
    return compare(judge, context.few("samples"), context.few("reference"))
