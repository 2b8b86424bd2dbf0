"""``nll``: the mean negative log-likelihood, computed by :mod:`zoo.evaluation.likelihood`."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from zoo.evaluation.base import Value, ZooMetric, joined

BEYOND = 10.0  # robust deviations
ONE_EXAMPLE = 0.1  # largest share of one example
FEWEST = 20  # least number of examples for the remark: of ten, each has a tenth of the spread on average


class NegativeLogLikelihood(ZooMetric):
    r"""Mean over examples of -log p(x), in nats.

    .. math:: -\frac1N \sum_i \log p(x_i)

    ``update`` takes log-likelihoods, such as ``model.log_prob(x)``. They are kept, so the standard error over
    the examples is exact.

    >>> import torch
    >>> metric = NegativeLogLikelihood()
    >>> metric.update(torch.tensor([-1.0, -3.0]))
    >>> metric.compute(), metric.estimate().standard_error
    (tensor(2., dtype=torch.float64), 1.0)
    """

    higher_is_better = False
    log_probs: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("log_probs", [], dist_reduce_fx="cat")

    def update(self, log_probs: Tensor) -> None:
        """Add log-likelihoods ``(B,)``, in nats."""
        self.log_probs.append(log_probs.detach().to(device=self.device, dtype=torch.float64))

    def _estimate(self) -> Value:
        values = joined(
            self.log_probs, f"{type(self).__name__} has no examples: call update(model.log_prob(x))."
        )
        n = len(values)
        error = values.std().item() / math.sqrt(n) if n > 1 else None
        return Value(-values.mean().item(), error, n=n, details=tail(-values))


def tail(losses: Tensor) -> dict[str, Any]:
    """Return whether the mean of losses ``(N,)`` is that of a few examples, as details of a metric.

    ``median`` and ``worst``; ``share_of_worst``, the part of the worst example in the sum of distances from
    the median; ``share_beyond``, the share of examples that are worse than the median by more than
    :data:`BEYOND` robust deviations (1.4826 times the median absolute deviation). A mean of which a tenth is
    one example beyond that is no estimate of an expectation, since its standard error is as large as itself;
    a ``remark`` then says so, from :data:`FEWEST` examples on.

    >>> found = tail(torch.tensor([1.0, 2.0, 3.0, 2.0] * 6 + [1000.0]))
    >>> found["median"], found["share_beyond"], found["remark"]
    (2.0, 0.04, 'over a tenth of the spread is that of one example, so the mean is no estimate')
    """
    losses = losses.double()
    middle = losses.median()
    distance = (losses - middle).abs()
    beyond = losses - middle > BEYOND * 1.4826 * distance.median()
    total = distance.sum().item()
    share = (losses.max() - middle).item() / total if total > 0 else 0.0
    details: dict[str, Any] = {
        "median": middle.item(),
        "worst": losses.max().item(),
        "share_of_worst": share,
        "share_beyond": beyond.double().mean().item(),
    }
    if len(losses) >= FEWEST and share > ONE_EXAMPLE and bool(beyond.any()):
        details["remark"] = "over a tenth of the spread is that of one example, so the mean is no estimate"
    return details
