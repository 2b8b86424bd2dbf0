"""The table of pruned runs: trials that a search gave up, which no other table compares."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group, family_rank
from zoo.comparison.tables.cells import Cell, Footnotes, Row, Table, empty, number, scalar, status
from zoo.record import best_validation


def pruned_table(runs: Sequence[Run], beside: bool = True) -> Table | None:
    """Return the table of runs that were pruned; None without one.

    Args:
        runs: pruned runs.
        beside: see :class:`~zoo.comparison.tables.cells.Table`.
    """
    if not runs:
        return None
    footnotes = Footnotes()
    rows = [
        Row(
            run.record.run_id,
            Group(run.record.model, [run]).family,
            [*_cells(run), status([run], footnotes)],
            [run],
        )
        for run in runs
    ]
    rows.sort(key=lambda row: (family_rank(row.family), row.name))
    return Table(
        title="Pruned runs (given up by a search, not compared)",
        columns=["updates", "best validation loss", "status"],
        directions=["none", "none", "none"],
        rows=rows,
        notes=footnotes.lines(),
        beside=beside,
    )


def _cells(run: Run) -> list[Cell]:
    updates, best = run.record.cost.updates, best_validation(run.directory)
    return [
        empty() if updates is None else scalar(f"{updates:,}", updates),
        empty() if best is None else scalar(number(best), best),
    ]
