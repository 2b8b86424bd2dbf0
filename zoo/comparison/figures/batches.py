"""The cost of one call of a sampler against its batch size."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group
from zoo.comparison.figures.style import canvas, colour, plain_text
from zoo.comparison.studies import studies
from zoo.record import Sampling

MARKERS, DASHES = "osD^v", ("-", "--", ":", "-.")
Curve = list[tuple[int, float]]  # batch size, median over seeds


def sampling_vs_batch(runs: Sequence[Run]) -> Any:
    """Return a figure of seconds of a call and sequential network evaluations against the batch size.

    Each data set has a row, and the baseline of each model a line: the median over its seeds.
    """
    rows = []
    for study in studies(runs):
        lines = [(group, _median(group, _seconds), _median(group, _depths)) for group in study.baselines()]
        lines = [line for line in lines if len(line[1]) > 1]
        if lines:
            rows.append((study.title, lines))
    if not rows:
        return None
    figure = canvas(10.4, 3.4 * len(rows))
    grid = figure.subplots(len(rows), 3, squeeze=False, width_ratios=(1.0, 1.0, 0.3))
    for (seconds, depths, beside), (title, lines) in zip(grid, rows, strict=True):
        _draw((seconds, depths), lines)
        beside.axis("off")
        beside.legend(*seconds.get_legend_handles_labels(), fontsize=7, loc="upper left", edgecolor="none")
        _finish(seconds, title, "seconds of a call")
        _finish(depths, title, "sequential evaluations")
    return figure


def _draw(axes: tuple[Any, Any], lines: Sequence[tuple[Group, Curve, Curve]]) -> None:
    """Draw each baseline in the colour of its family; models of a family differ in line style."""
    order: dict[str, int] = {}
    for group, *curves in lines:
        index = order[group.family] = order.get(group.family, -1) + 1
        style = MARKERS[index % len(MARKERS)] + DASHES[index % len(DASHES)]
        look = {"color": colour(group.family), "label": plain_text(group.runs[0].name)}
        for axis, curve in zip(axes, curves, strict=True):
            if len(curve) > 1:
                axis.plot(*zip(*curve, strict=True), style, linewidth=1.4, ms=4, **look)


def _finish(axis: Any, title: str, quantity: str) -> None:
    if not axis.lines:
        axis.axis("off")
        return
    axis.set(xscale="log", yscale="log", xlabel="batch", ylabel=quantity)
    sizes = sorted({size for line in axis.lines for size in line.get_xdata()})
    axis.set_xticks(sizes, labels=[f"{size:g}" for size in sizes])
    axis.minorticks_off()
    axis.set_title(plain_text(title), fontsize=9)
    axis.grid(alpha=0.25)


def _seconds(sampling: Sampling) -> dict[int, float]:
    """Return the seconds of one call by batch size."""
    speeds = {
        int(size): speed for size, speed in sampling.throughput_by_batch.items() if size.isdecimal() and speed
    }
    seconds = {size: size / speed for size, speed in speeds.items() if size and speed > 0}
    return seconds | ({1: sampling.latency_seconds} if sampling.latency_seconds else {})


def _depths(sampling: Sampling) -> dict[int, float]:
    """Return sequential evaluations by batch size; old records have them at batch size 1 alone."""
    counts = sampling.sequential_evaluations_by_batch
    depths = {int(size): count for size, count in counts.items() if size.isdecimal()}
    depths[1] = sampling.sequential_evaluations
    return {size: float(count) for size, count in depths.items() if size and count}


def _median(group: Group, measured: Callable[[Sampling], dict[int, float]]) -> Curve:
    """Return the median over a group's seeds at each batch size."""
    values: dict[int, list[float]] = {}
    for run in group.finished:
        for size, value in measured(run.record.sampling).items():
            values.setdefault(size, []).append(value)
    return [(size, statistics.median(of_size)) for size, of_size in sorted(values.items())]
