"""The cost of failures for a job with checkpoints: the closed forms of Young and of Daly.

Failures are a Poisson process. A failure loses the work since the last checkpoint; a restart takes time and
may itself fail. Times share one unit, rates are per that unit.

Young, "A first order approximation to the optimum checkpoint interval", CACM 17(9), 1974; Daly, "A higher
order estimate of the optimum checkpoint interval for restart dumps", FGCS 22(3), 2006.
"""

from __future__ import annotations

import math


def young_interval(write: float, rate: float) -> float:
    """Return the cheapest amount of work between two checkpoints, to first order: sqrt(2 write / rate)."""
    return math.sqrt(2 * write / rate)


def daly_interval(write: float, rate: float) -> float:
    """Return it to higher order, for checkpoints that take less than twice the mean time between failures."""
    if write >= 2 / rate:
        return 1 / rate
    ratio = math.sqrt(write * rate / 2)
    return young_interval(write, rate) * (1 + ratio / 3 + ratio**2 / 9) - write


def expected_time(work: float, interval: float, write: float, start: float, rate: float) -> float:
    """Return the expected time from a job's first start to its end, with failures.

    Args:
        work: time of the job without failures and checkpoints.
        interval: work between two checkpoints; there is none after a shorter last part.
        write: time that a checkpoint takes.
        start: time from a start, or a restart, to the first update.
        rate: failures per unit of time; 0: none.
    """
    full = math.floor(work / interval + 1e-9)
    rest = max(0.0, work - full * interval)
    if rate == 0:
        return start + work + full * write

    def until(length: float) -> float:
        """Return the expected time until ``length`` passes without a failure, starting over at each."""
        return math.expm1(rate * length) / rate

    pieces = full * until(interval + write) + until(rest)
    return until(start) + math.exp(rate * start) * pieces
