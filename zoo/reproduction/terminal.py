"""A reproduction on the terminal, in 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from zoo.reproduction.overview import command, ready_cells
from zoo.reproduction.reproduce import Report
from zoo.reproduction.texts import (
    DEFINITIONS,
    FLOOR,
    Floor,
    counted,
    error_kind,
    floors,
    foot,
    number,
    ours,
    published,
    z_text,
)
from zoo.reproduction.verdict import Result

COLOURS = {"replicated": "green", "within error": "cyan", "failed": "red", "not run": "dim"}


def print_report(report: Report, console: Console) -> None:
    """Print a table, its foot, and what its words mean."""
    table = report.table
    console.print(f"[bold]{escape(table.title)}[/]  {escape(table.paper)}", highlight=False)
    for column in table.columns:
        results = [result for result in report.results if result.cell.column == column]
        if results:
            console.print(_column(column, results, floors(report).get(column)))
    kinds = dict.fromkeys(filter(None, (error_kind(result.cell) for result in report.results)))
    if kinds:
        console.print(f"  published ±: {'; '.join(kinds)}", style="dim", markup=False, highlight=False)
    lines = foot(report).lines()
    lines += runnable(report)
    if any(result.ours is not None for result in report.results):
        lines += DEFINITIONS
    for line in lines:
        console.print(f"  {line}", style="dim", markup=False, highlight=False)


def runnable(report: Report) -> list[str]:
    """Return how many cells can be run on this machine, how many need an accelerator, and a command each."""
    table, lines = report.table, []
    ready = ready_cells(report.results, table)
    for needed, where in ((False, "here"), (True, "on an accelerator")):
        cells = [cell for cell in ready if table.recipes[cell.cell.recipe or ""].accelerator == needed]
        if cells:
            lines.append(
                f"{counted(len(cells), 'cell')} can be run {where}, such as: {command(cells[0], table)}"
            )
    return lines


def _column(name: str, results: Sequence[Result], floor: Floor | None) -> RichTable:
    column = results[0].column
    arrow = {"higher": " ↑", "lower": " ↓"}.get(column.better, "")
    margin = f", margin ±{column.margin:g}"
    unit = "" if column.unit == "1" else f", {column.unit}"
    rich = RichTable(
        title=escape(f"{name}{arrow}{unit}{margin}"),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        padding=(0, 1, 0, 0),
    )
    rich.add_column("row", max_width=22)
    rich.add_column("published", justify="right", no_wrap=True)
    rich.add_column("ours", justify="right", max_width=26)
    rich.add_column("z", justify="right", no_wrap=True)
    rich.add_column("status", min_width=12)
    for result in results:
        colour = COLOURS.get(result.status, "yellow")
        rich.add_row(
            escape(result.cell.row),
            escape(published(result.cell)),
            escape(ours(result)),
            z_text(result),
            f"[{colour}]{escape(result.label)}[/]",
        )
    if floor is not None:
        rich.add_row(FLOOR, "", f"{number(floor.value, floor.deviation)} r{floor.deviation:.2g}", "", "floor")
    return rich
