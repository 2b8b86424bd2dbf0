"""Validation against updates: the mean over seeds, and a band from the least to the largest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.comparison.configurations import Group
from zoo.comparison.figures.marks import curve_kind, curve_mark, meanings
from zoo.comparison.figures.paper.look import (
    DASHES,
    GREY,
    RULE,
    baselines_of,
    canvas,
    colour,
    plain_text,
    plain_ticks,
    wrapped,
)
from zoo.comparison.studies import Study

COLUMNS = {
    "val/bits_per_dim": "validation bits/dim",
    "val/nll": "validation NLL",
    "val/energy_distance": "energy distance",
}
SHAPES = "osD^vP<>Xph"  # markers of matplotlib, one a model; models beyond these have them again, hollow
Band = tuple[Group, np.ndarray, np.ndarray]  # updates (T,), values (seeds, T)


def draw(studies: Sequence[Study], width: float) -> Any:
    """Return the figure of the study with most curves, a panel for each criterion; None without curves."""
    study, panels = max(
        ((study, _panels(study)) for study in studies),
        key=lambda item: sum(map(len, item[1].values())),
        default=(None, {}),
    )
    if study is None or not panels:
        return None
    narrow = width < 5
    count = len(panels)
    rows, columns = (count, 1) if narrow else (1, count)
    drawn = {group.model for bands in panels.values() for group, _, _ in bands}
    absent = [group.model for group in baselines_of(study.baselines()) if group.model not in drawn]
    lines = wrapped(f"{study.title}: mean and range of its seeds", width - 0.55, 8)
    kinds = {curve_kind(group, column) for column, bands in panels.items() for group, _, _ in bands}
    lines += wrapped(meanings(kinds), width - 0.55, 8)
    if absent:
        lines += wrapped(f"without such a curve: {', '.join(absent)}", width - 0.55, 8)
    figure = canvas(width, rows * 1.9 + 0.13 * len(lines))
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis, (column, bands) in zip(axes, panels.items(), strict=True):
        _panel(axis, bands, column)
    axes[0].set_title("\n".join(map(plain_text, lines)), loc="left")
    return figure


def _panels(study: Study) -> dict[str, list[Band]]:
    """Return the bands of each criterion; models of a likelihood share it, GANs have their own."""
    panels: dict[str, list[Band]] = {}
    for group in baselines_of(study.baselines()):
        logged = [run.curves() for run in group.finished]
        for column in COLUMNS:
            lines = [curves[column] for curves in logged if len(curves.get(column, ())) > 1]
            if lines and (band := _band(group, lines)) is not None:
                panels.setdefault(column, []).append(band)
                break
    return {column: panels[column] for column in COLUMNS if column in panels}


def _band(group: Group, lines: Sequence[list[tuple[float, float]]]) -> Band | None:
    """Return a group's curves at the updates of the first seed, up to where the shortest one ends."""
    end = min(line[-1][0] for line in lines)
    x = np.array([updates for updates, value in lines[0] if updates <= end and math.isfinite(value)])
    if len(x) < 2:
        return None
    values = []
    for line in lines:
        points = np.array([point for point in line if math.isfinite(point[1])])
        if len(points) > 1:
            values.append(np.interp(x, points[:, 0], points[:, 1]))
    return (group, x, np.stack(values)) if values else None


def _panel(axis: Any, bands: Sequence[Band], column: str) -> None:
    ends = []
    for place, (group, x, values) in enumerate(bands):
        shade = colour(group.family)
        mean = values.mean(axis=0)
        axis.fill_between(x, values.min(axis=0), values.max(axis=0), color=shade, alpha=0.2, linewidth=0)
        name = plain_text(group.model) + curve_mark(group, column)
        # A dash and a marker of its own for every model of the panel, so that no colour is needed.
        apart = max(1, len(x) // 4)
        look = {"linestyle": DASHES[place % len(DASHES)], "marker": SHAPES[place % len(SHAPES)]}
        look |= {"markersize": 3.2, "markevery": (place * apart // max(1, len(bands)), apart)}
        look |= {"markerfacecolor": "white" if place >= len(SHAPES) else shade, "markeredgewidth": 0.8}
        axis.plot(x, mean, color=shade, label=name, **look)
        ends.append(mean[-1])
    values = np.concatenate([band[2].mean(axis=0)[len(band[1]) // 10 :] for band in bands])
    low, high = float(values.min()), float(np.quantile(values, 0.97))
    if column == "val/energy_distance":
        _scale_distance(axis, min(float(band[2].min()) for band in bands))
    elif high > low:
        axis.set_ylim(low - 0.08 * (high - low), high + 0.12 * (high - low))
    axis.set(xlabel="updates", ylabel=COLUMNS[column])
    handles, labels = axis.get_legend_handles_labels()
    ranked = [i for _, i in sorted(zip(ends, range(len(ends)), strict=True), reverse=True)]
    axis.legend(
        [handles[i] for i in ranked], [labels[i] for i in ranked], loc="center left", bbox_to_anchor=(1, 0.5),
        handlelength=3.0, labelspacing=0.25, borderaxespad=0.3,
    )  # fmt: skip


def _scale_distance(axis: Any, least: float) -> None:
    """Make the axis of a distance logarithmic.

    An unbiased estimate of a small distance may be zero or less. The axis is then linear around zero, as far
    as the estimates fall below it, rounded up, so that a band is drawn in full.

    Args:
        axis: with its lines and bands.
        least: of all values.
    """
    if least > 0:
        axis.set_yscale("log")
        plain_ticks(axis, "y")
        return
    power = 10.0 ** math.floor(math.log10(-least or 1e-3))
    linear = next(step * power for step in (1, 2, 5, 10) if step * power >= -least)
    axis.set_yscale("symlog", linthresh=linear, linscale=0.7)
    if (high := axis.get_ylim()[1]) > linear:
        axis.axhline(linear, color=RULE, linewidth=0.6, linestyle=":", zorder=0)
        where = {"transform": axis.get_yaxis_transform(), "ha": "left", "va": "top"}
        axis.text(0.02, linear, "linear below", fontsize=6.5, color=GREY, **where)
        beyond = range(math.ceil(math.log10(linear) + 1e-9), math.floor(math.log10(high)) + 1)
        ticks = [0.0, linear, *(10.0**exponent for exponent in beyond)]
        axis.set_yticks(ticks, [f"{tick:,.4g}" for tick in ticks])
