"""The result of ``zoo time`` as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zoo.running.retime import Result


def print_times(results: Sequence[Result], console: Console | None = None) -> None:
    """Print the milliseconds of each run's calls (lower quartile), and how many calls were undisturbed."""
    console = console or Console()
    sizes = sorted({int(size) for result in results for size in result.timing.batches})
    table = Table(
        title="Milliseconds per call, lower quartile [number of undisturbed calls]", box=box.SIMPLE_HEAD
    )
    table.add_column("run", overflow="fold")
    for size in sizes:
        table.add_column(f"batch {size}", justify="right")
    for result in results:
        table.add_row(escape(result.name), *(_cell(result, size) for size in sizes))
    console.print(table)
    if kept := sum(not result.timing.counts for result in results):
        console.print(
            f"{kept} of {len(results)} runs keep the times that they had, for want of undisturbed calls; run "
            "zoo time again when the machine is idle."
        )
    load = results[0].timing.load
    if load.before is not None and load.after is not None:
        console.print(f"load {load.before:.1f} before, {load.after:.1f} after, on {load.cores} cores")


def _cell(result: Result, size: int) -> str:
    calls = result.timing.batches.get(str(size))
    if calls is None:
        return "too slow"
    seconds = result.timing.times.get(size)
    return "busy" if seconds is None else f"{1e3 * seconds:.3g} \\[{len(calls.seconds)}]"
