"""Choose the sheet of a workbook that holds the table."""

from __future__ import annotations

import pandas as pd

from zoo.data.user import FEWEST


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
