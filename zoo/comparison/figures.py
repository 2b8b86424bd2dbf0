"""The figures: samples beside real data, learning curves, speed against quality."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.comparison.collect import Run
from zoo.comparison.table import FAMILIES
from zoo.record import SAMPLES

# Okabe & Ito's palette, told apart by colour-blind readers too.
COLOURS = dict(
    zip(FAMILIES, ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#999999"), strict=True)
)
SHOWN = 16
STYLE: Any = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none"}


def draw(runs: Sequence[Run], out: Path) -> dict[str, Path]:
    """Draw what the runs allow; returns ``{name: file}``."""
    import matplotlib

    finished = sorted(
        (run for run in runs if run.record.status == "finished"),
        key=lambda run: (_rank(run.record.family), run.record.model, run.record.seed),
    )
    drawn = {}
    with matplotlib.rc_context(STYLE):
        for name, make in (("samples", _samples), ("speed_vs_quality", _scatter), ("curves", _curves)):
            figure = make(finished)
            if figure is None:
                continue
            figure.savefig(out / f"{name}.png", dpi=130)
            if name != "samples":
                figure.savefig(out / f"{name}.svg", metadata={"Date": None})
            drawn[name] = out / f"{name}.png"
    return drawn


def _rank(family: str) -> int:
    return FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _first_seeds(runs: Sequence[Run]) -> list[Run]:
    """One run for each data set and model: seeds look alike in a picture."""
    first: dict[tuple[str, str, str], Run] = {}
    for run in runs:
        key = str(run.record.provenance.get("config_hash_without_seed") or "")
        first.setdefault((run.record.data, run.record.model, key), run)
    return list(first.values())


def _load(run: Run) -> tuple[np.ndarray, np.ndarray, int] | None:
    try:
        with np.load(run.directory / SAMPLES) as file:
            return file["samples"], file["real"], int(file["levels"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _samples(runs: Sequence[Run]) -> Any:
    """Panels: real data of each data set, then every model's first samples."""
    panels: list[tuple[str, str, np.ndarray, int, tuple[float, float]]] = []
    seen: set[str] = set()
    for run in sorted(
        _first_seeds(runs), key=lambda r: (r.record.data, _rank(r.record.family), r.record.model)
    ):
        loaded = _load(run)
        if loaded is None or (loaded[0].ndim != 4 and loaded[0].shape[1:] != (2,)):
            continue
        samples, real, levels = loaded
        spread = (float(real.min()), float(real.max()))
        if run.record.data not in seen:
            seen.add(run.record.data)
            panels.append((f"real {run.record.data}", "test split", real, levels, spread))
        panels.append((run.record.model, run.record.family, samples, levels, spread))
    if not panels:
        return None
    columns = min(5, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = _figure(2.1 * columns, 2.35 * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).flatten()
    for axis in axes:
        axis.axis("off")
    for axis, (title, family, values, levels, spread) in zip(axes, panels, strict=False):
        colour = COLOURS.get(family, "#333333")
        axis.set_title(f"{title}\n", fontsize=9, fontweight="bold", color=colour, pad=-2)
        axis.text(
            0.5, 1.01, family, transform=axis.transAxes, ha="center", va="bottom", fontsize=7, color="#666666"
        )
        if values.ndim == 4:
            axis.imshow(_grid(values[:SHOWN], levels), interpolation="nearest", vmin=0, vmax=1, cmap="gray")
        else:
            low, high = spread[0] - 0.5, spread[1] + 0.5
            axis.scatter(values[:, 0], values[:, 1], s=2, color=colour, linewidths=0)
            axis.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    return figure


def _grid(images: np.ndarray, levels: int) -> np.ndarray:
    """``(N, C, H, W)`` integers to one picture ``(H', W')`` or ``(H', W', 3)`` in [0, 1]."""
    n, c, h, w = images.shape
    side = math.ceil(math.sqrt(n))
    canvas = np.full((side * (h + 1) - 1, side * (w + 1) - 1, c), 0.5)
    for index, image in enumerate(images):
        top, left = index // side * (h + 1), index % side * (w + 1)
        canvas[top : top + h, left : left + w] = image.transpose(1, 2, 0) / max(1, levels - 1)
    return canvas[..., 0] if c == 1 else canvas[..., :3]


def quality_metric(runs: Sequence[Run]) -> str | None:
    """The sample metric that most runs have."""
    counts: dict[str, int] = {}
    for run in runs:
        for name, metric in run.record.metrics.items():
            if name not in ("nll", "bits_per_dim") and metric.value is not None:
                counts[name] = counts.get(name, 0) + 1
    return max(counts, key=lambda name: (counts[name], name), default=None)


def _scatter(runs: Sequence[Run]) -> Any:
    """Seconds per sample at the best batch against a sample metric, both logarithmic."""
    name = quality_metric(runs)
    if name is None:
        return None
    points = [
        (1 / speed, metric.value, run)
        for run in runs
        if (metric := run.record.metrics.get(name)) is not None
        and metric.value is not None
        and metric.value > 0
        and (speed := run.record.sampling.get("throughput"))
    ]
    if not points:
        return None
    figure = _figure(6.4, 4.2)
    axis = figure.subplots()
    axis.set(xscale="log", yscale="log")
    for family in dict.fromkeys(run.record.family for _, _, run in points):
        own = [(x, y) for x, y, run in points if run.record.family == family]
        colour = COLOURS.get(family, "#999999")
        axis.scatter(*zip(*own, strict=True), s=42, color=colour, label=family, zorder=3, edgecolors="white")
    axis.margins(x=0.14, y=0.1)
    figure.draw_without_rendering()
    taken = [tuple(axis.transData.transform((x, y))) for x, y, _ in points]
    for x, y, run in sorted(points, key=lambda p: -p[1]):
        px, py = axis.transData.transform((x, y))
        half = 3.4 * len(run.record.model)  # pixels, about, at 100 dots an inch
        places = ((half + 9, 0.0), (-half - 9, 0.0), (0.0, 13.0), (0.0, -13.0))
        crowds = [
            sum(abs(px + dx - a) < half + 8 and abs(py + dy - b) < 11 for a, b in taken) for dx, dy in places
        ]
        dx, dy = places[crowds.index(min(crowds))]
        taken += [(px + dx, py + dy), (px + dx - half, py + dy), (px + dx + half, py + dy)]
        axis.annotate(
            run.record.model, (x, y), xytext=(0.72 * dx, 0.72 * dy), textcoords="offset points",
            fontsize=8, ha="center", va="center",
        )  # fmt: skip
    floors = [m.details.get("floor") for _, _, run in points if (m := run.record.metrics[name])]
    floor = next((f for f in floors if f is not None), None)
    floor = floor.get("value") if isinstance(floor, dict) else floor
    if floor and floor > 0:
        axis.axhline(floor, color="#888888", linewidth=1, linestyle="--", zorder=1)
        axis.annotate(
            "real data", (1, floor), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8
        )
    axis.set(
        xlabel="seconds per sample, at the best batch (left is faster)", ylabel=f"{name} (lower is better)"
    )
    axis.grid(alpha=0.25, which="major")
    axis.legend(frameon=False, fontsize=8, loc="best")
    return figure


def _curves(runs: Sequence[Run]) -> Any:
    """Validation against updates. Likelihoods share an axis; every other criterion has one of its own."""
    panels: dict[str, list[tuple[Run, list[tuple[float, float]]]]] = {}
    for run in runs:
        curves = run.curves()
        if curves.get("val/bits_per_dim"):
            panels.setdefault("validation bits/dim", []).append((run, curves["val/bits_per_dim"]))
        elif curves.get("val/loss"):
            panels.setdefault(f"validation loss of {run.record.model}", []).append((run, curves["val/loss"]))
        elif curves.get("train/loss"):
            panels.setdefault(f"training loss of {run.record.model}", []).append((run, curves["train/loss"]))
    if not panels:
        return None
    names = sorted(panels, key=lambda n: (n != "validation bits/dim", n))[:12]
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    figure = _figure(3.8 * columns, 2.9 * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).flatten()
    dashes = ("-", "--", ":", "-.")
    for axis, name in zip(axes, names, strict=False):
        order: dict[str, dict[str, int]] = {}
        for run, curve in panels[name]:
            family, model = run.record.family, run.record.model
            index = order.setdefault(family, {}).setdefault(model, len(order[family]))
            label = model if model not in [line.get_label() for line in axis.lines] else "_"
            colour = COLOURS.get(family, "#999999")
            axis.plot(*zip(*curve, strict=True), dashes[index % 4], color=colour, label=label, linewidth=1.4)
        values = sorted(v for _, curve in panels[name] for _, v in curve if math.isfinite(v))
        if name.startswith("validation") and len(values) > 4:
            top = values[int(0.9 * (len(values) - 1))]
            axis.set_ylim(values[0] - 0.05 * (top - values[0] + 1e-9), top + 0.1 * (top - values[0] + 1e-9))
        axis.set(title=name, xlabel="updates")
        axis.title.set_fontsize(9)
        axis.grid(alpha=0.25)
        axis.legend(fontsize=7, loc="upper right", framealpha=0.9, edgecolor="none")
    for axis in axes[len(names) :]:
        axis.axis("off")
    return figure
