"""The published values that belong to runs, for the page of a comparison."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.comparison.collect import Run
from zoo.comparison.page.runs import Published
from zoo.config.overrides import split
from zoo.reproduction.runs import Finder
from zoo.reproduction.schema import Grade, Table, load, names
from zoo.reproduction.texts import error_kind, published

READ: dict[Grade, str] = {
    "A": "read in the authors' repository",
    "A3": "read in a repository of others",
    "B": "read in the paper",
    "C": "from a transcription of the paper",
    "D": "computed by zoo",
    "M": "recalled, not verified",
}


def published_values(runs: Sequence[Run]) -> dict[str, list[Published]]:
    """Return the published values of the recipes that runs were made by, by the run's id.

    Only runs whose overrides name a recipe's experiment are looked at: nothing is composed for others. Runs
    under a shortened budget belong to no value.
    """
    named = {run.record.run_id: _experiment(run) for run in runs}
    candidates = [run for run in runs if named[run.record.run_id]]
    values: dict[str, list[Published]] = {}
    if not candidates:
        return values
    experiments, finder = set(named.values()), Finder()
    for table in map(load, names()):
        keys = [key for key, one in table.recipes.items() if one.overrides.get("experiment") in experiments]
        for key, of_recipe in finder.sort(table, candidates, keys).items():
            of_cells = [_value(table, place) for place, cell in enumerate(table.cells) if cell.recipe == key]
            for run in of_recipe.full.values():
                values.setdefault(run.record.run_id, []).extend(of_cells)
    return values


def _experiment(run: Run) -> str:
    """Return the experiment that a run's overrides name; empty if they name none."""
    overrides = run.record.provenance.overrides or []
    return dict(split(text.lstrip("+")) for text in overrides).get("experiment", "")


def _value(table: Table, place: int) -> Published:
    """Return a cell's published value in words."""
    cell = table.cells[place]
    column, what = table.columns[cell.column], error_kind(cell)
    text = f"{published(cell)} {column.unit if column.unit != '1' else ''}".strip()
    return Published(
        metric=column.metric,
        cell=f"{cell.row}, {cell.column}",
        text=f"{text} (± is {what})" if what else text,
        source=f"{table.paper} ({READ[cell.grade]})",
        command=f"zoo reproduce {table.name} --report-only",
    )
