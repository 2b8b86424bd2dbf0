"""The first samples of every model beside real examples."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.comparison.collect import Run
from zoo.comparison.figures.select import at_most, first_seeds
from zoo.comparison.figures.style import COLOURS, INK, canvas, plain_text
from zoo.record import SAMPLES

PANELS = 100  # most panels in the figure
EXAMPLES = 16  # images in a panel


@dataclass
class Panel:
    """Some examples, real or sampled, with the range of the real ones."""

    title: str
    family: str
    values: np.ndarray
    levels: int
    low: float
    high: float


def samples(runs: Sequence[Run]) -> Any:
    """Return a figure with, for each data set, real examples and every model's first samples."""
    panels: dict[str, list[Panel]] = {}
    for run in at_most(first_seeds(runs), PANELS):
        data, arrays = run.data, _load(run)
        if arrays is None or (arrays[0].ndim != 4 and arrays[0].shape[1:] != (2,)):
            continue
        drawn, real, levels = arrays
        low, high = float(real.min()) - 0.5, float(real.max()) + 0.5
        if data not in panels:
            panels[data] = [Panel(f"real {data}", "test split", real, levels, low, high)]
        panels[data].append(Panel(run.name, run.record.family, drawn, levels, low, high))
    if not panels:
        return None
    columns = min(5, max(map(len, panels.values())))
    heights = [math.ceil(len(row) / columns) for row in panels.values()]
    figure = canvas(2.1 * columns, 2.35 * sum(heights))
    axes = figure.subplots(sum(heights), columns, squeeze=False)
    for axis in axes.flatten():
        axis.axis("off")
    top = 0
    for row, height in zip(panels.values(), heights, strict=True):
        for axis, panel in zip(axes[top : top + height].flatten(), row, strict=False):
            _show(axis, panel)
        top += height
    return figure


def _load(run: Run) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Return samples, real examples and the number of pixel levels; None where the run left none."""
    arrays = run.arrays(SAMPLES) or {}
    if not {"samples", "real", "levels"} <= arrays.keys():
        return None
    return arrays["samples"], arrays["real"], int(arrays["levels"])


def _show(axis: Any, panel: Panel) -> None:
    colour = COLOURS.get(panel.family, INK)
    title = textwrap.fill(plain_text(panel.title), 26)
    axis.set_title(f"{title}\n", fontsize=9, fontweight="bold", color=colour, pad=-2)
    where = {"transform": axis.transAxes, "ha": "center", "va": "bottom"}
    axis.text(0.5, 1.01, plain_text(panel.family), fontsize=7, color="#666666", **where)
    if panel.values.ndim == 4:
        picture = image_grid(panel.values[:EXAMPLES], panel.levels)
        axis.imshow(picture, interpolation="nearest", vmin=0, vmax=1, cmap="gray")
    else:
        axis.scatter(panel.values[:, 0], panel.values[:, 1], s=2, color=colour, linewidths=0)
        limits = (panel.low, panel.high)
        axis.set(xlim=limits, ylim=limits, aspect="equal")


def image_grid(images: np.ndarray, levels: int) -> np.ndarray:
    """Return integer images ``(N, C, H, W)`` as one picture ``(H', W')`` or ``(H', W', 3)`` in [0, 1]."""
    n, c, h, w = images.shape
    side = math.ceil(math.sqrt(n))
    picture = np.full((side * (h + 1) - 1, side * (w + 1) - 1, c), 0.5)
    for index, image in enumerate(images):
        top, left = index // side * (h + 1), index % side * (w + 1)
        picture[top : top + h, left : left + w] = image.transpose(1, 2, 0) / max(1, levels - 1)
    return picture[..., 0] if c == 1 else picture[..., :3]
