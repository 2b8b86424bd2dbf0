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
from typing import Any, NamedTuple

from common import wait
from torch import nn

TURN = 0.004  # seconds of a turn at least: short jobs are repeated
SLOW = 0.5  # seconds of a job whose first call is no longer than the next ones
ZOO, FLOOR = "zoo", "floor"
TASKS = ("density", "train", "sample")
Work = Callable[[], object]
Clock = Callable[[], float]


class Job(NamedTuple):
    """A piece of work, the number of units that it does, by which times are compared, and its module."""

    run: Work
    units: float = 1.0
    module: nn.Module | None = None


@dataclass
class Comparison:
    """The jobs of one task by contestant; ``missing`` has the reason of each peer without a job."""

    case: str
    task: str
    batch: int
    jobs: dict[str, Job]
    missing: dict[str, str] = field(default_factory=dict)


class Ratio(NamedTuple):
    """The median of a ratio over rounds, and its interval of 95 %."""

    value: float
    low: float
    high: float


def interval(values: list[float]) -> Ratio:
    """Return the median with the order statistics that enclose it with a probability of 95 %.

    With fewer than six values the interval is their range.

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
    jobs: Mapping[str, Job], seconds: float, clock: Clock = time.perf_counter, least: int = 3, most: int = 200
) -> dict[str, list[float]]:
    """Return the seconds of a unit of each job in each round; the order rotates from round to round.

    Args:
        jobs: jobs by contestant; each runs once before the first round.
        seconds: time after which no new round starts.
        clock: wall-clock time, or ``time.process_time`` on a busy machine.
        least: number of rounds that are run whatever they take.
        most: largest number of rounds.
    """
    calls = {}
    for name, job in jobs.items():
        first = _seconds(job.run, 1, clock)
        once = first if first > SLOW else _seconds(job.run, 1, clock)
        calls[name] = max(1, math.ceil(TURN / max(once, 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in jobs}
    names, begun = list(jobs), time.perf_counter()
    for turn in range(most):
        if turn >= least and time.perf_counter() - begun > seconds:
            break
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            times[name].append(_seconds(jobs[name].run, calls[name], clock) / calls[name] / jobs[name].units)
    return times


def _seconds(run: Work, calls: int, clock: Clock) -> float:
    wait()
    started = clock()
    for _ in range(calls):
        run()
    wait()
    return clock() - started


def rows(
    comparison: Comparison, seconds: float, clock: Clock = time.perf_counter
) -> Iterator[dict[str, Any]]:
    """Measure a comparison; yield a row for each peer, and one for the floor.

    ``ratio`` is the peer's time by zoo's (above 1: zoo is faster), for the floor the floor's time by zoo's:
    zoo's share of what the arithmetic allows.
    """
    times = rounds(comparison.jobs, seconds, clock)
    ours = times[ZOO]
    for name, theirs in times.items():
        if name == ZOO and len(times) > 1:
            continue
        ratio = interval([t / z for t, z in zip(theirs, ours, strict=True)])
        yield {
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


def table(measured: list[dict[str, Any]], missing: list[dict[str, Any]]) -> str:
    """Return the Markdown table: zoo by the best peer and by the floor, for each case, task and batch."""
    text = [
        "| case | task | batch | best peer | its time by zoo's (95 %) | the others' | share of the floor |",
        "|---|---|---:|---|---:|---|---:|",
    ]
    for (case, task, batch), group in grouped(measured).items():
        peers = sorted(
            (row for row in group if row["peer"] not in (ZOO, FLOOR)), key=lambda row: row["ratio"]
        )
        floors = [row for row in group if row["peer"] == FLOOR]
        name, best, others = "–", "–", "–"
        if peers:
            low, high = peers[0]["interval"]
            name, best = peers[0]["peer"], f"{peers[0]['ratio']:.2f} ({low:.2f}–{high:.2f})"
            others = ", ".join(f"{row['peer']} {row['ratio']:.2f}" for row in peers[1:]) or "–"
        share = f"{100 * floors[0]['ratio']:.0f} %" if floors else "–"
        text.append(f"| {case} | {task} | {batch} | {name} | {best} | {others} | {share} |")
    if missing:
        text += ["", *(f"- {row['case']}: {row['peer']} is not measured: {row['reason']}" for row in missing)]
    return "\n".join(text) + "\n"


def grouped(measured: list[dict[str, Any]]) -> dict[tuple[str, str, int], list[dict[str, Any]]]:
    """Return rows by case, task and batch."""
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for row in measured:
        groups.setdefault((row["case"], row["task"], row["batch"]), []).append(row)
    return groups


def regressions(before: list[dict[str, Any]], now: list[dict[str, Any]], share: float = 0.1) -> list[str]:
    """Return a line for each ratio that has fallen by more than ``share`` and outside of both intervals."""
    old = {(row["case"], row["task"], row["batch"], row["peer"]): row for row in before}
    lines = []
    for row in now:
        last = old.get((row["case"], row["task"], row["batch"], row["peer"]))
        if last and row["ratio"] < (1 - share) * last["ratio"] and row["interval"][1] < last["interval"][0]:
            what = "share of the floor" if row["peer"] == FLOOR else f"speed by {row['peer']}"
            lines.append(
                f"{row['case']}, {row['task']}, batch {row['batch']}: {what} fell from {last['ratio']:.2f} "
                f"to {row['ratio']:.2f}"
            )
    return lines


def figure(measured: list[dict[str, Any]]) -> Any:
    """Return a figure of zoo's speed by each peer and by the floor, a line for each case, task and batch."""
    from matplotlib.figure import Figure

    groups = list(grouped(measured).items())
    picture = Figure(figsize=(7, 1 + 0.22 * len(groups)), layout="constrained")
    axes = picture.subplots()
    colours = {
        name: f"C{i}" for i, name in enumerate(sorted({row["peer"] for row in measured} - {FLOOR, ZOO}))
    }
    for place, (_, group) in enumerate(groups):
        for row in group:
            if row["peer"] == ZOO:
                continue
            colour = colours.get(row["peer"], "black")
            low, high = row["interval"]
            axes.plot([low, high], [place, place], color=colour, linewidth=1)
            axes.plot(row["ratio"], place, "|" if row["peer"] == FLOOR else "o", color=colour, markersize=5)
    for name, colour in colours.items():
        axes.plot([], [], "o", color=colour, label=name)
    axes.plot([], [], "|", color="black", label="bare arithmetic")
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(
        range(len(groups)), [f"{case}, {task}, {batch}" for (case, task, batch), _ in groups], fontsize=7
    )
    axes.invert_yaxis()
    axes.set_xlabel("time of a peer, or of the bare arithmetic, by zoo's (above 1: zoo is faster)")
    axes.legend(fontsize=7)
    return picture
