"""Learning curves: validation against updates, or against seconds of training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group, settings
from zoo.comparison.figures.marks import curve_kind, curve_mark, meanings
from zoo.comparison.figures.paper.look import DASHES
from zoo.comparison.figures.select import at_most
from zoo.comparison.figures.style import canvas, colour, explain, plain_text

LINES = 500  # most lines in one figure
Lines = list[tuple[Run, str, list[tuple[float, float]]]]  # run, name of the curve, its points
Panels = dict[str, Lines]  # by title


def curves(runs: Sequence[Run]) -> Any:
    """Return a figure of validation against updates. Likelihoods share a panel; other criteria cannot."""
    panels: Panels = {}
    several = _several(runs)
    for run in at_most(runs, LINES):
        where, logged = _where(run, several), run.curves()
        model = plain_text(run.record.model)
        for column, title in (
            ("val/bits_per_dim", f"validation bits/dim{where}"),
            ("val/loss", f"validation loss of {model}{where}"),
            ("val/energy_distance", f"validation energy distance{where}"),
            ("train/loss", f"training loss of {model}{where}"),
        ):
            if logged.get(column):
                panels.setdefault(title, []).append((run, column, logged[column]))
                break
    return _figure(panels, "updates")


def clock(runs: Sequence[Run]) -> Any:
    """Return a figure of validation likelihood against seconds, of runs with a budget of seconds."""
    panels: Panels = {}
    several = _several(runs)
    timed = [run for run in runs if settings(run).get("training.max_seconds")]
    for run in at_most(timed, LINES):
        logged = run.curves("update_seconds")
        for column, unit in (("val/bits_per_dim", "bits/dim"), ("val/nll", "nats/dim")):
            if logged.get(column):
                title = f"validation {unit}{_where(run, several)}"
                panels.setdefault(title, []).append((run, column, logged[column]))
                break
    return _figure(panels, "seconds of training")


def _several(runs: Sequence[Run]) -> bool:
    """Whether there are several data sets."""
    return len({run.data for run in runs}) > 1


def _where(run: Run, several: bool) -> str:
    """Return the data set as a part of a title, where there are several."""
    return f", {plain_text(run.data)}" if several else ""


def _figure(panels: Panels, x: str) -> Any:
    """Return a figure with the panels that have a curve: two finite points or more."""
    panels = {
        title: lines
        for title, every in panels.items()
        if (lines := [line for line in every if sum(math.isfinite(value) for _, value in line[2]) > 1])
    }
    if not panels:
        return None
    titles = sorted(panels, key=lambda title: (not title.startswith("validation bits/dim"), title))
    columns = min(3, len(titles))
    rows = math.ceil(len(titles) / columns)
    figure = canvas(4.6 * columns, 2.9 * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).flatten()
    for axis, title in zip(axes, titles, strict=False):
        _draw(axis, panels[title])
        if title.startswith("validation"):
            _cut_off(axis, panels[title])
        axis.set(title=title, xlabel=x)
        axis.title.set_fontsize(9)
        axis.grid(alpha=0.25)
        axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1), handlelength=2.6, edgecolor="none")
    for axis in axes[len(titles) :]:
        axis.axis("off")
    kinds = {
        curve_kind(Group(run.record.model, [run]), column)
        for lines in panels.values()
        for run, column, _ in lines
    }
    if words := meanings(kinds):
        explain(figure, f"behind a name: {words}")
    return figure


def _mark(run: Run, column: str) -> str:
    """Return the mark of the kind of a curve's likelihood; empty for other curves."""
    return curve_mark(Group(run.record.model, [run]), column)


def _draw(axis: Any, lines: Lines) -> None:
    """Draw curves in the colour of the family; a model of a kind has its own dashes and one legend entry."""
    order: dict[str, dict[str, int]] = {}
    legend: set[str] = set()
    for run, column, curve in lines:
        family = run.record.family
        name = plain_text(run.record.model) + _mark(run, column)
        index = order.setdefault(family, {}).setdefault(name, len(order[family]))
        label = "_" if name in legend else name
        legend.add(name)
        dash = DASHES[index % len(DASHES)]
        look = {"linestyle": dash, "color": colour(family), "label": label, "linewidth": 1.4}
        axis.plot(*zip(*curve, strict=True), **look)


def _cut_off(axis: Any, lines: Lines) -> None:
    """Limit an axis to all but the highest tenth of the values, which are of the first updates."""
    values = sorted(value for *_, curve in lines for _, value in curve if math.isfinite(value))
    if len(values) > 4:
        top = values[int(0.9 * (len(values) - 1))]
        span = top - values[0] + 1e-9
        axis.set_ylim(values[0] - 0.05 * span, top + 0.1 * span)
