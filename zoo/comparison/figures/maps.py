"""Densities of models on the plane beside the histogram of the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.comparison.collect import Run
from zoo.comparison.figures.marks import meanings
from zoo.comparison.figures.select import at_most
from zoo.comparison.figures.style import COLOURS, INK, canvas, explain, plain_text
from zoo.comparison.figures.tiles import PANELS
from zoo.comparison.metrics import divergence_of
from zoo.comparison.studies import nearest
from zoo.comparison.tables.cells import KIND_MARKS
from zoo.record import DENSITY

BRIGHT = 0.97  # quantile of the histogram that is drawn brightest: its sharp ridges would leave the rest dark


def densities(runs: Sequence[Run]) -> Any:
    """Return a figure with a row for each data set: its histogram, then every model's density, on one scale.

    Of several configurations of a model it shows the one of least divergence.
    """
    rows: dict[str, dict[str, tuple[Run, dict[str, np.ndarray]]]] = {}
    models: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        models.setdefault((run.data, run.record.model), []).append(run)
    for run in at_most([nearest(alike)[0] for alike in models.values()], PANELS):
        arrays = run.arrays(DENSITY) or {}
        if {"density", "data", "extent"} <= arrays.keys():
            wide = {name: array.astype(np.float32) for name, array in arrays.items()}
            rows.setdefault(run.data, {})[run.record.model] = (run, wide)
    if not rows:
        return None
    columns = list(dict.fromkeys(model for row in rows.values() for model in row))
    figure = canvas(1.35 * (1 + len(columns)), 1.45 * len(rows) + 0.3)
    grid = figure.subplots(len(rows), 1 + len(columns), squeeze=False)
    for axis in grid.flatten():
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for axes, (data, row) in zip(grid, sorted(rows.items()), strict=True):
        histogram = next(iter(row.values()))[1]["data"]
        top = float(np.quantile(histogram[histogram > 0], BRIGHT))
        look = {"origin": "lower", "cmap": "magma", "vmin": 0.0, "vmax": top, "interpolation": "nearest"}
        axes[0].imshow(histogram, **look)
        axes[0].set_ylabel(plain_text(data), fontsize=9, fontweight="bold")
        for axis, model in zip(axes[1:], columns, strict=True):
            if model not in row:
                axis.axis("off")
                continue
            run, arrays = row[model]
            axis.imshow(np.nan_to_num(arrays["density"], posinf=top), **look)
            if (divergence := divergence_of(run)) is not None:
                mark = KIND_MARKS.get(run.record.metrics["kl"].kind, "")
                axis.set_xlabel(f"{mark}{divergence:.3f}", fontsize=7, labelpad=1)
    grid[0, 0].set_title("data", fontsize=9, fontweight="bold")
    for axis, model in zip(grid[0, 1:], columns, strict=True):
        family = next(row[model][0].record.family for row in rows.values() if model in row)
        axis.set_title(plain_text(model), fontsize=7.5, fontweight="bold", color=COLOURS.get(family, INK))
    kinds = [
        run.record.metrics["kl"].kind
        for row in rows.values()
        for run, _ in row.values()
        if divergence_of(run) is not None
    ]
    if kinds:
        words = "; ".join(filter(None, ["below a picture: KL from the data, nats", meanings(kinds)]))
        explain(figure, words)
    return figure
