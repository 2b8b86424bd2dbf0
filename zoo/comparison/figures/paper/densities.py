"""Densities of models on the plane beside the histogram of the data, on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.comparison.collect import Run
from zoo.comparison.figures.maps import BRIGHT
from zoo.comparison.figures.paper.look import GREY, baselines_of, canvas, ink, plain_text, wrapped
from zoo.comparison.metrics import divergence_of
from zoo.comparison.studies import Study, nearest
from zoo.comparison.tables.cells import KIND_MARKS, number
from zoo.record import DENSITY

LARGEST, LEAST = 1.3, 0.45  # inches of the side of a picture
ROOMY = 0.6  # inches of a side on which a number has four digits; on a smaller one it has two
GAP = 0.09  # inches between pictures, which the layout takes
LETTER = 0.062  # inches of a letter of a label
DARK = {"facecolor": "black", "alpha": 0.7, "pad": 0.6, "linewidth": 0}  # below a number on bright colours
Row = tuple[str, np.ndarray, dict[str, tuple[Run, np.ndarray]]]  # data, histogram, density by model


def draw(studies: Sequence[Study], width: float) -> Any:
    """Return the figure of the data sets with densities; None without any.

    Models are the rows where the figure is wide or has few data sets, so that the pictures stay large; they
    change places with the data sets where only that leaves pictures of :data:`LEAST`. Where neither does, it
    shows the data sets with most runs, as many as fit, and names the others below. One data set alone has a
    picture for each model, in lines.
    """
    rows = [row for study in studies if (row := _row(study)) is not None]
    if not rows:
        return None
    order = {run.record.model: run for row in rows for run, _ in row[2].values()}
    runs = sorted(order.values(), key=lambda run: (run.record.family, run.record.model))
    model_names = ["data", *(run.record.model for run in runs)]
    across = width > 5 or len(rows) <= 4
    if _side(rows, model_names, across, width) < LEAST <= _side(rows, model_names, not across, width):
        across = not across
    left_out: list[str] = []
    while _side(rows, model_names, across, width) < LEAST and len(rows) > 1:
        across = True
        *rows, last = rows
        left_out.insert(0, last[0])
    told = f"without, for want of room: {', '.join(left_out)}; --data names one" if left_out else ""
    lines = wrapped(told, width - 0.25, 6.5)
    if len(rows) == 1:
        return _alone(rows[0], runs, lines, width)
    rows.sort(key=lambda row: row[0])
    side = min(_side(rows, model_names, across, width), LARGEST)
    return _drawn(rows, runs, lines, across, side, width)


def _side(rows: Sequence[Row], models: Sequence[str], across: bool, width: float) -> float:
    """Return the inches for the side of a picture, with the data sets across or down."""
    data = [row[0] for row in rows]
    down, along = (models, data) if across else (data, models)
    return (width - _length(down)) / len(along) - GAP


def _drawn(
    rows: Sequence[Row], runs: Sequence[Run], lines: Sequence[str], across: bool, side: float, width: float
) -> Any:
    """Return the figure of a picture for each model and data set."""
    models = [run.record.model for run in runs]
    data_names, model_names = [row[0] for row in rows], ["data", *models]
    down, along = (model_names, data_names) if across else (data_names, model_names)
    upright = _length(along) > side + GAP
    height = (side + GAP) * len(down) + (_length(along) if upright else 0.25) + 0.14 * len(lines)
    figure = canvas(width, height)
    _say(figure, lines)
    grid = figure.subplots(len(down), len(along), squeeze=False)
    for at, row in enumerate(rows):
        axes = grid[:, at] if across else grid[at]
        _pictures(axes, row, models, side)
        _label(axes[0], plain_text(row[0]), "black", across, upright)
    heads = grid[:, 0] if across else grid[0]
    for axis, name, family in zip(
        heads, ["data", *models], ["", *(run.record.family for run in runs)], strict=True
    ):
        _label(axis, plain_text(name), ink(family), not across, upright)
    return figure


def _alone(row: Row, runs: Sequence[Run], lines: Sequence[str], width: float) -> Any:
    """Return the figure of one data set: its histogram and the models' densities, in lines."""
    columns = min(len(runs) + 1, 3 if width < 5 else 6)
    side = min(width / columns - GAP, LARGEST)
    names = [row[0], *(run.record.model for run in runs)]
    titles = [wrapped(name, side, 7) for name in names]
    height = -(-len(names) // columns)
    figure = canvas(width, height * (side + GAP + 0.15 * max(map(len, titles))) + 0.14 * len(lines))
    _say(figure, lines)
    axes = figure.subplots(height, columns, squeeze=False).flatten()
    _pictures(axes, row, names[1:], side)
    inks = ["black", *(ink(run.record.family) for run in runs)]
    for axis, title, shade in zip(axes, titles, inks, strict=False):
        _label(axis, "\n".join(map(plain_text, title)), shade, True, False)
    return figure


def _say(figure: Any, lines: Sequence[str]) -> None:
    if lines:
        figure.supxlabel("\n".join(map(plain_text, lines)), fontsize=6.5, color=GREY)


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
    """Return the inches that the longest of some labels takes, a little more than it needs."""
    return 0.15 + LETTER * max(map(len, names))


def _label(axis: Any, name: str, shade: str, above: bool, upright: bool) -> None:
    """Write a name above a picture, upright where it would run into the next one, or at its left."""
    if above:
        axis.set_title(name, color=shade, fontsize=7, rotation=90 if upright else 0)
    else:
        axis.set_ylabel(name, color=shade, fontsize=7, rotation=0, ha="right", va="center")


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
