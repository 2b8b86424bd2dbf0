"""``mode_quality``: the share of samples that lie near a mode, for data with modes."""

from __future__ import annotations

from zoo.evaluation.base import Value
from zoo.evaluation.context import Context
from zoo.evaluation.metrics import metric
from zoo.evaluation.modes import ModeMetric
from zoo.evaluation.neighbours import share


class ModeQuality(ModeMetric):
    """Share of samples within 3 standard deviations of a mode: 1 - exp(-9/2) of real points of the plane.

    For the arguments see :class:`~zoo.evaluation.modes.ModeMetric`.

    >>> import torch
    >>> metric = ModeQuality(torch.tensor([[0.0], [10.0]]), deviation=1.0)
    >>> metric.update(torch.tensor([[0.5], [10.5], [5.0], [99.0]]))
    >>> metric.compute()
    tensor(0.5000, dtype=torch.float64)
    """

    higher_is_better = True
    plot_upper_bound = 1.0

    def _estimate(self) -> Value:
        n = self._number()
        value, error = share(int(self.counts.sum()), n)
        return Value(value, error, n=n)


@metric("mode_quality", direction="higher", needs=("samples", "modes"))
def mode_quality(context: Context) -> Value:
    """Share of samples within 3 standard deviations of a mode: 1 - exp(-9/2) of the plane's real points."""
    return ModeQuality.of(context)
