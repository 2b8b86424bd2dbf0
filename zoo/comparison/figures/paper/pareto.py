"""What judges the models against the time of one sample: means with 95 % intervals, and the front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zoo.comparison.criterion import criterion_of, kind_of
from zoo.comparison.figures.paper.look import (
    DASHES,
    GREY,
    RULE,
    canvas,
    colour,
    filling,
    label_points,
    legend,
    marker,
    plain_text,
    plain_ticks,
    quantity_name,
    wrapped,
)
from zoo.comparison.front import THICKNESS, front
from zoo.comparison.guards import collapsed, floor_of, key_of
from zoo.comparison.quantities import LATENCY
from zoo.comparison.recommend.answer import Number
from zoo.comparison.recommend.numbers import number_of
from zoo.comparison.recommend.timed import elsewhere
from zoo.comparison.studies import Study
from zoo.comparison.tables.cells import KIND_WORDS


@dataclass(frozen=True)
class Point:
    """A configuration: mean and interval of its latency in milliseconds, and of what judges it.

    The interval of one seed is that of its evaluation. ``kind`` is that of a likelihood, else empty.
    """

    name: str
    family: str
    kind: str
    x: float
    y: float
    x_ends: tuple[float, float] | None
    y_ends: tuple[float, float] | None
    baseline: bool


def draw(studies: Sequence[Study], width: float) -> Any:
    """Return the figure of the study with most points; None without points."""
    measured = [(study, points(study)) for study in studies]
    study, drawn = max(measured, key=lambda item: len(item[1]), default=(None, []))
    if study is None or not drawn or (criterion := criterion_of(study)) is None:
        return None
    kinds = sorted({point.kind for point in drawn}, key=["", "exact", *KIND_WORDS, "mixed", "none"].index)
    figure = canvas(width, min(0.78 * width, 3.6) + 0.15 * any(kinds))
    axis = figure.subplots()
    positive = all(point.y > 0 and (point.y_ends is None or point.y_ends[0] > 0) for point in drawn)
    axis.set(xscale="log", yscale="log" if positive else "linear")
    best = front_of(drawn)
    for point in drawn:
        on_front = point in best
        shade, alpha = colour(point.family), 0.35 if _is_pale(point, best) else 1.0
        for ends, vertical in ((point.x_ends, False), (point.y_ends, True)):
            if ends is not None:
                line = ((point.x, point.x), ends) if vertical else (ends, (point.y, point.y))
                axis.plot(*line, color=shade, linewidth=0.8, alpha=0.6 * alpha, zorder=2)
        shape, size = marker(point.family), 5.0 if on_front else 4.2
        if on_front:
            axis.plot(point.x, point.y, shape, color="black", markersize=size + 1.7, zorder=3)
        look = filling(point.kind, shade)
        axis.plot(
            point.x, point.y, shape, alpha=alpha, markersize=size, markeredgewidth=0.8, zorder=4, **look
        )
    axis.margins(x=0.1, y=0.08)
    floor = floor_of(study.runs, criterion.name)
    if floor is not None and (floor > 0 or not positive):
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
        if positive:
            axis.set_ylim(bottom=min(axis.get_ylim()[0], 0.7 * floor))
    for kind in kinds:
        _draw_front(axis, [point for point in best if point.kind == kind], DASHES[kinds.index(kind)])
    plain_ticks(axis, "x")
    if positive:
        plain_ticks(axis, "y")
    notes = [study.title, *_left_out(study)]
    if any(_is_pale(point, best) for point in drawn):
        notes.append("pale: other settings of these models")
    if len(kinds) > 1:
        notes.append("a front for each kind of likelihood")
    axis.set(xlabel="time of one sample (ms)")
    name, room = quantity_name(criterion.name), 0.65 * figure.get_figheight()
    words = wrapped(f"{name}, lower is better", room, 7.5)
    words = words if len(words) == 1 else [*wrapped(name, room, 7.5), "(lower is better)"]
    axis.set_ylabel("\n".join(map(plain_text, words)))
    axis.set_title("\n".join(map(plain_text, wrapped("; ".join(notes), width - 0.7, 8))), loc="left")
    columns = 3 if width < 5 else 6
    legend(figure, [point.family for point in drawn], columns, [kind for kind in kinds if kind])
    shown = _labelled(drawn, best, every=width > 5)
    label_points(
        axis,
        [(point.x, point.y, point.name, point.family) for point in shown],
        [(point.x, point.y) for point in drawn if point not in shown],
    )
    return figure


def _is_pale(point: Point, best: Sequence[Point]) -> bool:
    """Whether a point is neither on the front nor stands for its model."""
    return not point.baseline and point not in best


def _left_out(study: Study) -> list[str]:
    """Return in words how many configurations are not drawn, and why."""
    apart = sum(bool(elsewhere(study, group, LATENCY)) for group in study.groups)
    counts = ((len(collapsed(study)), "collapsed"), (apart, "timed on another device"))
    return [f"{count} {why} left out" for count, why in counts if count]


def _labelled(drawn: Sequence[Point], best: Sequence[Point], every: bool) -> list[Point]:
    """Return the points that get names: the front, and every baseline or the best one of each family."""
    baselines = [point for point in drawn if point.baseline]
    nearest: dict[tuple[str, str], Point] = {}
    for point in sorted(baselines, key=lambda point: point.y):
        nearest.setdefault((point.family, point.kind), point)
    named = baselines if every else list(nearest.values())
    return [*best, *(point for point in named if point not in best)]


def points(study: Study) -> list[Point]:
    """Return a point for each configuration that has a latency and what judges it.

    Left out are those that collapsed, and those that were timed on another device than most.
    """
    criterion, dead = criterion_of(study), collapsed(study)
    if criterion is None:
        return []
    baselines = {key_of(group) for group in study.baselines()}
    measured = []
    for group in study.ordered:
        kind = kind_of(group, criterion)
        x, y = number_of(study, group, LATENCY), number_of(study, group, criterion, kind)
        if x is None or y is None or key_of(group) in dead or elsewhere(study, group, LATENCY):
            continue
        name, baseline = study.name(group), key_of(group) in baselines
        x_ends, y_ends = _ends(x, 1e3), _ends(y)
        measured.append(Point(name, group.family, kind, 1e3 * x.mean, y.mean, x_ends, y_ends, baseline))
    return measured


def _ends(number: Number, factor: float = 1.0) -> tuple[float, float] | None:
    """Return the interval of a number; None without one."""
    if number.low is None or number.high is None:
        return None
    return factor * number.low, factor * number.high


def front_of(drawn: Sequence[Point]) -> list[Point]:
    """Return the points on the front; see :mod:`zoo.comparison.front`."""
    return [
        drawn[place]
        for place in front([(point.x, point.y) for point in drawn], [point.kind for point in drawn])
    ]


def _draw_front(axis: Any, best: Sequence[Point], dash: Any) -> None:
    """Draw the front of one kind as steps, with its thickness as a band."""
    if not best:
        return
    limits = axis.get_xlim(), axis.get_ylim()
    steps = sorted((point.x, point.y) for point in best)
    x = [*(x for x, _ in steps), limits[0][1]]
    y = [*(y for _, y in steps), steps[-1][1]]
    axis.step(x, y, where="post", color=RULE, linewidth=0.9, linestyle=dash, zorder=1)
    for (left, low), high in zip(steps[1:], y[:-2], strict=True):
        axis.fill_betweenx((low, high), left, left * THICKNESS, color=RULE, alpha=0.25, linewidth=0, zorder=0)
    axis.set(xlim=limits[0], ylim=limits[1])
