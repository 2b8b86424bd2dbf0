"""A strip of samples of each model below a strip of real examples, the same number in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.comparison.collect import Run
from zoo.comparison.figures.paper.look import GREY, baselines_of, canvas, colour, ink, plain_text
from zoo.comparison.guards import collapsed_runs
from zoo.comparison.studies import Study
from zoo.record import SAMPLES

IMAGES = {True: 10, False: 20}  # in a strip, by whether the figure is a column wide
POINTS = 400


def draw(studies: Sequence[Study], width: float) -> Any:
    """Return the figure of the study with most models that left samples; None without one."""
    strips, left_out = max(
        (_strips(study) for study in studies), key=lambda found: len(found[0]), default=([], [])
    )
    if len(strips) < 2:
        return None
    if strips[0][2].ndim == 2:
        return _clouds(strips, left_out, width)
    n = min(IMAGES[width < 5], min(len(values) for _, _, values, _ in strips))
    height, wide = strips[0][2].shape[2:]
    tile = (width - 0.95) / n * height / wide
    figure = canvas(width, (tile + 0.03) * len(strips) + 0.1 + 0.15 * bool(left_out))
    _say(figure, left_out)
    axes = figure.subplots(len(strips), 1, squeeze=False)[:, 0]
    for axis, (name, family, values, levels) in zip(axes, strips, strict=True):
        picture = strip(values[:n], levels)
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        axis.set_ylabel(plain_text(name), rotation=0, ha="right", va="center", color=ink(family))
    return figure


def strip(images: np.ndarray, levels: int) -> np.ndarray:
    """Return integer images ``(N, C, H, W)`` side by side: ``(H, W')`` or ``(H, W', 3)`` in [0, 1]."""
    n, c, h, w = images.shape
    gap = max(1, w // 16)
    picture = np.ones((h, n * (w + gap) - gap, c))
    for index, image in enumerate(images):
        left = index * (w + gap)
        picture[:, left : left + w] = image.transpose(1, 2, 0) / max(1, levels - 1)
    return picture[..., 0] if c == 1 else picture[..., :3]


Strip = tuple[str, str, np.ndarray, int]  # name, family, values, levels


def _say(figure: Any, left_out: Sequence[str]) -> None:
    if left_out:
        text = f"left out, collapsed: {', '.join(map(plain_text, left_out))}"
        figure.supxlabel(text, fontsize=6.5, color=GREY)


def _strips(study: Study) -> tuple[list[Strip], list[str]]:
    """Return real examples and samples of the first sound seed of each baseline, and what is left out.

    Left out are collapsed runs: a name, and how many seeds where others of that model are sound.
    """
    strips: list[Strip] = []
    left_out: list[str] = []
    for group in baselines_of(study.baselines()):
        dead = {id(run) for run, _ in collapsed_runs(study, group)}
        sound = [run for run in group.finished if id(run) not in dead]
        if dead:
            of_all = f" ({len(dead)} of {len(group.finished)} seeds)" if sound else ""
            left_out.append(f"{group.model}{of_all}")
        arrays = next((a for run in sound if (a := _arrays(run)) is not None), None)
        if arrays is None:
            continue
        values, real, levels = arrays["samples"], arrays["real"], int(arrays["levels"])
        if values.ndim != 4 and values.shape[1:] != (2,):
            continue
        if not strips:
            strips.append(("real data", "", real, levels))
        strips.append((group.model, group.family, values, levels))
    return strips, left_out


def _arrays(run: Run) -> dict[str, np.ndarray] | None:
    arrays = run.arrays(SAMPLES)
    return arrays if arrays is not None and {"samples", "real", "levels"} <= arrays.keys() else None


def _clouds(strips: Sequence[Strip], left_out: Sequence[str], width: float) -> Any:
    columns = 3 if width < 5 else 6
    rows = -(-len(strips) // columns)
    figure = canvas(width, rows * (width / columns + 0.16) + 0.15 * bool(left_out))
    _say(figure, left_out)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    real = strips[0][2]
    low, high = np.quantile(real, 0.001, axis=0) - 0.3, np.quantile(real, 0.999, axis=0) + 0.3
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for axis, (name, family, values, _) in zip(axes, strips, strict=False):
        shade = colour(family) if family else GREY
        size = 1.6 if len(values) >= POINTS else 3.2
        axis.plot(*values[:POINTS].T, ".", color=shade, markersize=size, markeredgewidth=0, rasterized=True)
        axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        axis.set_title(plain_text(name), color=ink(family), fontsize=7, pad=1)
    return figure
