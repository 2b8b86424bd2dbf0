"""``precision/<extractor>``: the share of samples that look real."""

from __future__ import annotations

from torch import Tensor

from zoo.evaluation.base import NeighbourMetric, Value
from zoo.evaluation.context import Context
from zoo.evaluation.metrics import compare, metric


class Precision(NeighbourMetric):
    r"""Share of generated images within the reach of a real one (Kynkäänniemi et al. 2019).

    .. math:: \frac1N \sum_i 1\big[\exists j: |f(x_i) - f(r_j)| \le \rho_k(r_j)\big]

    with :math:`\rho_k(r)`, the reach of r, its distance to the k-th nearest other real image; k = 3.

    >>> import torch
    >>> metric = Precision()  # of features: there is no extractor
    >>> metric.update(torch.tensor([[0.0], [1.0], [2.0], [3.0]]), real=True)
    >>> metric.update(torch.tensor([[1.5], [40.0]]), real=False)
    >>> metric.compute()
    tensor(0.5000, dtype=torch.float64)
    """

    higher_is_better = True
    plot_lower_bound, plot_upper_bound = 0.0, 1.0
    default_k = 3

    def _value(self, across: Tensor, reach: Tensor) -> float:
        return (across <= reach).any(1).double().mean().item()


@metric("precision", direction="higher", needs=("samples", "features", "reference"))
def precision(context: Context) -> Value:
    """Share of samples within the reach of a test example, its third neighbour (Kynkäänniemi et al. 2019)."""
    judge = Precision(pairs=context.pairs, rounds=context.half_samples, seed=context.settings.seed)
    return compare(judge, context.few("samples"), context.few("reference"))
