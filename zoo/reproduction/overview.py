"""All tables at a glance: the status of their cells, and what the rest would cost."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from zoo.reproduction import costs
from zoo.reproduction.reproduce import Report, report
from zoo.reproduction.runs import absent, data_of
from zoo.reproduction.schema import Table, load, names
from zoo.reproduction.texts import counted, statuses
from zoo.reproduction.verdict import VERDICTS, Result


@dataclass(frozen=True)
class Line:
    """A table in the overview.

    Attributes:
        report: the table with its results.
        verdicts: number of cells with a verdict.
        run: number of cells with a value of ours.
        ready: number of cells that are not run, but whose recipe zoo has.
        device_hours: estimated hours of one accelerator for these, all seeds, and for the seeds that other
            cells lack; None where nothing is counted.
        core_hours: estimated hours of one core of a processor for those that do without an accelerator.
        hours: both hours of each recipe by its overrides: two tables may share one.
        uncounted: number of ready cells whose hours are not known.
        with_files: number of ready cells that need files which zoo does not download.
    """

    report: Report
    verdicts: int
    run: int
    ready: int
    device_hours: float | None
    core_hours: float | None
    hours: Mapping[str, tuple[float, float]]
    uncounted: int
    with_files: int


def overview() -> list[Line]:
    """Return every shipped table with the status of its cells."""
    return [_line(report(load(name))) for name in names()]


def _line(report: Report) -> Line:
    ready = ready_cells(report.results, report.table)
    missing = {
        result.cell.recipe: len(report.table.recipes[result.cell.recipe or ""].seeds) for result in ready
    }
    missing |= {
        result.cell.recipe: _seeds_missing(result, report.table) for result in report.results if result.ours
    }
    hours: dict[str, tuple[float, float]] = {}
    for key, runs in missing.items():
        if not key or not runs:
            continue
        recipe, counted = report.table.recipes[key], costs.cost(report.table, key)
        name = json.dumps(recipe.overrides, sort_keys=True)
        if not recipe.accelerator and recipe.hours is not None:
            hours[name] = (0.0, recipe.hours * runs)
        elif counted is not None:
            hours[name] = (counted.device_hours * runs, 0.0)
    device, core = (sum(pair[index] for pair in hours.values()) or None for index in (0, 1))
    files = report.table.files
    return Line(
        report,
        sum(result.status in VERDICTS for result in report.results),
        sum(result.ours is not None for result in report.results),
        len(ready),
        device,
        core,
        hours,
        sum(not costs.describe(report.table, result.cell.recipe or "") for result in ready),
        sum(data_of(report.table.recipes[result.cell.recipe or ""]) in files for result in ready),
    )


def _seeds_missing(result: Result, table: Table) -> int:
    """Return how many seeds of a cell's recipe have no run; 0 for a fit in closed form."""
    if result.ours is None or not result.cell.recipe:
        return 0
    return len(set(table.recipes[result.cell.recipe].seeds) - {*result.ours.seeds, *result.ours.failed})


def ready_cells(results: Sequence[Result], table: Table) -> list[Result]:
    """Return the cells that are not run though zoo has their recipe."""
    return [
        result
        for result in results
        if result.status == "not run" and result.cell.recipe and not absent(table.recipes[result.cell.recipe])
    ]


def command(result: Result, table: Table) -> str:
    """Return the command that runs a cell.

    >>> table = load("bits_per_dim_cifar10")
    >>> (glow,) = report(table, table.select("Glow/exact")).results
    >>> command(glow, table)
    'zoo reproduce bits_per_dim_cifar10 --only Glow/exact trainer=gpu'
    """
    gpu = [] if not table.recipes[result.cell.recipe or ""].accelerator else ["trainer=gpu"]
    return shlex.join(["zoo", "reproduce", table.given or table.name, "--only", result.cell.name, *gpu])


def print_overview(lines: Sequence[Line], console: Console) -> None:
    """Print the overview in 80 columns, with the sums below."""
    rich = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    rich.add_column("table", no_wrap=True)
    for heading in ("cells", "run", "verdict", "ready", "device-h", "core-h"):
        rich.add_column(heading, justify="right")
    for line in lines:
        rich.add_row(
            line.report.table.name,
            str(len(line.report.results)),
            str(line.run or ""),
            str(line.verdicts or ""),
            str(line.ready or ""),
            "" if line.device_hours is None else costs.hours(line.device_hours),
            "" if line.core_hours is None else costs.hours(line.core_hours),
        )
    console.print(rich)
    results = [result for line in lines for result in line.report.results]
    hours = {name: pair for line in lines for name, pair in line.hours.items()}  # each recipe once
    device, core = (sum(pair[index] for pair in hours.values()) for index in (0, 1))
    uncounted = sum(line.uncounted for line in lines)
    with_files = sum(line.with_files for line in lines)
    without = f", without {counted(uncounted, 'cell')} whose operations are not counted" if uncounted else ""
    text = [
        f"{len(lines)} tables, {len(results)} cells: "
        + ", ".join(f"{n} {status}" for status, n in statuses(results).items())
        + ".",
        "ready: not run, but zoo has the recipe; zoo reproduce TABLE --report-only shows what others need. "
        f"{with_files} of these cells need files that zoo does not download (zoo doctor).",
        f"It takes {costs.hours(device)} device-hours, {costs.hours(device / 8)} h on eight devices "
        f"and {costs.hours(core)} hours of a core{without}. Device-hours are estimated from counted FLOPs: "
        f"10 to 40% of {costs.PEAK / 1e12:.0f} TFLOP/s, {1e3 * costs.LAUNCH:.0f} ms an update or more.",
    ]
    for sentence in text:
        console.print(escape(sentence), highlight=False)
