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
from zoo.record import DENSITY

LARGEST = 1.3  # inches of the side of a picture
DARK = {"facecolor": "black", "alpha": 0.7, "pad": 0.6, "linewidth": 0}  # below a number on bright colours
Row = tuple[str, np.ndarray, dict[str, tuple[Run, np.ndarray]]]  # data, histogram, density by model


def draw(studies: Sequence[Study], width: float) -> Any:
    """Return the figure of all data sets with densities; None without any.

    Models are the rows where there are more models than data sets, so that the pictures stay large.
    """
    rows = [row for study in studies if (row := _row(study)) is not None]
    if not rows:
        return None
    rows.sort(key=lambda row: row[0])
    order = {run.record.model: run for row in rows for run, _ in row[2].values()}
    runs = sorted(order.values(), key=lambda run: (run.record.family, run.record.model))
    models = [run.record.model for run in runs]
    across = width > 5 or len(rows) <= 4
    height, wide = (len(models) + 1, len(rows)) if across else (len(rows), len(models) + 1)
    side = min((width - 0.75) / wide, LARGEST)
    figure = canvas(width, side * height + 0.25)
    grid = figure.subplots(height, wide, squeeze=False)
    for axis in grid.flatten():
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for at, (data, histogram, found) in enumerate(rows):
        axes = grid[:, at] if across else grid[at]
        top = float(np.quantile(histogram[histogram > 0], BRIGHT))
        look = {"origin": "lower", "cmap": "magma", "vmin": 0.0, "vmax": top, "interpolation": "nearest"}
        axes[0].imshow(histogram, rasterized=True, **look)
        label = axes[0].set_title if across else axes[0].set_ylabel
        label(plain_text(data), fontsize=7)
        for axis, model in zip(axes[1:], models, strict=True):
            if model not in found:
                continue
            run, density = found[model]
            axis.imshow(np.nan_to_num(density, posinf=top), rasterized=True, **look)
            if (divergence := divergence_of(run)) is not None:
                told = KIND_MARKS.get(run.record.metrics["kl"].kind, "") + number(divergence)
                axis.text(
                    0.97, 0.03, told, transform=axis.transAxes, ha="right", va="bottom",
                    color="white", fontsize=5.5, bbox=DARK,
                )  # fmt: skip
    heads = grid[:, 0] if across else grid[0]
    for axis, name, family in zip(
        heads, ["data", *models], ["", *(run.record.family for run in runs)], strict=True
    ):
        if across:
            axis.set_ylabel(plain_text(name), rotation=0, ha="right", va="center", color=ink(family))
        else:
            axis.set_title(plain_text(name), color=ink(family), fontsize=7)
    return figure


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
