"""Densities of models on the plane beside the histogram of the data, on one scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.comparison.collect import Run
from zoo.comparison.figures.maps import BRIGHT
from zoo.comparison.figures.marks import meanings
from zoo.comparison.figures.paper.look import baselines_of, canvas, ink, plain_text, text_width, wrapped
from zoo.comparison.metrics import divergence_of
from zoo.comparison.studies import Study, nearest
from zoo.comparison.tables.cells import KIND_MARKS, number
from zoo.record import DENSITY

LARGEST, LEAST = 1.3, 0.45  # inches of the side of a picture
ROOMY = 0.6  # inches of a side on which a number has four digits; on a smaller one it has two
GAP = 0.09  # inches between pictures, which the layout takes
LABEL = 1.3  # inches of a line of a label, at most; a longer label has several
DARK = {"facecolor": "black", "alpha": 0.7, "pad": 0.6, "linewidth": 0}  # below a number on bright colours
Row = tuple[str, np.ndarray, dict[str, tuple[Run, np.ndarray]]]  # data, histogram, density by model


@dataclass(frozen=True)
class Layout:
    """How the pictures of several data sets lie.

    Attributes:
        across: whether the data sets are the columns and the models the rows; else the other way round.
        columns: number of columns; where there is more to show, all rows are repeated below.
        side: of a picture, in inches.
        upright: whether the names above the columns are.
        height: of the figure, in inches.
    """

    across: bool
    columns: int
    side: float
    upright: bool
    height: float


def draw(studies: Sequence[Study], width: float) -> Any:
    """Return the figure of the data sets with densities; None without any.

    Models are the rows where the figure is wide or has few data sets; they change places with the data sets
    where only that leaves pictures of :data:`LEAST`. Where neither does, the columns are continued below the
    last row, in the arrangement that is lower. One data set alone has a picture for each model, in lines.
    """
    rows = sorted(
        (row for study in studies if (row := _row(study)) is not None),
        key=lambda row: row[0],
    )
    if not rows:
        return None
    order = {run.record.model: run for row in rows for run, _ in row[2].values()}
    runs = sorted(order.values(), key=lambda run: (run.record.family, run.record.model))
    if len(rows) == 1:
        return _alone(rows[0], runs, width)
    names = ([row[0] for row in rows], ["data", *(run.record.model for run in runs)])
    across = width > 5 or len(rows) <= 4
    layouts = [_layout(*names, where, width) for where in (across, not across)]
    whole = [one for one in layouts if one.columns == len(names[0] if one.across else names[1])]
    return _drawn(rows, runs, whole[0] if whole else min(layouts, key=lambda one: one.height), width)


def _layout(data: Sequence[str], models: Sequence[str], across: bool, width: float) -> Layout:
    """Return the layout with as few lines of columns as leave pictures of :data:`LEAST`."""
    down, along = (models, data) if across else (data, models)
    room = width - _length(down)
    lines = math.ceil(len(along) / max(1, int(room / (LEAST + GAP) + 1e-9)))
    columns = math.ceil(len(along) / lines)
    side = min(room / columns - GAP, LARGEST)
    upright = _length(along) > side + GAP
    height = lines * ((side + GAP) * len(down) + (_length(along) if upright else 0.25))
    return Layout(across, columns, side, upright, height)


def _drawn(rows: Sequence[Row], runs: Sequence[Run], layout: Layout, width: float) -> Any:
    """Return the figure of a picture for each model and data set."""
    models = [run.record.model for run in runs]
    names = (
        [(row[0], "black") for row in rows],
        [("data", ink("")), *((m.record.model, ink(m.record.family)) for m in runs)],
    )
    along, down = names if layout.across else names[::-1]
    lines = math.ceil(len(along) / layout.columns)
    figure = _canvas(rows, width, layout.height)
    grid = figure.subplots(lines * len(down), layout.columns, squeeze=False)

    def at(column: int, row: int) -> Any:
        """Return the axes of the picture in a row and a column of the table, before it is continued below."""
        return grid[column // layout.columns * len(down) + row, column % layout.columns]

    for place, row in enumerate(rows):
        others = range(len(models) + 1)
        axes = [at(place, other) if layout.across else at(other, place) for other in others]
        _pictures(axes, row, models, layout.side)
    for column, (name, shade) in enumerate(along):
        _label(at(column, 0), name, shade, True, layout.upright)
    for place, (name, shade) in enumerate(down):
        for first in range(0, len(along), layout.columns):
            _label(at(first, place), name, shade, False, False)
        for empty in range(len(along), lines * layout.columns):
            at(empty, place).axis("off")
    return figure


def _alone(row: Row, runs: Sequence[Run], width: float) -> Any:
    """Return the figure of one data set: its histogram and the models' densities, in lines."""
    columns = min(len(runs) + 1, 3 if width < 5 else 6)
    side = min(width / columns - GAP, LARGEST)
    names = [row[0], *(run.record.model for run in runs)]
    titles = [wrapped(name, side, 7) for name in names]
    height = -(-len(names) // columns)
    figure = _canvas([row], width, height * (side + GAP + 0.15 * max(map(len, titles))))
    axes = figure.subplots(height, columns, squeeze=False).flatten()
    _pictures(axes, row, names[1:], side)
    inks = ["black", *(ink(run.record.family) for run in runs)]
    for axis, title, shade in zip(axes, titles, inks, strict=False):
        axis.set_title("\n".join(map(plain_text, title)), color=shade, fontsize=7)
    return figure


def _canvas(rows: Sequence[Row], width: float, height: float) -> Any:
    """Return a figure with room for its pictures, and below them what the numbers on them are."""
    runs = [run for _, _, found in rows for run, _ in found.values() if divergence_of(run) is not None]
    if not runs:
        return canvas(width, height)
    marked = meanings(run.record.metrics["kl"].kind for run in runs)
    words = "; ".join(filter(None, ["in a corner: KL from the data, nats", marked]))
    lines = wrapped(words, width - 0.15, 7)
    figure = canvas(width, height + 0.06 + 0.12 * len(lines))
    figure.supxlabel("\n".join(map(plain_text, lines)), x=0.01, ha="left", fontsize=7)
    return figure


def _pictures(axes: Sequence[Any], row: Row, models: Sequence[str], side: float) -> None:
    """Draw the data's histogram on the first axis and the density of each model on the others."""
    _, histogram, found = row
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    top = float(np.quantile(histogram[histogram > 0], BRIGHT))
    look = {"origin": "lower", "cmap": "magma", "vmin": 0.0, "vmax": top, "interpolation": "nearest"}
    axes[0].imshow(histogram, rasterized=True, **look)
    for axis, model in zip(axes[1:], models, strict=False):
        if model not in found:
            continue
        run, density = found[model]
        axis.imshow(np.nan_to_num(density, posinf=top), rasterized=True, **look)
        if (divergence := divergence_of(run)) is not None:
            mark = KIND_MARKS.get(run.record.metrics["kl"].kind, "")
            told = mark + (number(divergence) if side > ROOMY else f"{divergence:.2g}")
            axis.text(
                0.97, 0.03, told, transform=axis.transAxes, ha="right", va="bottom",
                color="white", fontsize=5.5, bbox=DARK,
            )  # fmt: skip


def _length(names: Sequence[str]) -> float:
    """Return the inches that the longest line of some labels takes, with a margin."""
    return 0.15 + max(text_width(line, 7) for name in names for line in wrapped(name, LABEL, 7))


def _label(axis: Any, name: str, shade: str, above: bool, upright: bool) -> None:
    """Write a name above a picture, upright where it would run into the next one, or at its left."""
    text = "\n".join(map(plain_text, wrapped(name, LABEL, 7)))
    if above:
        axis.set_title(text, color=shade, fontsize=7, rotation=90 if upright else 0)
    else:
        axis.set_ylabel(text, color=shade, fontsize=7, rotation=0, ha="right", va="center")


def _row(study: Study) -> Row | None:
    """Return a study's histogram and the density of each model's configuration of least divergence."""
    densities: dict[str, tuple[Run, np.ndarray]] = {}
    histogram = None
    for group in baselines_of(study.baselines()):
        runs = [run for other in study.of(group.model) for run in other.finished]
        for run in nearest(runs) if runs else []:
            arrays = run.arrays(DENSITY)
            if arrays is not None and {"density", "data"} <= arrays.keys():
                densities[group.model] = (run, arrays["density"].astype(np.float32))
                histogram = arrays["data"].astype(np.float32)
                break
    return None if histogram is None else (study.label, histogram, densities)
