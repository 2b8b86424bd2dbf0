"""Numbers, intervals and p-values as the sentences of the ledger write them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from zoo.comparison.statistics import Outcome, share_interval
from zoo.comparison.tables import number


def mean_text(values: Sequence[float]) -> str:
    """Return the mean and the standard deviation of a sample.

    >>> mean_text([1.0, 2.0, 3.0])
    '2.0 ± 1.0'
    """
    return number(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def times_text(outcome: Outcome) -> str:
    """Return a ratio with its interval and p-value."""
    return f"{number(outcome.estimate)} times, {interval_text(outcome)}"


def ends(outcome: Outcome) -> tuple[str, str]:
    """Return the ends of the confidence interval, each on the same side of no effect as the number itself.

    >>> ends(Outcome(0.9, 0.85, 0.99998, 0.04, factor=True))
    ('0.85', '0.99998')
    """
    nothing = 1.0 if outcome.factor else 0.0
    return _beside(outcome.low, nothing), _beside(outcome.high, nothing)


def _beside(value: float, limit: float) -> str:
    """Return a number, with as many digits as it takes to tell it from ``limit``."""
    if value == limit or number(value) != number(limit):
        return number(value)
    return next(text for digits in range(5, 18) if float(text := f"{value:.{digits}g}") != limit)


def interval_text(outcome: Outcome) -> str:
    """Return the confidence interval, if the test gives one, and the p-value.

    >>> interval_text(Outcome(1.0, 0.5, 1.5, 0.02))
    '95 % interval 0.5 to 1.5, p = 0.02'
    """
    if math.isnan(outcome.low):
        return p_text(outcome.p)
    low, high = ends(outcome)
    return f"95 % interval {low} to {high}, {p_text(outcome.p)}"


def p_text(p: float) -> str:
    """Return a p-value as text.

    >>> p_text(0.04), p_text(0.00001), p_text(math.nan)
    ('p = 0.04', 'p < 0.0001', 'no test: the values have no spread')
    """
    if math.isnan(p):
        return "no test: the values have no spread"
    return f"p = {number(p)}" if p >= 0.0001 else "p < 0.0001"


def count_text(*samples: Sequence[Any]) -> str:
    """Return the sizes of samples.

    >>> count_text([1, 2, 3], [4, 5])
    '3 and 2'
    """
    return " and ".join(str(len(sample)) for sample in samples)


def share_text(hits: int, n: int) -> str:
    """Return a share with its exact interval.

    >>> share_text(1, 5)
    '1 of 5 (20 %, exact 95 % interval 1 to 72 %)'
    """
    low, high = share_interval(hits, n)
    return (
        f"{hits} of {n} ({100 * hits / n:.0f} %, exact 95 % interval {100 * low:.0f} to {100 * high:.0f} %)"
    )


def failures_text(label: str, failed: int, n: int) -> str:
    """Return the share of runs that failed as a sentence; empty if none did.

    >>> failures_text("gan", 1, 5)
    ' Failed runs of gan: 1 of 5 (20 %, exact 95 % interval 1 to 72 %), ranked worst.'
    """
    return f" Failed runs of {label}: {share_text(failed, n)}, ranked worst." if failed else ""
