"""Tables beside the main ones, one file each.

A file beside this one declares a table of a study, the runs on one data set under one protocol::

    @study_table("memory", order=50)
    def memory(title: str, study: Study) -> Table | None:
        ...

and is thereby part of every comparison: :func:`study_tables` finds every file. There is no list to edit.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from zoo.comparison.studies import Study
from zoo.comparison.tables.cells import Table

Build = Callable[[str, Study], Table | None]


@dataclass(frozen=True)
class StudyTable:
    """A table of a study as its file declares it.

    Attributes:
        name: name in the table's title, after the data set's.
        order: place among the tables of a study, after the main ones.
        build: function that returns the table with a title, or None if the study has no values for it.
        beside: whether it returns tables with ``beside=True`` only, so that it need not be called where these
            are not shown.
    """

    name: str
    order: int
    build: Build
    beside: bool = False


def study_table(name: str, *, order: int, beside: bool = False) -> Callable[[Build], StudyTable]:
    """Declare the decorated function a table of every study; see :class:`StudyTable`."""
    return lambda build: StudyTable(name, order, build, beside)


@functools.cache
def study_tables() -> tuple[StudyTable, ...]:
    """Return the tables that the files of this package declare, in their order."""
    package = importlib.import_module(__name__.rpartition(".")[0])
    modules = [
        importlib.import_module(f"{package.__name__}.{info.name}")
        for info in pkgutil.iter_modules(package.__path__)
    ]
    tables = [value for module in modules for value in vars(module).values() if isinstance(value, StudyTable)]
    return tuple(sorted(dict.fromkeys(tables), key=lambda table: (table.order, table.name)))
