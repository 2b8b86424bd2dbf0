"""``mode_quality``: of data with modes, the share of samples that lie near one."""

from __future__ import annotations

from zoo.evaluation.context import Context
from zoo.evaluation.metrics import Value, metric
from zoo.evaluation.metrics.mode_coverage import near
from zoo.evaluation.neighbours import share


@metric("mode_quality", direction="higher", needs=("samples", "modes"))
def mode_quality(context: Context) -> Value:
    """Share of samples within 3 standard deviations of a mode: 1 - exp(-9/2) of the plane's real points."""
    _, close = near(context)
    value, error = share(close)
    return Value(value, error, n=len(close))
