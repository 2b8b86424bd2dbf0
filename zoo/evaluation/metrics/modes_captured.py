"""``modes_captured``: the number of the data's modes that have a sample nearby."""

from __future__ import annotations

from zoo.evaluation.base import Value
from zoo.evaluation.context import Context
from zoo.evaluation.metrics import metric
from zoo.evaluation.modes import ModeMetric


class ModesCaptured(ModeMetric):
    """Number of modes with at least one sample within 3 standard deviations (Lin et al. 2018, PacGAN).

    For the arguments see :class:`~zoo.evaluation.modes.ModeMetric`.

    >>> import torch
    >>> metric = ModesCaptured(torch.tensor([[0.0], [10.0], [20.0]]), deviation=1.0)
    >>> metric.update(torch.tensor([[0.5], [0.7], [10.5]]))
    >>> metric.compute()
    tensor(2., dtype=torch.float64)
    """

    higher_is_better = True

    def _estimate(self) -> Value:
        n = self._number()
        return Value(float((self.counts > 0).sum()), n=n, details={"modes": len(self.counts)})


@metric("modes_captured", direction="higher", needs=("samples", "modes"))
def modes_captured(context: Context) -> Value:
    """Number of modes with at least one sample within 3 standard deviations (Lin et al. 2018, PacGAN)."""
    return ModesCaptured.of(context)
