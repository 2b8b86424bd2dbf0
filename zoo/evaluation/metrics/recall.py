"""``recall/<extractor>``: the share of real examples that the model could have made."""

from __future__ import annotations

from torch import Tensor

from zoo.evaluation.base import NeighbourMetric, Value
from zoo.evaluation.context import Context
from zoo.evaluation.metrics import compare, metric


class Recall(NeighbourMetric):
    r"""Share of real images within the reach of a generated one (Kynkäänniemi et al. 2019).

    .. math:: \frac1M \sum_j 1\big[\exists i: |f(x_i) - f(r_j)| \le \rho_k(x_i)\big]

    with :math:`\rho_k(x)`, the reach of x, its distance to the k-th nearest other generated image; k = 3.

    >>> import torch
    >>> metric = Recall(k=1)
    >>> metric.update(torch.tensor([[0.0], [9.0]]), real=True)
    >>> metric.update(torch.tensor([[-1.0], [1.0]]), real=False)
    >>> metric.compute()
    tensor(0.5000, dtype=torch.float64)
    """

    higher_is_better = True
    plot_lower_bound, plot_upper_bound = 0.0, 1.0
    default_k = 3
    reach_of = "generated"

    def _value(self, across: Tensor, reach: Tensor) -> float:
        return (across <= reach[:, None]).any(0).double().mean().item()


@metric("recall", direction="higher", needs=("samples", "features", "reference"))
def recall(context: Context) -> Value:
    """Share of test examples within the reach of a sample, its third neighbour (Kynkäänniemi et al. 2019)."""
    judge = Recall(pairs=context.pairs, rounds=context.half_samples, seed=context.settings.seed)
    return compare(judge, context.few("samples"), context.few("reference"))
