"""Distance to the data against the time of one sample: means with 95 % intervals, and the front."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zoo.comparison.configurations import Group
from zoo.comparison.figures.paper.look import (
    GREY,
    RULE,
    canvas,
    colour,
    label_points,
    legend,
    marker,
    plain_text,
    plain_ticks,
)
from zoo.comparison.front import THICKNESS, front
from zoo.comparison.groups import interval
from zoo.comparison.guards import collapsed, floor_of, key_of
from zoo.comparison.quantities import LATENCY
from zoo.comparison.studies import Study


@dataclass(frozen=True)
class Point:
    """A configuration: mean and interval of its latency in milliseconds, and of its distance."""

    name: str
    family: str
    x: float
    y: float
    x_ends: tuple[float, float] | None
    y_ends: tuple[float, float] | None
    baseline: bool


def draw(studies: Sequence[Study], width: float) -> Any:
    """Return the figure of the study with most points; None without points."""
    measured = [(study, points(study)) for study in studies]
    study, drawn = max(measured, key=lambda item: len(item[1]), default=(None, []))
    if study is None or not drawn or study.quality is None:
        return None
    figure = canvas(width, min(0.78 * width, 3.6))
    axis = figure.subplots()
    positive = all(point.y > 0 for point in drawn)
    axis.set(xscale="log", yscale="log" if positive else "linear")
    best = front_of(drawn)
    for point in drawn:
        on_front = point in best
        shade, alpha = colour(point.family), 1.0 if on_front or point.baseline else 0.35
        for ends, vertical in ((point.x_ends, False), (point.y_ends, True)):
            if ends is not None:
                line = ((point.x, point.x), ends) if vertical else (ends, (point.y, point.y))
                axis.plot(*line, color=shade, linewidth=0.8, alpha=0.6 * alpha, zorder=2)
        axis.plot(
            point.x, point.y, marker(point.family), color=shade, alpha=alpha,
            markersize=5.5 if on_front else 4.5,
            markeredgecolor="black" if on_front else "white", markeredgewidth=0.7, zorder=4,
        )  # fmt: skip
    axis.margins(x=0.1, y=0.08)
    floor = floor_of(study.runs, study.quality.name)
    if floor is not None and floor > 0:
        axis.axhline(floor, color=GREY, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
        axis.annotate(
            "real data",
            (0.99, floor),  # below its line: the front is above it
            xycoords=("axes fraction", "data"),
            xytext=(0, -1.5),
            textcoords="offset points",
            ha="right",
            va="top",
            color=GREY,
        )
        axis.set_ylim(bottom=min(axis.get_ylim()[0], 0.7 * floor))
    _draw_front(axis, best)
    plain_ticks(axis, "x")
    if positive:
        plain_ticks(axis, "y")
    left_out = len(collapsed(study))
    note = f", {left_out} collapsed left out" if left_out else ""
    axis.set(xlabel="time of one sample (ms)", ylabel=f"{plain_text(study.quality.name)} (lower is better)")
    axis.set_title(f"{plain_text(study.title)}{note}", loc="left")
    legend(figure, [point.family for point in drawn], 3 if width < 5 else 6)
    shown = _labelled(drawn, best, every=width > 5)
    label_points(axis, [(point.x, point.y, point.name, point.family) for point in shown])
    return figure


def _labelled(drawn: Sequence[Point], best: Sequence[Point], every: bool) -> list[Point]:
    """Return the points that get names: the front, and every baseline or the best one of each family."""
    baselines = [point for point in drawn if point.baseline]
    nearest: dict[str, Point] = {}
    for point in sorted(baselines, key=lambda point: point.y):
        nearest.setdefault(point.family, point)
    named = baselines if every else list(nearest.values())
    return [*best, *(point for point in named if point not in best)]


def points(study: Study) -> list[Point]:
    """Return a point for each configuration that is not collapsed and has a latency and a distance."""
    dead = collapsed(study)
    baselines = {key_of(group) for group in study.baselines()}
    measured = []
    for group in study.ordered:
        seconds, distances = group.values(LATENCY), group.values(study.quality)
        if seconds and distances and key_of(group) not in dead:
            measured.append(
                _point(study, group, [1e3 * s for s in seconds], distances, key_of(group) in baselines)
            )
    return measured


def _point(study: Study, group: Group, x: list[float], y: list[float], baseline: bool) -> Point:
    return Point(
        study.name(group), group.family, statistics.fmean(x), statistics.fmean(y),
        interval(x, logs=min(x) > 0), interval(y, logs=min(y) > 0), baseline,
    )  # fmt: skip


def front_of(drawn: Sequence[Point]) -> list[Point]:
    """Return the points on the front; see :mod:`zoo.comparison.front`."""
    return [drawn[place] for place in front([(point.x, point.y) for point in drawn])]


def _draw_front(axis: Any, best: Sequence[Point]) -> None:
    """Draw the front as steps, with its thickness as a band."""
    if not best:
        return
    limits = axis.get_xlim(), axis.get_ylim()
    steps = sorted((point.x, point.y) for point in best)
    x = [*(x for x, _ in steps), limits[0][1]]
    y = [*(y for _, y in steps), steps[-1][1]]
    axis.step(x, y, where="post", color=RULE, linewidth=0.9, zorder=1)
    for (left, low), high in zip(steps[1:], y[:-2], strict=True):
        axis.fill_betweenx((low, high), left, left * THICKNESS, color=RULE, alpha=0.25, linewidth=0, zorder=0)
    axis.set(xlim=limits[0], ylim=limits[1])
