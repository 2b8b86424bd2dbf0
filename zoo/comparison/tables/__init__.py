"""Tables of runs: a row for each configuration with its seeds, ranks only within a kind of likelihood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from zoo.comparison.collect import Run
from zoo.comparison.studies import studies, without_pruned
from zoo.comparison.tables.cells import BETWEEN_MARKS, Cell, Footnotes, Row, Table, number
from zoo.comparison.tables.declare import study_tables
from zoo.comparison.tables.divergence import divergence_table
from zoo.comparison.tables.main import main_tables
from zoo.comparison.tables.pruned import pruned_table

__all__ = ["BETWEEN_MARKS", "Cell", "Footnotes", "Row", "Table", "build", "number"]


def build(runs: Sequence[Run], *, beside: bool = True) -> list[Table]:
    """Return the tables of each data set and protocol, after the overview of data sets of known density.

    Values of different data or of different protocols never share a column. Pruned runs have a table of their
    own.

    Args:
        runs: the runs.
        beside: whether to build the tables that only add details (:attr:`Table.beside`), which the terminal
            does not show.
    """
    runs, pruned = without_pruned(runs)
    compared = studies(runs)
    protocols = Counter(study.label for study in compared)
    tables = [divergence_table(runs)]
    for study in compared:
        notes = []
        if (several := protocols[study.label]) > 1:
            notes = [f"{study.label} was judged under {several} protocols: their values are not comparable"]
        if left_out := sum(run.record.data == study.data for run in pruned):
            notes.append(
                f"{left_out} runs that a search has pruned are left out; zoo compare -o DIR lists them"
            )
        tables += main_tables(study.title, study, notes, beside=beside)
        tables += [
            table.build(f"{study.title}: {table.name}", study)
            for table in study_tables()
            if beside or not table.beside
        ]
    tables.append(pruned_table(pruned, beside=bool(compared)))
    return [table for table in tables if table is not None and (beside or not table.beside)]
