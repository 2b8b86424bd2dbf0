"""The base class of metrics that count samples near the modes of data such as 8gaussians."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.evaluation.base import Value, ZooMetric
from zoo.evaluation.context import Context

REACH = 3.0  # standard deviations


class ModeMetric(ZooMetric):
    """Base class of metrics of generated points near modes, within 3 standard deviations.

    ``update`` takes generated points ``(B, D)``. The states are the number of points near each mode and of
    all points.

    Args:
        centres: centres of the modes, ``(K, D)``.
        deviation: the modes' common standard deviation along each axis.
        kwargs: those of :class:`torchmetrics.Metric`.
    """

    plot_lower_bound = 0.0
    counts: Tensor
    n: Tensor

    def __init__(self, centres: Tensor, deviation: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.centres, self.deviation = centres, deviation
        self.add_state("counts", torch.zeros(len(centres), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("n", torch.tensor(0), dist_reduce_fx="sum")

    @classmethod
    def of(cls, context: Context) -> Value:
        """Return the value for the samples of a model."""
        assert context.modes is not None
        judge = cls(*context.modes)
        judge.update(context.samples)
        return judge.estimate()

    def update(self, points: Tensor) -> None:
        """Add generated points ``(B, D)``."""
        distance, nearest = torch.cdist(
            points.detach().double().flatten(1), self.centres.double().to(points.device)
        ).min(1)
        close = nearest[distance < REACH * self.deviation].to(self.device)
        self.counts = self.counts + torch.bincount(close, minlength=len(self.centres))
        self.n = self.n + len(points)

    def _number(self) -> int:
        """Return the number of points.

        Raises:
            ZooError: there are none.
        """
        if int(self.n) == 0:
            raise ZooError(f"{type(self).__name__} has no points: call update(points).")
        return int(self.n)
