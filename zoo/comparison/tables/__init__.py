"""Tables of runs: a row for each configuration with its seeds, ranks only within a kind of likelihood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from zoo.comparison.collect import Run
from zoo.comparison.studies import Study, sections
from zoo.comparison.tables.cells import Cell, Footnotes, Row, Table, number
from zoo.comparison.tables.declare import study_tables
from zoo.comparison.tables.divergence import divergence_table
from zoo.comparison.tables.main import main_tables

__all__ = ["Cell", "Footnotes", "Row", "Table", "build", "number"]


def build(runs: Sequence[Run]) -> list[Table]:
    """Return the tables of each data set and protocol, after the overview of data sets of known density.

    Values of different protocols never share a column.
    """
    split = sections(runs)
    protocols = Counter(data for data, _ in split)
    tables = [divergence_table(runs)]
    for (data, protocol), members in split.items():
        title, notes = data, []
        if protocols[data] > 1:
            title = f"{data} (protocol {protocol[:8] or 'unknown'})"
            notes = [f"{data} was judged under {protocols[data]} protocols: their values are not comparable"]
        study = Study(data, protocol, members)
        tables += main_tables(title, study, notes)
        tables += [table.build(f"{title}: {table.name}", study) for table in study_tables()]
    return [table for table in tables if table is not None]
