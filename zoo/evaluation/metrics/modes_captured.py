"""``modes_captured``: the number of the data's modes that have a sample nearby."""

from __future__ import annotations

from zoo.evaluation.base import Value
from zoo.evaluation.context import Context
from zoo.evaluation.metrics import metric
from zoo.evaluation.metrics.mode_coverage import ModeCoverage


@metric("modes_captured", direction="higher", needs=("samples", "modes"))
def modes_captured(context: Context) -> Value:
    """Number of modes with at least one sample within 3 standard deviations (Lin et al. 2018, PacGAN)."""
    assert context.modes is not None
    found = ModeCoverage(*context.modes)
    found.update(context.samples)
    hit = int((found.counts > 0).sum())
    return Value(float(hit), n=len(context.samples), details={"modes": len(found.counts)})
