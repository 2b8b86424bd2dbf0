"""``zoo show``: one run on the terminal: its numbers, its curves and its samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from zoo.comparison.collect import Run, damaged_files, warn
from zoo.comparison.lines import say, show
from zoo.comparison.packed import compression, unpacked
from zoo.comparison.page.payload import judged_settings
from zoo.comparison.page.reproduce import departure, restored
from zoo.comparison.page.runs import hardware_text
from zoo.comparison.recommend import seconds_text
from zoo.comparison.tables.cells import ARROWS, KIND_MARKS, number
from zoo.comparison.terminal import half_blocks, tiled
from zoo.comparison.words import curve_name, metric_name, protocol_text
from zoo.errors import unknown
from zoo.record import DENSITY, RECORD, SAMPLES, Metric, Provenance, Record, Segment, read
from zoo.visible import visible

RESTORES = "With the defaults of its time, which makes the same run today:"
BARS = "▁▂▃▄▅▆▇█"
ROWS = 2  # number of rows of images
WIDTH = 100  # largest width of the pictures and curves


def show_run(directory: Path, name: str | None = None, console: Console | None = None) -> int:
    """Print a run, or the names of the runs in a directory or an archive; return 0.

    Args:
        directory: the run's directory, its record, or a directory or a packed file of runs.
        name: which run of that directory or file; None: show ``directory`` if it is a run, else list its
            runs.
        console: where to print.

    Raises:
        ZooError: there is no record, or no run of that name.
    """
    console = console or Console(highlight=False)
    place = unpacked(directory.parent if directory.name == RECORD else directory)
    if name is not None or not (place / RECORD).exists():
        runs = {file.parent.name: file.parent for file in sorted(place.rglob(RECORD))}
        if name is None and runs:
            return _list(directory, list(runs), console)
        if name is not None:
            if name not in runs:
                raise unknown(f"run in {directory}", name, runs)
            place = runs[name]
    run = Run(read(place), place)
    warn(damaged_files(run), console)
    _print_head(run.record, console)
    say(f"judged: {protocol_text([run], judged_settings([run]))}", console, indent=2, style="dim")
    _print_metrics(run.record, console)
    _print_curves(run, console)
    _print_pictures(run, console)
    if run.record.provenance.command:
        console.print(f"\n{run.record.provenance.command}", style="cyan", markup=False, soft_wrap=True)
    if sentence := departure(run):
        say(sentence, console, style="yellow")
    if command := restored(run):
        say(RESTORES, console)
        console.print(command, style="cyan", markup=False, soft_wrap=True)
    return 0


def _list(directory: Path, names: Sequence[str], console: Console) -> int:
    what = "an archive" if compression(directory) is not None else "a directory"
    example = f"zoo show {directory} {visible(names[0])}"
    console.print(
        f"{directory} is {what} of {len(names):,} runs; name one, such as: {example}",
        markup=False,
        soft_wrap=True,
    )
    for name in names:
        console.print(f"  {visible(name)}", markup=False, soft_wrap=True)
    return 0


def _print_head(record: Record, console: Console) -> None:
    colour = {"finished": "green", "pruned": "cyan", "diverged": "yellow"}.get(record.status, "red")
    console.print(f"[bold]{escape(record.run_id)}[/]  [{colour}]{record.status}[/]")
    if record.reason:
        console.print(f"  {record.reason}", markup=False, style=colour)
    cost, sampling = record.cost, record.sampling
    facts = [f"{record.model} ({record.family}) on {record.data}, seed {record.seed}"]
    if cost.parameters is not None:
        facts.append(f"{cost.parameters:,} parameters")
    if cost.updates is not None:
        facts.append(f"{cost.updates:,} updates")
    if cost.train_seconds is not None:
        facts.append(f"trained in {seconds_text(cost.train_seconds)}")
    if sampling.latency_seconds is not None:
        facts.append(f"one sample in {seconds_text(sampling.latency_seconds)}")
    if sampling.throughput is not None:
        facts.append(f"{number(sampling.throughput)} samples/s")
    if sampling.sequential_evaluations is not None:
        facts.append(f"{sampling.sequential_evaluations:,} network evaluations in a row")
    say(" · ".join(facts), console, indent=2)
    if place := machine_text(record.provenance):
        console.print(f"  {place}", markup=False, style="dim")
    segments = record.provenance.segments
    if len(segments) > 1:
        console.print("  resumed: " + "; ".join(map(segment_text, segments)), markup=False)


def machine_text(source: Provenance) -> str:
    """Return the machine of a run in words: devices, processor, driver, host and the cluster's job.

    >>> from zoo.record import Hardware
    >>> machine_text(Provenance(hardware=Hardware(accelerator="H100", accelerators=8), job="Slurm 9"))
    '8 x H100 · job Slurm 9'
    """
    named = (("host", source.host), ("job", source.job))
    return " · ".join(filter(None, [hardware_text(source.hardware), *(f"{n} {v}" for n, v in named if v)]))


def segment_text(segment: Segment) -> str:
    """Return how far, where and by how many processes a segment of training went.

    >>> from zoo.record import Hardware
    >>> h100 = Hardware(accelerator="H100")
    >>> segment_text(Segment("node7", hardware=h100, processes=8, from_updates=40, to_updates=90))
    'updates 40 to 90 by 8 processes on H100 of node7'
    """
    device = segment.hardware.accelerator or segment.hardware.cpu or "a processor"
    count = "one process" if segment.processes == 1 else f"{segment.processes} processes"
    job = f" ({segment.job})" if segment.job else ""
    span = f"updates {segment.from_updates:,} to {segment.to_updates:,}"
    return f"{span} by {count} on {device} of {segment.host}{job}"


def _print_metrics(record: Record, console: Console) -> None:
    if not record.metrics:
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("metric")
    for column in ("value", "real data", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    lacking: dict[str, list[str]] = {}  # the metrics without a value, by the reason
    for name, metric in record.metrics.items():
        if metric.value is None:
            lacking.setdefault(metric.reason or "no reason is known", []).append(metric_name(name))
            continue
        floor = metric.details.get("floor")
        table.add_row(
            escape(metric_name(name)) + ARROWS[metric.direction],
            escape(metric_text(metric, metric.value)),
            "" if floor is None else number(float(floor)),
            f"{metric.n:,}",
        )
    if table.row_count:
        show(table, console)
    for reason, names in lacking.items():
        console.print(f"no {', '.join(names)}: {reason}", style="dim", markup=False, highlight=False)


def metric_text(metric: Metric, value: float) -> str:
    """Return a metric's value with its error, unit and the mark of its kind."""
    unit = "" if metric.unit == "1" else f" {metric.unit}"
    mark = KIND_MARKS.get(metric.kind, "") if metric.unit in ("nats", "bits/dim") else ""
    return f"{mark}{number(value, metric.standard_error)}{unit}"


def _print_curves(run: Run, console: Console) -> None:
    curves = {name: points for name, points in run.curves().items() if len(points) > 1}
    labels = {name: curve_name(name) for name in curves}
    longest = min(max(map(len, labels.values()), default=0), 26)
    width = max(10, min(console.width, WIDTH) - longest - 34)
    for name in sorted(curves, key=lambda name: (not name.startswith("val/"), name)):
        values = [value for _, value in curves[name]]
        finite = [value for value in values if math.isfinite(value)]
        if len(finite) > 1:
            ends = f"{number(finite[0])} → {number(finite[-1])}, least {number(min(finite))}"
            line = Text.assemble(
                (f"{labels[name][:longest]:{longest}} ", "dim"),
                (sparkline(values, width), "cyan"),
                f" {ends}",
            )
            console.print(line, no_wrap=True, crop=True)


def sparkline(values: Sequence[float], width: int) -> str:
    """Return a curve as at most ``width`` bars of eight heights; a value that is not finite is a gap.

    >>> sparkline([8.0, 4.0, 2.0, 1.0], 4)
    '█▄▂▁'
    """
    count = min(width, len(values))
    pieces = np.array_split(np.asarray(values, dtype=float), count)
    means = [
        float(piece[np.isfinite(piece)].mean()) if np.isfinite(piece).any() else math.nan for piece in pieces
    ]
    finite = [mean for mean in means if math.isfinite(mean)]
    if not finite:
        return " " * count
    low, high = min(finite), max(finite)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(" " if math.isnan(mean) else BARS[round((mean - low) * scale)] for mean in means)


def _print_pictures(run: Run, console: Console) -> None:
    arrays = run.arrays(SAMPLES) or {}
    width = min(console.width, WIDTH)
    coloured = console.color_system is not None
    if {"samples", "real", "levels"} <= arrays.keys() and arrays["samples"].ndim == 4:
        levels = max(2, int(arrays["levels"]) or 256)
        columns = max(1, (width + 1) // (arrays["samples"].shape[3] + 1))
        for title, images in (("samples", arrays["samples"]), ("real", arrays["real"])):
            console.print(f"\n[bold]{title}[/]")
            for line in half_blocks(tiled(images[: columns * ROWS], columns) / (levels - 1), coloured):
                console.print(line, no_wrap=True, crop=True)
    density = run.arrays(DENSITY) or {}
    if {"density", "data"} <= density.keys():
        side = min(48, width // 2)
        pair = [_resized(np.asarray(density[name], dtype=float), side) for name in ("density", "data")]
        top = max(float(np.quantile(pair[1][pair[1] > 0], 0.97)), 1e-12) if (pair[1] > 0).any() else 1.0
        gap = np.zeros((side, 2))
        picture = np.concatenate([pair[0], gap, pair[1]], axis=1)[::-1, :, None] / top
        console.print("\n[bold]density[/] of the model, and the data")
        for line in half_blocks(np.clip(picture, 0, 1), coloured):
            console.print(line, no_wrap=True, crop=True)


def _resized(grid: np.ndarray, side: int) -> np.ndarray:
    """Return a grid with ``side`` rows and columns: means of blocks, or the nearest cells of a small grid."""
    grid = np.nan_to_num(grid)
    if min(grid.shape) < side:
        rows, columns = (np.linspace(0, n - 1, side).round().astype(int) for n in grid.shape)
        return grid[np.ix_(rows, columns)]
    bands = np.stack([band.mean(axis=0) for band in np.array_split(grid, side, axis=0)])
    return np.stack([band.mean(axis=1) for band in np.array_split(bands, side, axis=1)], axis=1)
