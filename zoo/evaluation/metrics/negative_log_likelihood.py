"""``nll``: the mean negative log-likelihood, computed by :mod:`zoo.evaluation.likelihood`."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from zoo.evaluation.base import Value, ZooMetric, joined


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
        return Value(-values.mean().item(), error, n=n)
