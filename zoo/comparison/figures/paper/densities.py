"""Densities of models on the plane beside the histogram of the data, on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.comparison.collect import Run
from zoo.comparison.figures.maps import BRIGHT
from zoo.comparison.figures.paper.look import baselines_of, canvas, ink, plain_text
from zoo.comparison.metrics import divergence_of
from zoo.comparison.studies import Study, nearest
from zoo.comparison.tables.cells import KIND_MARKS, number
from zoo.errors import ZooError
from zoo.record import DENSITY

LARGEST, LEAST = 1.3, 0.45  # inches of the side of a picture
ROOMY = 0.6  # inches of a side on which a number has four digits; on a smaller one it has two
GAP = 0.09  # inches between pictures, which the layout takes
LETTER = 0.062  # inches of a letter of a label
DARK = {"facecolor": "black", "alpha": 0.7, "pad": 0.6, "linewidth": 0}  # below a number on bright colours
Row = tuple[str, np.ndarray, dict[str, tuple[Run, np.ndarray]]]  # data, histogram, density by model


def draw(studies: Sequence[Study], width: float) -> Any:
    """Return the figure of all data sets with densities; None without any.

    Models are the rows where the figure is wide or has few data sets, so that the pictures stay large; they
    change places with the data sets where only that leaves pictures of :data:`LEAST`.

    Raises:
        ZooError: neither does.
    """
    rows = [row for study in studies if (row := _row(study)) is not None]
    if not rows:
        return None
    rows.sort(key=lambda row: row[0])
    order = {run.record.model: run for row in rows for run, _ in row[2].values()}
    runs = sorted(order.values(), key=lambda run: (run.record.family, run.record.model))
    models = [run.record.model for run in runs]
    data_names, model_names = [row[0] for row in rows], ["data", *models]
    preferred = width > 5 or len(rows) <= 4
    for across in (preferred, not preferred):
        down, along = (model_names, data_names) if across else (data_names, model_names)
        side = min((width - _length(down)) / len(along) - GAP, LARGEST)
        if side >= LEAST:
            break
    else:
        wider = "" if width > 5 else "give --width page, or "
        raise ZooError(
            f"{len(models)} models on {len(rows)} data sets leave less than {LEAST} inches for a picture of "
            f"the figure 'densities' at this width; {wider}name one data set with --data."
        )
    height, wide = len(down), len(along)
    upright = _length(along) > side + GAP
    figure = canvas(width, (side + GAP) * height + (_length(along) if upright else 0.25))
    grid = figure.subplots(height, wide, squeeze=False)
    for axis in grid.flatten():
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for at, (data, histogram, found) in enumerate(rows):
        axes = grid[:, at] if across else grid[at]
        top = float(np.quantile(histogram[histogram > 0], BRIGHT))
        look = {"origin": "lower", "cmap": "magma", "vmin": 0.0, "vmax": top, "interpolation": "nearest"}
        axes[0].imshow(histogram, rasterized=True, **look)
        _label(axes[0], plain_text(data), "black", across, upright)
        for axis, model in zip(axes[1:], models, strict=True):
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
    heads = grid[:, 0] if across else grid[0]
    for axis, name, family in zip(
        heads, ["data", *models], ["", *(run.record.family for run in runs)], strict=True
    ):
        _label(axis, plain_text(name), ink(family), not across, upright)
    return figure


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
