"""The columns of the page's one table: metrics, speed and cost, and those of the tables beside."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group
from zoo.comparison.datasets import dimensions
from zoo.comparison.groups import COUNTS, is_logarithmic
from zoo.comparison.guards import key_of
from zoo.comparison.page.shorten import rounded
from zoo.comparison.paired import differences
from zoo.comparison.quantities import LIKELIHOODS, MEGABYTE, Quantity
from zoo.comparison.studies import Study
from zoo.comparison.tables.cells import Cell, Footnotes, Table, empty, number, scalar
from zoo.comparison.tables.columns import (
    COSTS,
    Column,
    MetricColumn,
    filled,
    metric_columns,
    usual_conditions,
)
from zoo.comparison.tables.declare import study_tables
from zoo.comparison.tables.main import briefly_trained
from zoo.comparison.tables.ties import mark_ties, proven_bounds
from zoo.record import Direction, Record


@dataclass
class PageColumn:
    """A column of the page's one table.

    Attributes:
        key: its name in the address of a view.
        heading: as it is printed.
        group: the group of columns that it belongs to.
        direction: which value is better.
        cells: a cell for each group of runs, in the order of the rows.
        values: the value of each run of a row, where the column has one of single runs.
        unit: of the values; empty for plain numbers.
        likelihood: whether its cells have kinds, in which alone they are ranked.
        floor: the value of real data in place of samples, and its standard deviation; None: there is none.
        ranked: whether one direction is better.
        counted: whether its values are counts, known without error.
        ratios: whether its values are compared by their ratios, if all are positive.
        paired: for pairs of configurations: the two, the difference of their likelihoods over the same test
            examples, in the column's unit, its standard error, and the degrees of freedom of that.
        proven: for each configuration whose bound is surely better than exact values of other ones: it, and
            those others.
    """

    key: str
    heading: str
    group: str
    direction: Direction
    cells: list[Cell]
    values: list[list[float | None]] | None = None
    unit: str = ""
    likelihood: bool = False
    floor: tuple[float, float | None] | None = None
    ranked: bool = False
    counted: bool = False
    ratios: bool = False
    proven: list[tuple[str, list[str]]] = field(default_factory=list)
    paired: list[tuple[str, str, float, float, float]] = field(default_factory=list)


def page_columns(study: Study) -> list[PageColumn]:
    """Return the columns of a study: metrics, speed and cost, then those of the tables beside."""
    main, details = metric_columns(study.runs)
    footnotes = Footnotes()
    columns: list[PageColumn] = []
    for column in (*main, *details, *COSTS, *EXTRA):
        usual = usual_conditions(column, study)
        cells = [filled(column, group, usual, footnotes) for group in study.ordered]
        if not any(cell.value is not None or cell.note for cell in cells):
            continue
        columns.append(
            PageColumn(
                key=column.quantity.name,
                heading=column.heading,
                group=_group_of(column),
                direction=column.direction,
                cells=cells,
                values=[_values(column, group) for group in study.ordered],
                unit=column.quantity.unit,
                likelihood=column.quantity.name in LIKELIHOODS,
                floor=column.floor(study.runs),
            )
        )
        if not briefly_trained(study.runs):
            mark_ties(study, column.quantity, study.ordered, cells)
            columns[-1].ranked = column.direction != "none"
            columns[-1].counted = column.quantity in COUNTS
            columns[-1].ratios = is_logarithmic([], column.quantity)
            columns[-1].paired = _paired(study, column.quantity)
            columns[-1].proven = proven_bounds(study, column.quantity, study.ordered, cells)
    return columns + [
        column for table in study_tables() for column in _beside(table.build(table.name, study), study)
    ]


def _paired(study: Study, quantity: Quantity) -> list[tuple[str, str, float, float, float]]:
    """Return for :class:`PageColumn` the paired differences of a likelihood between models.

    Each model is represented by one configuration, as in the table. Empty for any other quantity.
    """
    if quantity.name not in LIKELIHOODS:
        return []
    groups = [group for group in study.baselines() if group.values(quantity)]
    unit = 1.0 if quantity.unit == "nats" else math.log(2) * max(map(dimensions, study.runs))
    if not unit:
        return []
    return [
        (key_of(groups[i]), key_of(groups[j]), -nats / unit, error / unit, freedom)
        for i, j, nats, error, freedom in differences([group.finished for group in groups])
    ]


def _values(column: Column, group: Group) -> list[float | None]:
    values = [column.quantity.of(run.record) for run in group.runs]
    return [None if value is None else rounded(value * column.factor) for value in values]


def _group_of(column: Column) -> str:
    if isinstance(column, MetricColumn):
        return "likelihood" if column.quantity.name in LIKELIHOODS else "samples"
    return GROUPS.get(column.quantity.name, "cost")


def _beside(table: Table | None, study: Study) -> Iterable[PageColumn]:
    """Yield the columns of a table beside the main one; a model that it leaves out has empty cells."""
    if table is None:
        return
    by_runs = {tuple(map(id, row.runs)): row.cells for row in table.rows}
    rows = [by_runs.get(tuple(map(id, group.runs))) for group in study.ordered]
    for index, heading in enumerate(table.columns[:-1]):
        cells = [empty() if row is None else row[index] for row in rows]
        name = table.title
        yield PageColumn(f"{name}/{heading}", heading, name, table.directions[index], cells)


GROUPS = {
    "latency": "sampling",
    "throughput": "sampling",
    "sequential evaluations": "sampling",
    "operations of a sample": "sampling",
    "memory of sampling": "sampling",
}


class MeanColumn(Column):
    """A cost without a direction of its own error: the mean over the runs that have it."""

    def cell(self, runs: Sequence[Run], footnotes: Footnotes) -> Cell:
        """Return the mean over runs with three digits."""
        values = self.values(runs)
        if not values:
            return empty()
        mean = math.fsum(values) / len(values)
        return scalar(number(float(f"{mean:.3g}")), mean, len(values))


def _quantity(name: str, unit: str, read: Callable[[Record], float | None]) -> Quantity:
    return Quantity(name, unit, "lower", read)


EXTRA = (
    MeanColumn(
        "FLOPs/sample", _quantity("operations of a sample", "1", lambda r: r.sampling.flops_per_example)
    ),
    MeanColumn(
        "sampling memory (MB)",
        _quantity("memory of sampling", "byte", lambda r: r.sampling.peak_memory_bytes),
        1 / MEGABYTE,
    ),
    MeanColumn("device-s", _quantity("device seconds", "s", lambda r: r.cost.device_seconds)),
    MeanColumn("memory (MB)", _quantity("memory", "byte", lambda r: r.cost.peak_memory_bytes), 1 / MEGABYTE),
    MeanColumn(
        "FLOPs/example", _quantity("operations of an update", "1", lambda r: r.cost.flops_per_example)
    ),
)
