"""Interleaved timing of one piece of work by zoo, by peers and by the bare arithmetic that it cannot avoid.

All contestants of a comparison take turns within one process, and what is reported is a ratio of times of the
same round: its median and the interval of its order statistics that holds the median with 95 %. A machine
that is slow for a while is slow for all of them.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from common import wait
from measured import FLOOR, TASKS, ZOO, Ratio, Row, least_rounds
from torch import nn

__all__ = ["FLOOR", "TASKS", "ZOO", "Comparison", "Job", "interval", "rounds", "rows"]
TURN = 0.004  # seconds of a turn at least: short jobs are repeated
SLOW = 0.5  # seconds of a job whose first call is no longer than the next ones
Work = Callable[[], object]
Clock = Callable[[], float]


class Job(NamedTuple):
    """A piece of work of a contestant.

    Attributes:
        run: the work.
        units: number of units of work in a call; times are those of one unit.
        module: module that is trained, if there is one.
        multiplications: multiplications of a unit, where networks of unlike sizes are compared.
        first: seconds of a call that has been made already.
    """

    run: Work
    units: float = 1.0
    module: nn.Module | None = None
    multiplications: float | None = None
    first: float | None = None


@dataclass
class Comparison:
    """The jobs of one task by contestant; ``missing`` has the reason of each peer without a job."""

    case: str
    task: str
    batch: int
    jobs: dict[str, Job]
    missing: dict[str, str] = field(default_factory=dict)


def interval(values: list[float]) -> Ratio:
    """Return the median with the order statistics that enclose it with a probability of 95 %.

    With fewer than :data:`measured.ENOUGH` values the interval is their range, from the least to the most.

    >>> interval([5.0, 1.0, 2.0, 3.0, 4.0])
    Ratio(value=3.0, low=1.0, high=5.0)
    """
    ordered, n = sorted(values), len(values)
    below, rank = 0.0, 0
    while rank < n // 2 and (below := below + math.comb(n, rank) / 2**n) <= 0.025:
        rank += 1
    first = max(rank - 1, 0)
    return Ratio(statistics.median(ordered), ordered[first], ordered[n - 1 - first])


def rounds(
    jobs: Mapping[str, Job],
    seconds: float,
    clock: Clock = time.perf_counter,
    least: int | None = 3,
    most: int = 200,
) -> dict[str, list[float]]:
    """Return the seconds of a unit of each job in each round; the order rotates from round to round.

    Args:
        jobs: jobs by contestant; each runs once before the first round.
        seconds: time after which no new round starts.
        clock: wall-clock time, or ``time.process_time`` on a busy machine.
        least: number of rounds that are run whatever they take; None for that of
            :func:`measured.least_rounds`, by the time of the first round.
        most: largest number of rounds.
    """
    calls = {}
    for name, job in jobs.items():
        first = job.first if job.first is not None else seconds_of(job.run, clock=clock)
        once = first if first > SLOW else seconds_of(job.run, clock=clock)
        calls[name] = max(1, math.ceil(TURN / max(once, 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in jobs}
    names, begun = list(jobs), time.perf_counter()
    for turn in range(most):
        passed = time.perf_counter() - begun
        if turn == 1 and least is None:
            least = least_rounds(passed)
        if turn >= (least or 1) and passed > seconds:
            break
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            passed = seconds_of(jobs[name].run, calls[name], clock)
            times[name].append(passed / calls[name] / jobs[name].units)
    return times


def seconds_of(run: Work, calls: int = 1, clock: Clock = time.perf_counter) -> float:
    """Return the seconds of a number of calls."""
    wait()
    started = clock()
    for _ in range(calls):
        run()
    wait()
    return clock() - started


def rows(comparison: Comparison, seconds: float, clock: Clock = time.perf_counter) -> Iterator[Row]:
    """Measure a comparison; yield a row for each peer, and one for the floor.

    ``ratio`` is the peer's time by zoo's (above 1: zoo is faster), for the floor the floor's time by zoo's:
    zoo's share of what the arithmetic allows. Without peers and floor there is one row, of zoo alone.
    """
    times = rounds(comparison.jobs, seconds, clock, least=None)
    ours, work = times[ZOO], comparison.jobs[ZOO].multiplications
    for name, theirs in times.items():
        if name == ZOO and len(times) > 1:
            continue
        ratio = interval([t / z for t, z in zip(theirs, ours, strict=True)])
        row: Row = {
            "case": comparison.case,
            "task": comparison.task,
            "batch": comparison.batch,
            "peer": name,
            "ratio": float(f"{ratio.value:.3g}"),
            "interval": [float(f"{ratio.low:.3g}"), float(f"{ratio.high:.3g}")],
            "rounds": len(ours),
            "zoo_ms": float(f"{1e3 * statistics.median(ours):.4g}"),
            "peer_ms": float(f"{1e3 * statistics.median(theirs):.4g}"),
        }
        theirs_work = comparison.jobs[name].multiplications
        if work and theirs_work:
            row |= {"zoo_multiplications": work, "peer_multiplications": theirs_work}
        yield row
