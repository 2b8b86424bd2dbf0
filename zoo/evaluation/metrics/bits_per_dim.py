"""``bits_per_dim``: negative log-likelihood per dimension, computed by :mod:`zoo.evaluation.likelihood`."""

from __future__ import annotations

import math
from typing import Any

from zoo.errors import ZooError
from zoo.evaluation.base import Value
from zoo.evaluation.metrics.negative_log_likelihood import NegativeLogLikelihood


class BitsPerDim(NegativeLogLikelihood):
    r"""Mean over examples of -log p(x), in bits per dimension, for integer data.

    .. math:: -\frac1{N D \ln 2} \sum_i \log p(x_i)

    ``update`` takes log-likelihoods in nats, such as ``model.log_prob(x)``.

    Args:
        dim: number of dimensions D of an example (``spec.dim``).
        kwargs: those of :class:`torchmetrics.Metric`.

    Raises:
        ZooError: ``dim`` below 1.

    >>> import torch
    >>> metric = BitsPerDim(dim=64)
    >>> metric.update(torch.full((5,), -64 * math.log(16)))  # uniform over 16 levels
    >>> round(metric.compute().item(), 5)
    4.0
    """

    def __init__(self, dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if dim < 1:
            raise ZooError(f"Bits per dimension need at least one dimension; got dim={dim}.")
        self.dim = dim

    def _estimate(self) -> Value:
        nats, scale = super()._estimate(), self.dim * math.log(2)
        error = None if nats.standard_error is None else nats.standard_error / scale
        details = {k: v / scale if k in ("median", "worst") else v for k, v in nats.details.items()}
        return Value(nats.value / scale, error, n=nats.n, details=details)
