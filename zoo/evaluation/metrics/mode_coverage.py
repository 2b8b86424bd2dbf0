"""``mode_coverage``: the share of the data's modes that samples reach, for data such as 8gaussians."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.evaluation.base import Value, ZooMetric
from zoo.evaluation.context import Context
from zoo.evaluation.metrics import metric

REACH = 3.0  # standard deviations
DUE = 1 / 8  # of a mode's equal part of the samples


class ModeCoverage(ZooMetric):
    """Share of the modes near which enough samples lie: an eighth of a mode's equal part of them.

    Near is within 3 standard deviations. ``update`` takes generated points ``(B, D)``.

    Args:
        centres: centres of the modes, ``(K, D)``.
        deviation: the modes' common standard deviation along each axis.
        kwargs: those of :class:`torchmetrics.Metric`.

    >>> import torch
    >>> metric = ModeCoverage(torch.tensor([[0.0], [10.0], [20.0], [30.0]]), deviation=1.0)
    >>> metric.update(torch.tensor([[0.5], [10.5], [15.0]]))
    >>> metric.compute()
    tensor(0.5000, dtype=torch.float64)
    """

    higher_is_better = True
    plot_lower_bound, plot_upper_bound = 0.0, 1.0
    counts: Tensor
    n: Tensor

    def __init__(self, centres: Tensor, deviation: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.centres, self.deviation = centres, deviation
        self.add_state("counts", torch.zeros(len(centres), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("n", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, points: Tensor) -> None:
        """Add generated points ``(B, D)``."""
        distance, nearest = torch.cdist(
            points.detach().double().flatten(1), self.centres.double().to(points.device)
        ).min(1)
        close = nearest[distance < REACH * self.deviation].to(self.device)
        self.counts = self.counts + torch.bincount(close, minlength=len(self.centres))
        self.n = self.n + len(points)

    def _estimate(self) -> Value:
        n, modes = int(self.n), len(self.centres)
        if n == 0:
            raise ZooError(f"{type(self).__name__} has no points: call update(points).")
        hit = int((self.counts >= DUE * n / modes).sum())
        return Value(hit / modes, n=n, details={"modes": modes, "hit": hit})


@metric("mode_coverage", direction="higher", needs=("samples", "modes"))
def mode_coverage(context: Context) -> Value:
    """Share of the modes near which (3 standard deviations) an eighth of their equal part of samples lies."""
    assert context.modes is not None
    found = ModeCoverage(*context.modes)
    found.update(context.samples)
    return found.estimate()
