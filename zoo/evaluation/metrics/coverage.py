"""``coverage/<extractor>``: the share of real examples that have a sample nearby."""

from __future__ import annotations

from torch import Tensor

from zoo.evaluation.base import NeighbourMetric, Value
from zoo.evaluation.context import Context
from zoo.evaluation.metrics import compare, metric


class Coverage(NeighbourMetric):
    r"""Share of real images within whose reach a generated image lies (Naeem et al. 2020).

    .. math:: \frac1M \sum_j 1\big[\exists i: |f(x_i) - f(r_j)| \le \rho_k(r_j)\big]

    with :math:`\rho_k(r)`, the reach of r, its distance to the k-th nearest other real image; k = 5. Unlike
    recall it uses the real images' neighbourhoods alone, which no generated image can widen.

    >>> import torch
    >>> metric = Coverage(k=1)
    >>> metric.update(torch.tensor([[0.0], [1.0], [8.0], [9.0]]), real=True)
    >>> metric.update(torch.tensor([[0.5], [0.6]]), real=False)
    >>> metric.compute()
    tensor(0.5000, dtype=torch.float64)
    """

    higher_is_better = True
    plot_lower_bound, plot_upper_bound = 0.0, 1.0
    default_k = 5

    def _value(self, across: Tensor, reach: Tensor) -> float:
        return (across <= reach).any(0).double().mean().item()


@metric("coverage", direction="higher", needs=("samples", "features", "reference"))
def coverage(context: Context) -> Value:
    """Share of test examples within whose reach a sample lies (Naeem et al. 2020).

    Unlike recall it uses the real examples' neighbourhoods alone, which no sample can widen.
    """
    judge = Coverage(pairs=context.pairs, rounds=context.half_samples, seed=context.settings.seed)
    return compare(judge, context.few("samples"), context.few("reference"))
