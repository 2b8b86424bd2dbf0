"""``mode_quality``: the share of samples that lie near a mode, for data with modes."""

from __future__ import annotations

from zoo.errors import ZooError
from zoo.evaluation.base import Value
from zoo.evaluation.context import Context
from zoo.evaluation.metrics import metric
from zoo.evaluation.metrics.mode_coverage import ModeCoverage
from zoo.evaluation.neighbours import share


class ModeQuality(ModeCoverage):
    """Share of samples within 3 standard deviations of a mode: 1 - exp(-9/2) of real points of the plane.

    It has the states and arguments of :class:`ModeCoverage`.

    >>> import torch
    >>> metric = ModeQuality(torch.tensor([[0.0], [10.0]]), deviation=1.0)
    >>> metric.update(torch.tensor([[0.5], [10.5], [5.0], [99.0]]))
    >>> metric.compute()
    tensor(0.5000, dtype=torch.float64)
    """

    def _estimate(self) -> Value:
        n = int(self.n)
        if n == 0:
            raise ZooError(f"{type(self).__name__} has no points: call update(points).")
        value, error = share(int(self.counts.sum()), n)
        return Value(value, error, n=n)


@metric("mode_quality", direction="higher", needs=("samples", "modes"))
def mode_quality(context: Context) -> Value:
    """Share of samples within 3 standard deviations of a mode: 1 - exp(-9/2) of the plane's real points."""
    assert context.modes is not None
    found = ModeQuality(*context.modes)
    found.update(context.samples)
    return found.estimate()
