"""``mode_coverage``: the share of the data's modes that samples reach, for data such as 8gaussians."""

from __future__ import annotations

from zoo.evaluation.base import Value
from zoo.evaluation.context import Context
from zoo.evaluation.metrics import metric
from zoo.evaluation.modes import ModeMetric

DUE = 1 / 8  # of a mode's equal part of the samples


class ModeCoverage(ModeMetric):
    """Share of the modes near which enough samples lie: an eighth of a mode's equal part of them.

    Near is within 3 standard deviations; for the arguments see :class:`~zoo.evaluation.modes.ModeMetric`.

    >>> import torch
    >>> metric = ModeCoverage(torch.tensor([[0.0], [10.0], [20.0], [30.0]]), deviation=1.0)
    >>> metric.update(torch.tensor([[0.5], [10.5], [15.0]]))
    >>> metric.compute()
    tensor(0.5000, dtype=torch.float64)
    """

    higher_is_better = True
    plot_upper_bound = 1.0

    def _estimate(self) -> Value:
        n, modes = self._number(), len(self.centres)
        hit = int((self.counts >= DUE * n / modes).sum())
        return Value(hit / modes, n=n, details={"modes": modes, "hit": hit})


@metric("mode_coverage", direction="higher", needs=("samples", "modes"))
def mode_coverage(context: Context) -> Value:
    """Share of the modes near which (3 standard deviations) an eighth of their equal part of samples lies."""
    return ModeCoverage.of(context)
