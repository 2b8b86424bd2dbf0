"""The figures: samples beside real data, learning curves, speed against quality and against the batch."""

from __future__ import annotations

import math
import re
import statistics
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.comparison.collect import Run
from zoo.comparison.studies import (
    Group,
    Study,
    divergence_of,
    groups,
    named,
    nearest,
    quality_metric,
    sections,
)
from zoo.comparison.table import FAMILIES, MARKS, number
from zoo.record import DENSITY, SAMPLES, Sampling

# Okabe & Ito's palette, told apart by colour-blind readers too.
COLOURS = dict(
    zip(FAMILIES, ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#999999"), strict=True)
)
SHOWN = 16  # examples in a panel
PANELS, LINES, NAMES = 100, 500, 25  # at most, in one figure, and in one panel
INK, PAPER = "#1c2024", "#ffffff"  # the page puts its own colours in their place
STYLE: Any = {
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
    "svg.fonttype": "none", "svg.hashsalt": "zoo", "font.sans-serif": ["DejaVu Sans"],
    "figure.facecolor": PAPER, "axes.facecolor": PAPER,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}  # fmt: skip


def draw(runs: Sequence[Run], out: Path) -> dict[str, Path]:
    """Draw what the runs allow; returns ``{name: file}``."""
    import matplotlib

    finished = sorted(
        (run for run in named(runs) if run.record.status == "finished"),
        key=lambda run: (_rank(run.record.family), run.record.model, run.record.seed),
    )
    drawn = {}
    with matplotlib.rc_context(STYLE):
        for name, make in DRAWINGS:
            figure = make(finished)
            if figure is None:
                continue
            drawn[name] = out / f"{name}.png"
            save_png(figure, drawn[name], 140 if name in PICTURES else 100)  # the SVG is there for details
            if name not in PICTURES:
                figure.set_layout_engine("none")  # as it was laid out for the other
                save_svg(figure, out / f"{name}.svg")
    return drawn


def save_png(figure: Any, file: Path, dpi: int) -> None:
    """Write a figure as PNG on a palette of 256: a third of the bytes, since results are kept in git.

    Photographs in colour stay as they are.
    """
    from PIL import Image

    figure.savefig(file, dpi=dpi)
    with Image.open(file) as picture:
        colours = picture.convert("RGB")
    if colours.getcolors(8192) is not None:
        colours.quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)


def save_svg(figure: Any, file: Path) -> None:
    """Write a figure as SVG, the same bytes each time and of the same figure.

    matplotlib names some of its clipping paths after where they lie in memory; here they are numbered.
    """
    figure.savefig(file, metadata={"Date": None})
    text = file.read_text()
    for index, name in enumerate(dict.fromkeys(re.findall(r'<clipPath id="(\w+)"', text))):
        text = text.replace(name, f"{file.stem}-clip{index}")
    text = re.sub(r' transform="rotate\(-0 [^"]*"', "", text)  # by nothing
    file.write_text(re.sub(r'(?<= )(?:d|x|y)="[^"]*"', lambda found: _hundredths(found[0]), text))


def _hundredths(attribute: str) -> str:
    """Coordinates to a hundredth of a point, finer than any screen: half of a drawing's bytes."""
    return re.sub(r"(\.\d\d)\d+", r"\1", attribute)


def _rank(family: str) -> int:
    return FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)


def canvas(width: float, height: float) -> Any:
    """An empty figure, in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain_text(text: str) -> str:
    """A name that matplotlib neither typesets (``$``) nor leaves out of a legend (a leading ``_``)."""
    text = " ".join(text.split()).replace("$", r"\$")
    return text if not text.startswith("_") else f" {text}"


def _first_seeds(runs: Sequence[Run]) -> list[Run]:
    """One run for each data set and model: seeds look alike in a picture."""
    return [group[0] for section in sections(runs).values() for group in groups(section).values()]


def _few(runs: Sequence[Run], most: int) -> list[Run]:
    """As many as a picture has room for: if need be one seed of each configuration, or one of each model."""
    if len(runs) <= most:
        return list(runs)
    firsts = _first_seeds(runs)
    if len(firsts) <= most:
        return firsts
    return list({(run.record.data, run.record.model): run for run in reversed(firsts)}.values())[::-1]


def _load(run: Run) -> tuple[np.ndarray, np.ndarray, int] | None:
    arrays = run.arrays(SAMPLES) or {}
    if not {"samples", "real", "levels"} <= arrays.keys():
        return None
    return arrays["samples"], arrays["real"], int(arrays["levels"])


@dataclass
class _Panel:
    """Some examples, real or drawn."""

    title: str
    family: str
    values: np.ndarray
    levels: int
    low: float
    high: float


def _samples(runs: Sequence[Run]) -> Any:
    """For each data set real examples, then every model's first samples; a data set begins a row."""
    panels: dict[str, list[_Panel]] = {}
    for run in _few(_first_seeds(runs), PANELS):
        data, loaded = run.record.data, _load(run)
        if loaded is None or (loaded[0].ndim != 4 and loaded[0].shape[1:] != (2,)):
            continue
        samples, real, levels = loaded
        low, high = float(real.min()) - 0.5, float(real.max()) + 0.5
        if data not in panels:
            panels[data] = [_Panel(f"real {data}", "test split", real, levels, low, high)]
        panels[data].append(_Panel(run.name, run.record.family, samples, levels, low, high))
    if not panels:
        return None
    columns = min(5, max(map(len, panels.values())))
    heights = [math.ceil(len(own) / columns) for own in panels.values()]
    figure = canvas(2.1 * columns, 2.35 * sum(heights))
    axes = figure.subplots(sum(heights), columns, squeeze=False)
    for axis in axes.flatten():
        axis.axis("off")
    top = 0
    for own, height in zip(panels.values(), heights, strict=True):
        for axis, panel in zip(axes[top : top + height].flatten(), own, strict=False):
            _show(axis, panel)
        top += height
    return figure


def _show(axis: Any, panel: _Panel) -> None:
    colour = COLOURS.get(panel.family, INK)
    title = textwrap.fill(plain_text(panel.title), 26)
    axis.set_title(f"{title}\n", fontsize=9, fontweight="bold", color=colour, pad=-2)
    where = {"transform": axis.transAxes, "ha": "center", "va": "bottom"}
    axis.text(0.5, 1.01, plain_text(panel.family), fontsize=7, color="#666666", **where)
    if panel.values.ndim == 4:
        picture = _grid(panel.values[:SHOWN], panel.levels)
        axis.imshow(picture, interpolation="nearest", vmin=0, vmax=1, cmap="gray")
    else:
        axis.scatter(panel.values[:, 0], panel.values[:, 1], s=2, color=colour, linewidths=0)
        limits = (panel.low, panel.high)
        axis.set(xlim=limits, ylim=limits, aspect="equal")


def _grid(images: np.ndarray, levels: int) -> np.ndarray:
    """``(N, C, H, W)`` integers to one picture ``(H', W')`` or ``(H', W', 3)`` in [0, 1]."""
    n, c, h, w = images.shape
    side = math.ceil(math.sqrt(n))
    canvas = np.full((side * (h + 1) - 1, side * (w + 1) - 1, c), 0.5)
    for index, image in enumerate(images):
        top, left = index // side * (h + 1), index % side * (w + 1)
        canvas[top : top + h, left : left + w] = image.transpose(1, 2, 0) / max(1, levels - 1)
    return canvas[..., 0] if c == 1 else canvas[..., :3]


def _densities(runs: Sequence[Run]) -> Any:
    """A row for each data set on the plane: its histogram, then every model's density, on one scale.

    Of several configurations of a model it is the one with the least divergence.
    """
    found: dict[str, dict[str, tuple[Run, dict[str, np.ndarray]]]] = {}
    models: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        models.setdefault((run.record.data, run.record.model), []).append(run)
    for run in _few([nearest(alike)[0] for alike in models.values()], PANELS):
        arrays = run.arrays(DENSITY) or {}
        if {"density", "data", "extent"} <= arrays.keys():
            wide = {name: array.astype(np.float32) for name, array in arrays.items()}
            found.setdefault(run.record.data, {})[run.record.model] = (run, wide)
    if not found:
        return None
    columns = list(dict.fromkeys(model for row in found.values() for model in row))
    figure = canvas(1.35 * (1 + len(columns)), 1.45 * len(found) + 0.3)
    axes = figure.subplots(len(found), 1 + len(columns), squeeze=False)
    for axis in axes.flatten():
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for row, (data, own) in zip(axes, sorted(found.items()), strict=True):
        any_run = next(iter(own.values()))[1]
        truth = any_run["data"]
        # sharp ridges would leave the rest dark: the histogram's brightest cells saturate
        top = float(np.quantile(truth[truth > 0], 0.97))
        look = {"origin": "lower", "cmap": "magma", "vmin": 0.0, "vmax": top, "interpolation": "nearest"}
        row[0].imshow(truth, **look)
        row[0].set_ylabel(plain_text(data), fontsize=9, fontweight="bold")
        for axis, model in zip(row[1:], columns, strict=True):
            if model not in own:
                axis.axis("off")
                continue
            run, arrays = own[model]
            axis.imshow(np.nan_to_num(arrays["density"], posinf=top), **look)
            if (divergence := divergence_of(run)) is not None:
                mark = MARKS.get(run.record.metrics["kl"].kind, "")
                axis.set_xlabel(f"{mark}{divergence:.3f}", fontsize=7, labelpad=1)
    axes[0, 0].set_title("data", fontsize=9, fontweight="bold")
    for axis, model in zip(axes[0, 1:], columns, strict=True):
        family = next(row[model][0].record.family for row in found.values() if model in row)
        axis.set_title(plain_text(model), fontsize=7.5, fontweight="bold", color=COLOURS.get(family, INK))
    return figure


@dataclass
class _Point:
    """A model in the plane of speed and quality: means over its seeds."""

    seconds: float
    distance: float
    model: str
    label: str
    family: str


def _points(runs: Sequence[Run], name: str) -> list[_Point]:
    points = []
    for group in groups(runs).values():
        values = [m.value for run in group if (m := run.record.metrics.get(name)) and m.value is not None]
        speeds = [float(speed) for run in group if (speed := run.record.sampling.get("throughput"))]
        if values and speeds:
            record, label = group[0].record, textwrap.fill(plain_text(group[0].name), 26)
            where = (1 / statistics.fmean(speeds), statistics.fmean(values))
            points.append(_Point(*where, record.model, label, record.family))
    return points


def _scatter(runs: Sequence[Run]) -> Any:
    """Seconds per sample at the best batch against a distance to real data; a panel for each data set."""
    panels = []
    for (data, _), members in sections(runs).items():
        name = quality_metric(members)
        if name is not None and (points := _points(members, name)):
            panels.append((data, name, points, members))
    if not panels:
        return None
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = canvas(6.4 * columns, 4.2 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis, (data, name, points, members) in zip(axes, panels, strict=False):
        if len(panels) > 1:
            axis.set_title(plain_text(data), fontsize=9)
        floors = [m.details.get("floor") for run in members if (m := run.record.metrics.get(name))]
        floor = next((f for f in floors if isinstance(f, int | float)), None)
        _speed_panel(axis, name, points, floor)
    for axis in axes[len(panels) :]:
        axis.axis("off")
    figure.draw_without_rendering()
    for axis, (_, _, points, _) in zip(axes, panels, strict=False):
        _label(axis, points if len(points) <= NAMES else _best(points))
    return figure


def _best(points: Sequence[_Point]) -> list[_Point]:
    """The nearest to the data of each model: there is no room for every name."""
    nearest: dict[str, _Point] = {}
    for point in sorted(points, key=lambda p: p.distance):
        nearest.setdefault(point.model, point)
    return list(nearest.values())


def _speed_panel(axis: Any, name: str, points: Sequence[_Point], floor: float | None) -> None:
    axis.set(xscale="log", yscale="log" if all(p.distance > 0 for p in points) else "linear")
    for family in dict.fromkeys(p.family for p in points):
        own = [(p.seconds, p.distance) for p in points if p.family == family]
        colour = COLOURS.get(family, "#999999")
        label = plain_text(family)
        axis.scatter(*zip(*own, strict=True), s=42, color=colour, label=label, zorder=3, edgecolors=PAPER)
    axis.margins(x=0.14, y=0.1)
    if floor is not None and (floor > 0 or axis.get_yscale() == "linear"):
        axis.axhline(floor, color="#888888", linewidth=1, linestyle="--", zorder=1)
        where = ("axes fraction", "data")
        text = f"real data, {number(floor)}"
        axis.annotate(text, (0.995, floor), xycoords=where, ha="right", va="bottom", fontsize=8)
    axis.set(xlabel="seconds per sample, at the best batch (left is faster)")
    axis.set(ylabel=f"{plain_text(name)} (lower is better)")
    axis.grid(alpha=0.25, which="major")
    axis.legend(fontsize=8, loc="best", framealpha=0.9, edgecolor="none")


def _label(axis: Any, points: Sequence[_Point]) -> None:
    """Names beside their points, each on the side where the fewest others are."""
    taken = [tuple(axis.transData.transform((p.seconds, p.distance))) for p in points]
    for point in sorted(points, key=lambda p: -p.distance):
        px, py = axis.transData.transform((point.seconds, point.distance))
        lines = point.label.split("\n")
        half = 3.4 * max(map(len, lines))  # pixels, about, at 100 dots an inch
        tall = 5.5 * (len(lines) - 1)
        places = ((half + 9, 0.0), (-half - 9, 0.0), (0.0, 13.0 + tall), (0.0, -13.0 - tall))
        crowds = [
            sum(abs(px + dx - a) < half + 8 and abs(py + dy - b) < 11 + tall for a, b in taken)
            for dx, dy in places
        ]
        dx, dy = places[crowds.index(min(crowds))]
        taken += [(px + dx, py + dy), (px + dx - half, py + dy), (px + dx + half, py + dy)]
        axis.annotate(
            point.label, (point.seconds, point.distance), xytext=(0.72 * dx, 0.72 * dy),
            textcoords="offset points", fontsize=8, ha="center", va="center",
        )  # fmt: skip


MARKERS, DASHES = "osD^v", ("-", "--", ":", "-.")


def _batches(runs: Sequence[Run]) -> Any:
    """Seconds of a call, and network evaluations in sequence, against its batch: a row for each data set.

    A line is the configuration that stands for a model, the median over its seeds.
    """
    split = sections(runs)
    rows = []
    for (data, protocol), members in split.items():
        alone = sum(name == data for name, _ in split) == 1
        title = data if alone else f"{data} (protocol {protocol[:8] or 'unknown'})"
        lines = [
            (g, _median(g, _seconds), _median(g, _depths)) for g in Study(data, protocol, members).baselines()
        ]
        lines = [line for line in lines if len(line[1]) > 1]
        if lines:
            rows.append((title, lines))
    if not rows:
        return None
    figure = canvas(10.4, 3.4 * len(rows))
    axes = figure.subplots(len(rows), 3, squeeze=False, width_ratios=(1.0, 1.0, 0.3))
    for (*own, beside), (title, lines) in zip(axes, rows, strict=True):
        order: dict[str, int] = {}
        for group, *curves in lines:
            index = order[group.family] = order.get(group.family, -1) + 1
            colour, style = COLOURS.get(group.family, "#999999"), MARKERS[index % 5] + DASHES[index % 4]
            name = plain_text(group.runs[0].name)
            for axis, curve in zip(own, curves, strict=True):
                if len(curve) > 1:
                    axis.plot(*zip(*curve, strict=True), style, color=colour, label=name, linewidth=1.4, ms=4)
        beside.axis("off")
        beside.legend(*own[0].get_legend_handles_labels(), fontsize=7, loc="upper left", edgecolor="none")
        for axis, what in zip(own, ("seconds of a call", "sequential evaluations"), strict=True):
            if not axis.lines:
                axis.axis("off")
                continue
            axis.set(xscale="log", yscale="log", xlabel="batch", ylabel=what)
            sizes = sorted({size for line in axis.lines for size in line.get_xdata()})
            axis.set_xticks(sizes, labels=[f"{size:g}" for size in sizes])
            axis.minorticks_off()
            axis.set_title(plain_text(title), fontsize=9)
            axis.grid(alpha=0.25)
    return figure


def _seconds(sampling: Sampling) -> dict[int, float]:
    """Of one call, by batch."""
    found = {
        int(size): int(size) / value for size, value in (sampling.get("throughput_by_batch") or {}).items()
    }
    return found | ({1: sampling["latency_seconds"]} if sampling.get("latency_seconds") else {})


def _depths(sampling: Sampling) -> dict[int, float]:
    """Sequential evaluations by batch; records of before know them at batch 1 alone, which is no curve."""
    found = {
        int(size): count for size, count in (sampling.get("sequential_evaluations_by_batch") or {}).items()
    }
    found[1] = sampling.get("sequential_evaluations")
    return {size: count for size, count in found.items() if count}


def _median(group: Group, measured: Callable[[Sampling], dict[int, float]]) -> list[tuple[int, float]]:
    found: dict[int, list[float]] = {}
    for run in group.finished:
        for size, value in measured(run.record.sampling).items():
            found.setdefault(size, []).append(value)
    return [(size, statistics.median(values)) for size, values in sorted(found.items())]


Panels = dict[str, list[tuple[Run, list[tuple[float, float]]]]]


def _curves(runs: Sequence[Run]) -> Any:
    """Validation against updates. Likelihoods share an axis; every other criterion has one of its own."""
    panels: Panels = {}
    several = _several(runs)
    for run in _few(runs, LINES):
        where, curves = _where(run, several), run.curves()
        model = plain_text(run.record.model)
        for column, title in (
            ("val/bits_per_dim", f"validation bits/dim{where}"),
            ("val/loss", f"validation loss of {model}{where}"),
            ("val/energy_distance", f"validation energy distance{where}"),
            ("train/loss", f"training loss of {model}{where}"),
        ):
            if curves.get(column):
                panels.setdefault(title, []).append((run, curves[column]))
                break
    return _lines(panels, "updates")


def _clock(runs: Sequence[Run]) -> Any:
    """Validation likelihood against seconds of training, for runs whose budget was one of time."""
    panels: Panels = {}
    several = _several(runs)
    timed = [run for run in runs if _training(run).get("max_seconds")]
    for run in _few(timed, LINES):
        curves = run.curves("update_seconds")
        for column, unit in (("val/bits_per_dim", "bits/dim"), ("val/nll", "nats/dim")):
            if curves.get(column):
                title = f"validation {unit}{_where(run, several)}"
                panels.setdefault(title, []).append((run, curves[column]))
                break
    return _lines(panels, "seconds of training")


def _training(run: Run) -> dict[str, Any]:
    return run.record.provenance.get("config", {}).get("training") or {}


def _several(runs: Sequence[Run]) -> bool:
    """Whether there are several data sets."""
    return len({run.record.data for run in runs}) > 1


def _where(run: Run, several: bool) -> str:
    """The data set in a title, where there are several."""
    return f", {plain_text(run.record.data)}" if several else ""


def _lines(panels: Panels, axis_name: str) -> Any:
    """A panel for each title; a single point is no curve."""
    found = {
        title: [(run, curve) for run, curve in own if sum(math.isfinite(value) for _, value in curve) > 1]
        for title, own in panels.items()
    }
    panels = {title: own for title, own in found.items() if own}
    if not panels:
        return None
    names = sorted(panels, key=lambda n: (not n.startswith("validation bits/dim"), n))
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    figure = canvas(3.8 * columns, 2.9 * rows)
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).flatten()
    for axis, name in zip(axes, names, strict=False):
        order: dict[str, dict[str, int]] = {}
        named: set[str] = set()
        for run, curve in panels[name]:
            family, model = run.record.family, plain_text(run.record.model)
            index = order.setdefault(family, {}).setdefault(model, len(order[family]))
            label = "_" if model in named else model
            named.add(model)
            colour = COLOURS.get(family, "#999999")
            axis.plot(*zip(*curve, strict=True), DASHES[index % 4], color=colour, label=label, linewidth=1.4)
        values = sorted(v for _, curve in panels[name] for _, v in curve if math.isfinite(v))
        if name.startswith("validation") and len(values) > 4:
            top = values[int(0.9 * (len(values) - 1))]
            axis.set_ylim(values[0] - 0.05 * (top - values[0] + 1e-9), top + 0.1 * (top - values[0] + 1e-9))
        axis.set(title=name, xlabel=axis_name)
        axis.title.set_fontsize(9)
        axis.grid(alpha=0.25)
        axis.legend(fontsize=7, loc="upper right", framealpha=0.9, edgecolor="none")
    for axis in axes[len(names) :]:
        axis.axis("off")
    return figure


DRAWINGS = (
    ("samples", _samples),
    ("densities", _densities),
    ("speed_vs_quality", _scatter),
    ("sampling_vs_batch", _batches),
    ("curves", _curves),
    ("clock", _clock),
)
PICTURES = ("samples", "densities")  # pixels, not lines
