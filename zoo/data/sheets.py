"""Choose the sheet of a workbook that holds the table."""

from __future__ import annotations

import pandas as pd

from zoo.data.groups import are_groups
from zoo.data.marks import Marks
from zoo.data.user import FEWEST

_COMMA = Marks(decimal=",")


def sheet_of_data(book: pd.ExcelFile) -> str:
    """Return the name of the first sheet with as many rows of numbers as a table needs, or the first.

    A sheet of remarks or an empty one before the table is so passed over.
    """
    names = [str(name) for name in book.sheet_names]
    for name in names if len(names) > 1 else []:
        cells = pd.read_excel(book, sheet_name=name, header=None, dtype=object)
        numbers = cells.map(lambda cell: isinstance(cell, int | float) and cell == cell)
        if int(numbers.any(axis=1).sum()) >= FEWEST:
            return name
    return names[0]


def with_points(column: pd.Series) -> pd.Series:
    """Return a column of numbers written as text with decimal commas as numbers; any other one unchanged."""
    cells = [cell for cell in column if isinstance(cell, str)]
    commas = any("," in cell for cell in cells)
    if not commas or not all(map(_COMMA.is_number, cells)) or are_groups([[cell] for cell in cells], ","):
        return column
    return column.map(lambda cell: float(_COMMA.plain(cell)) if isinstance(cell, str) else cell)
