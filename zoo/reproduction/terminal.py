"""A reproduction on the terminal, in 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from zoo.reproduction.overview import command, ready_cells
from zoo.reproduction.reproduce import Report
from zoo.reproduction.texts import DEFINITIONS, error_kind, foot, ours, published, z_text
from zoo.reproduction.verdict import Result

COLOURS = {"replicated": "green", "within error": "cyan", "failed": "red", "not run": "dim"}


def print_report(report: Report, console: Console) -> None:
    """Print a table, its foot, and what its words mean."""
    table = report.table
    console.print(f"[bold]{escape(table.title)}[/]  {escape(table.paper)}", highlight=False)
    for column in table.columns:
        results = [result for result in report.results if result.cell.column == column]
        if results:
            console.print(_column(column, results))
    kinds = dict.fromkeys(filter(None, (error_kind(result.cell) for result in report.results)))
    if kinds:
        console.print(f"  published ±: {'; '.join(kinds)}", style="dim", markup=False, highlight=False)
    lines = foot(report).lines()
    if ready := ready_cells(report.results, table):
        lines.append(f"{len(ready)} cells can be run here, such as: {command(ready[0], table)}")
    if any(result.ours is not None for result in report.results):
        lines += DEFINITIONS
    for line in lines:
        console.print(f"  {line}", style="dim", markup=False, highlight=False)


def _column(name: str, results: Sequence[Result]) -> RichTable:
    column = results[0].column
    arrow = {"higher": " ↑", "lower": " ↓"}.get(column.better, "")
    margin = f", margin ±{column.margin:g}" if column.margin is not None else ""
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
    return rich
