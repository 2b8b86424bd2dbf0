"""``mode_quality``: of data with modes, the share of samples that lie near one."""

from __future__ import annotations

import math

from zoo.evaluation.context import Context
from zoo.evaluation.metrics import Value, metric
from zoo.evaluation.metrics.mode_coverage import near


@metric("mode_quality", direction="higher", needs=("samples", "modes"))
def mode_quality(context: Context) -> Value:
    """Share of samples within 3 standard deviations of a mode: 1 - exp(-9/2) of the plane's real points."""
    _, close = near(context)
    share, n = close.double().mean().item(), len(close)
    return Value(share, math.sqrt(share * (1 - share) / n), n=n)
