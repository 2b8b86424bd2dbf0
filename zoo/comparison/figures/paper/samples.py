"""A strip of samples of each model below a strip of real examples, the same number in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.comparison.collect import Run
from zoo.comparison.figures.maps import BRIGHT
from zoo.comparison.figures.paper.look import GREY, baselines_of, canvas, colour, ink, plain_text, wrapped
from zoo.comparison.guards import collapsed_runs
from zoo.comparison.studies import Study
from zoo.record import DENSITY, SAMPLES

LINE = 0.15  # inches of a line of text
IMAGES = {True: 10, False: 20}  # in a strip, by whether the figure is a column wide
FEW, POINTS = 200, 1000  # points of a panel: up to FEW are drawn large, and most
FAINT = 0.25  # the darkest grey of the data's histogram behind the points


def draw(studies: Sequence[Study], width: float) -> Any:
    """Return the figure of the study with most models that left samples; None without one."""
    study, strips, left_out = max(
        ((study, *_strips(study)) for study in studies),
        key=lambda found: len(found[1]),
        default=(None, [], []),
    )
    if study is None or len(strips) < 2:
        return None
    if strips[0][2].ndim == 2:
        return _clouds(study, strips, left_out, width)
    n = min(IMAGES[width < 5], min(len(values) for _, _, values, _ in strips))
    height, wide = strips[0][2].shape[2:]
    tile = (width - 0.95) / n * height / wide
    lines = _lines(study.title, left_out, width)
    figure = canvas(width, (tile + 0.03) * len(strips) + 0.1 + LINE * len(lines))
    _say(figure, lines)
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


def _lines(shown: str, left_out: Sequence[str], width: float) -> list[str]:
    """Return the lines below a figure: what is shown, and what is not since it collapsed."""
    told = f"{shown}; collapsed, not drawn: {', '.join(left_out)}" if left_out else shown
    return wrapped(told, width - 0.25, 6.5)


def _say(figure: Any, lines: Sequence[str]) -> None:
    figure.supxlabel("\n".join(map(plain_text, lines)), fontsize=6.5, color=GREY)


def _strips(study: Study) -> tuple[list[Strip], list[str]]:
    """Return real examples and samples of the first sound seed of each baseline, and what is left out.

    Left out are collapsed runs of a model's baseline: its name, or how many of its seeds where others are
    sound, which are drawn.
    """
    strips: list[Strip] = []
    left_out: list[str] = []
    for group in baselines_of(study.baselines()):
        dead = {id(run) for run, _ in collapsed_runs(study, group)}
        sound = [run for run in group.finished if id(run) not in dead]
        if dead:
            some = f"{len(dead)} of {len(group.finished)} seeds of " if sound else ""
            left_out.append(f"{some}{group.model}")
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


def _clouds(study: Study, strips: Sequence[Strip], left_out: Sequence[str], width: float) -> Any:
    """Return a panel of points for each model, on the data's histogram where a run has left one."""
    columns = 3 if width < 5 else 6
    rows = -(-len(strips) // columns)
    found = _histogram(study)
    counts = sorted({min(len(values), POINTS) for _, _, values, _ in strips})
    points = " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1])))
    shown = f"{study.title}: {points} points a panel{'; grey: histogram of the data' * (found is not None)}"
    lines = _lines(shown, left_out, width)
    figure = canvas(width, rows * (width / columns + 0.16) + LINE * len(lines))
    _say(figure, lines)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    real = strips[0][2]
    low, high = np.quantile(real, 0.001, axis=0) - 0.3, np.quantile(real, 0.999, axis=0) + 0.3
    if found is not None:
        low, high = np.array(found[1][::2]), np.array(found[1][1::2])
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for axis, (name, family, values, _) in zip(axes, strips, strict=False):
        shade = colour(family) if family else GREY
        if found is not None:
            axis.imshow(
                found[0], origin="lower", extent=found[1], cmap="Greys", vmin=0, interpolation="nearest",
                vmax=float(np.quantile(found[0][found[0] > 0], BRIGHT)) / FAINT, rasterized=True,
            )  # fmt: skip
        size = 1.6 if len(values) > FEW else 3.2
        axis.plot(*values[:POINTS].T, ".", color=shade, markersize=size, markeredgewidth=0, rasterized=True)
        axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        axis.set_title(plain_text(name), color=ink(family), fontsize=7, pad=1)
    return figure


def _histogram(study: Study) -> tuple[np.ndarray, list[float]] | None:
    """Return the data's histogram, rows from the lowest y up, and its ends: x, then y; None without one.

    It has roots of densities, so that thin places can be seen.
    """
    for run in study.runs:
        arrays = run.arrays(DENSITY)
        if arrays is not None and {"data", "extent"} <= arrays.keys() and np.ptp(arrays["extent"]) > 0:
            return np.sqrt(arrays["data"].astype(np.float32)), [float(end) for end in arrays["extent"]]
    return None
