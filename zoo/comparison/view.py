"""A choice of what tables show: data sets, columns, and the order of the rows."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from zoo.comparison.collect import Run
from zoo.comparison.groups import loss
from zoo.comparison.studies import studies
from zoo.comparison.tables.cells import Cell, Row, Table, kept_notes
from zoo.errors import ZooError

# names of columns on the page and in zoo recommend, and the headings of the tables that they mean
SPOKEN = {
    "throughput": "samples/s", "parameters": "params", "training": "train (s)", "evaluations": "seq. evals",
}  # fmt: skip
# exact values first: a bound below one proves the better model, the reverse proves nothing
KINDS = ("exact", "exact†", "lower bound", "estimate")


@dataclass(frozen=True)
class View:
    """What to show.

    Attributes:
        data: name or label of a data set; None: all.
        columns: headings, or their beginnings, in the order to show them; empty: all.
        sort: heading of the column that orders the rows, the best first; None: by family.
    """

    data: str | None = None
    columns: tuple[str, ...] = ()
    sort: str | None = None

    def runs(self, runs: Sequence[Run]) -> list[Run]:
        """Return the runs on the data set.

        Raises:
            ZooError: no run is on it.
        """
        if self.data is None:
            return list(runs)
        every = studies(runs)
        chosen = [
            run
            for study in every
            if self.data in (study.data, study.label, study.title)
            for run in study.runs
        ]
        if not chosen:
            known = ", ".join(dict.fromkeys(study.label for study in every))
            raise ZooError(f"No run is on the data set '{self.data}'; the records have {known}.")
        return chosen

    def tables(self, tables: Sequence[Table], *, status: bool = True) -> list[Table]:
        """Return the main tables, or those with the chosen columns, in the chosen order.

        Tables of details are left out, unless a column is in none of the main tables.

        Args:
            tables: main tables and those of details.
            status: whether the status stands last beside chosen columns, also where nobody chose it.

        Raises:
            ZooError: no table has one of the columns.
        """
        main = [table for table in tables if not table.beside]
        joined = _joined(self.columns, {column.casefold() for table in tables for column in table.columns})
        if joined != self.columns:
            return replace(self, columns=joined).tables(tables, status=status)
        names = (*self.columns, *([self.sort] if self.sort else []))
        for name in names:
            if not any(_places(table, name) for table in tables):
                raise _no_column(name, dict.fromkeys(column for table in tables for column in table.columns))
        enough = all(any(_places(table, name) for table in main) for name in names)
        shown = [self._sorted(table) for table in (main if enough else tables)]
        if not self.columns:
            return shown
        return [chosen for table in shown if (chosen := self._chosen(table, status)) is not None]

    def _chosen(self, table: Table, with_status: bool) -> Table | None:
        places = list(dict.fromkeys(place for name in self.columns for place in _places(table, name)))
        if not places:
            return None
        if with_status:
            status = len(table.columns) - 1
            places = [place for place in places if place != status] + [status]
        rows = [replace(row, cells=[row.cells[i] for i in places]) for row in table.rows]
        return replace(
            table,
            columns=[table.columns[i] for i in places],
            directions=[table.directions[i] for i in places],
            rows=rows,
            notes=kept_notes(table.notes, table.rows, rows),
            chosen=True,
        )

    def _sorted(self, table: Table) -> Table:
        """Return the table with its rows by a column: each kind by itself, the best first.

        Collapsed configurations come last, except by their likelihood or distance, and then the floor.
        """
        places = _places(table, self.sort) if self.sort else []
        if not places:
            return table
        column = places[0]
        direction = table.directions[column]

        sinks = not any(row.cells[column].kind in KINDS for row in table.rows)

        def place(row: Row) -> tuple[bool, bool, bool, int, float]:
            cell: Cell = row.cells[column]
            kind = KINDS.index(cell.kind) if cell.kind in KINDS else len(KINDS)
            value = (
                0.0 if cell.value is None else loss(cell.value, "lower" if direction == "none" else direction)
            )
            return not row.runs, cell.value is None, sinks and row.collapsed, kind, value

        return replace(table, rows=sorted(table.rows, key=place))


def _joined(names: tuple[str, ...], headings: Collection[str]) -> tuple[str, ...]:
    """Return names of columns, after joining neighbours that are one heading with a comma in it."""
    found: list[str] = []
    for name in names:
        both = f"{found[-1]}, {name}" if found else ""
        if any(heading in (both.casefold(), both.casefold() + " (nats)") for heading in headings):
            found[-1] = both
        else:
            found.append(name)
    return tuple(found)


def _no_column(name: str, headings: Iterable[str]) -> ZooError:
    """Return the error for a column that no table has; it names the nearest columns, then all."""
    words = {**{heading.casefold(): heading for heading in headings}, **SPOKEN}
    near = difflib.get_close_matches(name.casefold(), words, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(words[one]) for one in near)}? The" if near else "the"
    known = ", ".join(f"'{heading}'" for heading in headings)
    return ZooError(f"No table has a column '{name}'; {hint} columns are {known}.")


def _places(table: Table, name: str) -> list[int]:
    """Return the columns whose heading is ``name``, or else those whose heading begins with it."""
    wanted = name.casefold().strip()
    wanted = SPOKEN.get(wanted, wanted)
    headings = [column.casefold() for column in table.columns]
    exact = [i for i, heading in enumerate(headings) if wanted in (heading, heading.partition(" (")[0])]
    return exact or [i for i, heading in enumerate(headings) if heading.startswith(wanted)]
