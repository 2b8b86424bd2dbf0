"""``density/<extractor>``: how many real examples are near a sample."""

from __future__ import annotations

import math

from torch import Tensor

from zoo.evaluation.base import NeighbourMetric, Value
from zoo.evaluation.context import Context
from zoo.evaluation.metrics import compare, metric
from zoo.evaluation.neighbours import Pairs


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

    def _of_pairs(self, pairs: Pairs, generated: Tensor, real: Tensor) -> Value:
        reached = pairs.distances(generated, real) <= pairs.radii(real, self.k)
        per_sample = reached.double().sum(1) / self.k
        n = len(per_sample)
        error = per_sample.std().item() / math.sqrt(n) if n > 1 else None
        return Value(per_sample.mean().item(), error, n=n, details={"k": self.k, "reference_n": len(real)})


@metric("density", direction="higher", needs=("samples", "features"))
def density(context: Context) -> Value:
    """Number of test examples within whose reach a sample lies, over k, on average (Naeem et al. 2020).

    Unlike for precision, a real outlier with a wide reach counts for little. It may exceed 1.
    """
    return compare(Density(pairs=context.pairs), context.few("samples"), context.few("test"))
