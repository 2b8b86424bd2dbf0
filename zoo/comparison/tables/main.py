"""The main table of a study: likelihoods, distances between samples and data, speed and cost."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.comparison.collect import Run
from zoo.comparison.guards import key_of
from zoo.comparison.quantities import UPDATES, Quantity
from zoo.comparison.studies import Study
from zoo.comparison.tables.cells import (
    BRIEF,
    Cell,
    CellOf,
    Footnotes,
    Row,
    Table,
    captions,
    number,
    rows,
    say_how_many,
)
from zoo.comparison.tables.columns import (
    COSTS,
    Column,
    MetricColumn,
    TimedColumn,
    filled,
    metric_column,
    metric_columns,
    usual_conditions,
)
from zoo.comparison.tables.ties import mark_ties, proven_bounds

BOUND_TEST = "a one-sided test of each bound against each exact value, by Holm at 5 %"


def main_tables(title: str, study: Study, notes: Sequence[str] = (), *, beside: bool = True) -> list[Table]:
    """Return the main table of a study, and the one with details of its samples if it has any.

    Args:
        title: of the main table.
        study: runs that may be compared.
        notes: sentences that stand before the captions.
        beside: whether to build the one with details too.
    """
    main, details = metric_columns(study.runs)
    tables = [_table(title, study, [*main, *COSTS], notes)]
    if details and beside:
        tables.append(_table(f"{title}: samples in detail", study, details, [], beside=True))
    return tables


def _table(
    title: str, study: Study, columns: Sequence[Column], notes: Sequence[str], beside: bool = False
) -> Table:
    footnotes = Footnotes()
    body = rows(study, study.ordered, [_cell_of(column, study, footnotes) for column in columns], footnotes)
    brief = briefly_trained(study.runs)
    for index, column in enumerate(columns):
        if not brief:
            mark_ties(study, column.quantity, study.ordered, [row.cells[index] for row in body])
    cells = [(column, row.cells[index]) for row in body for index, column in enumerate(columns)]
    measured = [cell for column, cell in cells if isinstance(column, MetricColumn)]
    say_how_many([cell for column, cell in cells if isinstance(column, MetricColumn | TimedColumn)])
    explained = dict.fromkeys(cell.caption for _, cell in cells if cell.caption)
    floors = [column.floor(study.runs) for column in columns]
    if any(floor is not None for floor in floors):
        body.append(_floor_row(floors))
    return Table(
        title=title,
        columns=[*(column.heading for column in columns), "status"],
        directions=[*(column.direction for column in columns), "none"],
        rows=body,
        notes=[*notes, *brief, *captions(measured), *explained, *footnotes.lines()],
        beside=beside,
    )


def _cell_of(column: Column, study: Study, footnotes: Footnotes) -> CellOf:
    usual = usual_conditions(column, study)
    return lambda group: filled(column, group, usual, footnotes)


def _floor_row(floors: Sequence[tuple[float, float | None] | None]) -> Row:
    """Return the row with the value of each metric for real data in place of samples, and its deviation."""
    cells = [Cell("" if floor is None else number(*floor), floor and floor[0]) for floor in floors]
    return Row("real data (floor)", "", [*cells, Cell("")])


def column_letters(study: Study, quantity: Quantity) -> dict[str, str]:
    """Return the letters of ties in a metric's column of a study's table, by the configuration's key.

    Args:
        study: the runs.
        quantity: a metric of the records.
    """
    if briefly_trained(study.runs):
        return {}
    cells = _metric_cells(study, quantity)
    mark_ties(study, quantity, study.ordered, cells)
    return {key_of(group): cell.letters for group, cell in zip(study.ordered, cells, strict=True)}


def _metric_cells(study: Study, quantity: Quantity) -> list[Cell]:
    column = metric_column(quantity.name, quantity.unit, quantity.direction)
    usual, footnotes = usual_conditions(column, study), Footnotes()
    return [filled(column, group, usual, footnotes) for group in study.ordered]


def bounds_in_words(study: Study, quantity: Quantity) -> list[str]:
    """Return a sentence for each bound that is sure to be better than exact values of a likelihood."""
    if briefly_trained(study.runs):
        return []
    cells = _metric_cells(study, quantity)
    names = {key_of(group): study.name(group) for group in study.ordered}
    texts = {key_of(group): cell.text for group, cell in zip(study.ordered, cells, strict=True)}
    return [
        f"{names[bound]} ({texts[bound]}) is better than the exact values of "
        f"{', '.join(names[other] for other in beaten)}: {BOUND_TEST}."
        for bound, beaten in proven_bounds(study, quantity, study.ordered, cells)
    ]


def briefly_trained(runs: Sequence[Run]) -> list[str]:
    """Return a note if every run has too few updates for its quality to mean anything; otherwise none."""
    updates = [n for run in runs if (n := UPDATES.of(run.record)) is not None]
    if len(updates) < len(runs) or max(updates) >= BRIEF:
        return []
    few, most = f"{min(updates):g}", f"{max(updates):g}"
    budget = most if few == most else f"{few} to {most}"
    return [f"trained for {budget} updates: a measurement of speed, not of quality"]
