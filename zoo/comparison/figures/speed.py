"""Seconds per sample against what judges the models: a distance to the data, or a divergence."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group, by_configuration
from zoo.comparison.criterion import criterion_of, kind_of
from zoo.comparison.figures.marks import MARKS, meanings
from zoo.comparison.figures.style import PAPER, canvas, colour, explain, plain_text
from zoo.comparison.quantities import THROUGHPUT, Quantity
from zoo.comparison.studies import studies
from zoo.comparison.tables.cells import number
from zoo.comparison.words import metric_name

NAMES = 25  # most points of a panel that all get names; with more, only the best of each model does


@dataclass
class Point:
    """A configuration in the plane of speed and quality: means over its seeds."""

    seconds: float
    distance: float
    model: str
    label: str
    family: str
    kind: str = ""  # of a likelihood that judges it


def speed_vs_quality(runs: Sequence[Run]) -> Any:
    """Return a figure of seconds per sample, at the best batch, against what judges the models.

    Each data set and protocol has a panel.
    """
    panels = []
    for study in studies(runs):
        criterion = criterion_of(study)
        if criterion is not None and (drawn := points(study.runs, criterion)):
            panels.append((study.label, criterion.name, drawn, study.runs))
    if not panels:
        return None
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = canvas(6.4 * columns, 4.2 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis, (data, name, drawn, members) in zip(axes, panels, strict=False):
        if len(panels) > 1:
            axis.set_title(plain_text(data), fontsize=9)
        floors = [m.details.get("floor") for run in members if (m := run.record.metrics.get(name))]
        _panel(axis, name, drawn, next((floor for floor in floors if floor is not None), None))
    for axis in axes[len(panels) :]:
        axis.axis("off")
    if words := meanings(point.kind for _, _, drawn, _ in panels for point in drawn):
        explain(figure, f"behind a name: {words}")
    figure.draw_without_rendering()
    for axis, (_, _, drawn, _) in zip(axes, panels, strict=False):
        _label(axis, drawn if len(drawn) <= NAMES else best(drawn))
    return figure


def points(runs: Sequence[Run], criterion: Quantity) -> list[Point]:
    """Return a point for each configuration that has a speed and the quantity that judges it."""
    drawn = []
    for group in by_configuration(runs).values():
        values = [value for run in group if (value := criterion.of(run.record)) is not None]
        speeds = [speed for run in group if (speed := THROUGHPUT.of(run.record) or 0.0) > 0]
        if values and speeds:
            record, kind = group[0].record, kind_of(Group(group[0].record.model, group), criterion)
            label = textwrap.fill(plain_text(group[0].name), 26) + MARKS.get(kind, "")
            where = (1 / statistics.fmean(speeds), statistics.fmean(values))
            drawn.append(Point(*where, record.model, label, record.family, kind))
    return drawn


def best(points: Sequence[Point]) -> list[Point]:
    """Return each model's point that is nearest to the data."""
    nearest: dict[str, Point] = {}
    for point in sorted(points, key=lambda point: point.distance):
        nearest.setdefault(point.model, point)
    return list(nearest.values())


def _panel(axis: Any, name: str, points: Sequence[Point], floor: float | None) -> None:
    axis.set(xscale="log", yscale="log" if all(p.distance > 0 for p in points) else "linear")
    for family in dict.fromkeys(p.family for p in points):
        places = [(p.seconds, p.distance) for p in points if p.family == family]
        look = {"color": colour(family), "label": plain_text(family), "edgecolors": PAPER}
        axis.scatter(*zip(*places, strict=True), s=42, zorder=3, **look)
    axis.margins(x=0.14, y=0.1)
    if floor is not None and (floor > 0 or axis.get_yscale() == "linear"):
        axis.axhline(floor, color="#888888", linewidth=1, linestyle="--", zorder=1)
        where = ("axes fraction", "data")
        text = f"real data, {number(floor)}"
        axis.annotate(text, (0.995, floor), xycoords=where, ha="right", va="bottom", fontsize=8)
    axis.set(xlabel="seconds per sample, at the best batch (left is faster)")
    axis.set(ylabel=f"{plain_text(metric_name(name))}, lower is better")
    axis.grid(alpha=0.25, which="major")
    axis.legend(fontsize=8, loc="best", framealpha=0.9, edgecolor="none")


def _label(axis: Any, points: Sequence[Point]) -> None:
    """Write names beside their points, each on the side where the fewest other points and names are."""
    taken = [tuple(axis.transData.transform((p.seconds, p.distance))) for p in points]
    for point in sorted(points, key=lambda p: -p.distance):
        px, py = axis.transData.transform((point.seconds, point.distance))
        lines = point.label.split("\n")
        half = 3.4 * max(map(len, lines))  # half of the width in pixels, about, at 100 dots an inch
        tall = 5.5 * (len(lines) - 1)
        places = ((half + 9, 0.0), (-half - 9, 0.0), (0.0, 13.0 + tall), (0.0, -13.0 - tall))
        crowds = [
            sum(abs(px + dx - a) < half + 8 and abs(py + dy - b) < 11 + tall for a, b in taken)
            for dx, dy in places
        ]
        dx, dy = places[crowds.index(min(crowds))]
        taken += [(px + dx, py + dy), (px + dx - half, py + dy), (px + dx + half, py + dy)]
        axis.annotate(
            point.label, (point.seconds, point.distance), xytext=(0.72 * dx, 0.72 * dy),
            textcoords="offset points", fontsize=8, ha="center", va="center",
        )  # fmt: skip
