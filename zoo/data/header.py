"""Decide from its cells what the first rows of a table are: a title, names, units or data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MISSING = {"", "?", "na", "n/a", "#n/a", "nan", "-nan", "null", "none", "<na>", "inf", "-inf", "+inf"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WHOLE = re.compile(r"[+-]?\d+")
_TRUTH = {"true", "false"}
_YEARS = (1800, 2100)
MANY = 5  # number of columns from which numbers in equal steps are names without a second sign


@dataclass(frozen=True)
class FirstRows:
    """What the first rows of a table are.

    Attributes:
        titles: number of rows above the table, which hold text over its whole width.
        header: whether the next row names the columns; None: the cells do not decide.
        units: whether the row below the names holds the columns' units of measurement.
    """

    titles: int
    header: bool | None
    units: bool


def first_rows(rows: Sequence[Sequence[str]], header: bool | None = None) -> FirstRows:
    """Return what the first rows are.

    Args:
        rows: the table's first rows, with decimal points.
        header: whether the first row below the titles names the columns; None: decided by
            :func:`has_header`.
    """
    titles = 0
    width = _width(rows)
    while len(rows) - titles > 3 and _is_title(rows[titles:], width):
        titles += 1
    below = rows[titles:]
    if header is None:
        header = has_header(below)
    return FirstRows(titles, header, bool(header) and _has_units(below))


def has_header(rows: Sequence[Sequence[str]]) -> bool | None:
    """Return whether the first row names the columns; None if its cells do not decide.

    Each cell is compared with the cells below it. In order:

    1. Where no column holds numbers, the first row names the columns.
    2. Text above numbers is a name.
    3. Text that occurs again below itself is data; a number above nothing but text is a name.
    4. An empty or missing cell above numbers is data, and so are equal numbers. An empty first cell above a
       column without gaps is that of an index, whose neighbours are names.
    5. A row of distinct numbers above numbers is decided by :func:`_are_names`.

    >>> has_header([["2019", "2020"], ["0.5", "1.5"], ["0.1", "-1"]])
    True
    >>> has_header([["3", "2020"], ["4", "2021"], ["3", "2019"]])
    False
    >>> has_header([["5000", "-700"], ["4", "2"], ["3", "5"]]) is None
    True
    """
    first, body = rows[0], rows[1:]
    if not body:
        return any(not is_number(cell) for cell in first)
    numeric, texts = _columns(first, body)
    if not numeric:
        return True
    named = [(cell, below) for cell, below in numeric if cell.lower() not in MISSING]
    if any(not _is_value(cell) for cell, _ in named):
        return True
    for cell, below in texts:
        if cell in below:
            return False
        if is_number(cell) and not any(map(is_number, below)):
            return True
    if any(cell and cell.lower() in MISSING for cell, _ in numeric):
        return False
    heads = [cell for cell, below in named if below and is_number(cell)]
    if len(heads) < len(named) or not heads or len(set(map(float, heads))) < len(heads):
        return False
    if not first[0].strip() and len(named) > 1 and all(len(row) > 0 and row[0].strip() for row in body):
        return True
    return _are_names(heads, [below for _, below in named], body)


Column = tuple[str, list[str]]  # the cell of the first row, and the cells below it that are not missing


def _columns(first: Sequence[str], body: Sequence[Sequence[str]]) -> tuple[list[Column], list[Column]]:
    """Return the columns of numbers and those of text; columns without any cell are left out.

    A column is one of numbers if most cells below the first row are; of these cells the numbers are returned.
    """
    numeric: list[Column] = []
    texts: list[Column] = []
    for i, cell in enumerate(first):
        below = [row[i].strip() for row in body if i < len(row)]
        below = [text for text in below if text.lower() not in MISSING]
        if below and 2 * sum(map(_is_value, below)) > len(below):
            numeric.append((cell.strip(), [text for text in below if is_number(text)]))
        elif below:
            texts.append((cell.strip(), below))
    return numeric, texts


def is_number(text: str) -> bool:
    """Return whether a cell is a finite number written with a decimal point, if it has a fraction."""
    return _NUMBER.fullmatch(text.strip()) is not None


def _is_value(text: str) -> bool:
    return is_number(text) or text.strip().lower() in _TRUTH


def _are_names(heads: list[str], below: list[list[str]], body: Sequence[Sequence[str]]) -> bool | None:
    """Return whether a first row of distinct numbers, such as years, names the columns; None if undecided.

    Args:
        heads: the cells of the first row, which are numbers.
        below: the other cells of each column, which are numbers too.
        body: the rows below the first one.
    """
    row = _row_of_numbers(heads, below, body)
    if row.is_whole and row.numbers[0] in (0, 1) and (len(heads) == 1 or _counts(row.numbers)):
        return _counting_row(row)
    if row.in_steps:
        return True if _is_series_of_names(row) else None
    if len(heads) > 1 and all(row.outside):
        return True if row.are_years or (row.has_fewer_decimals and bool((row.numbers >= 0).all())) else None
    return None if _is_unclear(row) else False


@dataclass(frozen=True)
class _Row:
    """What distinguishes a first row of numbers from the rows below it.

    Attributes:
        numbers: its numbers.
        others: the rows below it of as many numbers.
        outside: for each number, whether it lies far outside of the range of those below it.
        is_whole: whether all are written as whole numbers.
        are_years: whether they are whole and may be years.
        has_fewer_decimals: whether each has fewer decimals than every number below it.
        is_briefer: whether three or more ascending numbers have, together, fewer decimals than any other row.
        in_steps: whether three or more numbers are in equal steps, as those of no other row are.
    """

    numbers: np.ndarray
    others: list[list[float]]
    outside: list[bool]
    is_whole: bool
    are_years: bool
    has_fewer_decimals: bool
    is_briefer: bool
    in_steps: bool


def _row_of_numbers(heads: list[str], below: list[list[str]], body: Sequence[Sequence[str]]) -> _Row:
    """Return what distinguishes a first row from those below it; for the arguments see :func:`_are_names`."""
    numbers = np.array([float(cell) for cell in heads])
    cells = [[cell for cell in row if is_number(cell)] for row in body]
    cells = [row for row in cells if len(row) == len(numbers)]
    others = [[float(cell) for cell in row] for row in cells]
    is_whole = all(_WHOLE.fullmatch(cell) for cell in heads)
    fewest = min((sum(map(_decimals, row)) for row in cells), default=0)
    ascend = bool((np.diff(numbers) > 0).all())
    return _Row(
        numbers,
        others,
        outside=[_is_outside(number, column) for number, column in zip(numbers, below, strict=True)],
        is_whole=is_whole,
        are_years=is_whole and bool(((numbers >= _YEARS[0]) & (numbers <= _YEARS[1])).all()),
        has_fewer_decimals=all(
            _decimals(cell) < min(map(_decimals, column)) for cell, column in zip(heads, below, strict=True)
        ),
        is_briefer=len(numbers) > 2 and sum(map(_decimals, heads)) < fewest and ascend,
        in_steps=len(numbers) > 2 and _in_equal_steps(numbers) and not any(map(_in_equal_steps, others)),
    )


def _counting_row(row: _Row) -> bool | None:
    """Return whether a row 0, 1, 2, ... or 1, 2, 3, ... names the columns.

    Three or more such numbers do; undecided if another row rises by 1, too. One or two are names if they also
    have fewer decimals and are below 2; undecided if one of the signs speaks for names.
    """
    count = len(row.numbers)
    if count >= 3:
        return None if any(map(_counts, row.others)) else True
    if row.has_fewer_decimals and row.numbers[-1] < 2:
        return True
    if row.has_fewer_decimals or all(row.outside):
        return None
    return _rare(row.others)


def _is_series_of_names(row: _Row) -> bool:
    """Return whether numbers in equal steps name the columns: a second sign says so, or they are many."""
    half_outside = 2 * sum(row.outside) >= len(row.numbers)
    return row.has_fewer_decimals or half_outside or len(row.numbers) >= MANY or row.are_years


def _is_unclear(row: _Row) -> bool:
    """Return whether a sign speaks for names that is too weak alone to decide."""
    years = row.are_years and len(row.numbers) > 2 and _counts(row.numbers)
    return row.has_fewer_decimals or row.is_briefer or all(row.outside) or years


def _rare(others: list[list[float]]) -> bool | None:
    """Return None (undecided) if none of 20 or more rows rises by 1 from column to column, else False (data).

    Among many such rows, a first row that does rise by 1 stands out and may be names.
    """
    return None if len(others) >= 20 and not any(map(_counts, others)) else False


def _decimals(text: str) -> int:
    """Return the number of digits behind the point; 99 for a number with an exponent."""
    return 99 if "e" in text.lower() else len(text.partition(".")[2])


def _counts(row: Sequence[float] | np.ndarray) -> bool:
    """Return whether the numbers rise by 1 from column to column."""
    return bool((np.diff(np.asarray(row)) == 1).all())


def _in_equal_steps(row: Sequence[float] | np.ndarray) -> bool:
    """Return whether three or more numbers rise or fall by equal steps or factors from column to column."""
    values = np.asarray(row, dtype=np.float64)
    steps = np.diff(values)
    if len(steps) < 2 or not steps.all():
        return False
    factors = values[1:] / values[:-1] if values.all() else np.array([0.0, 1.0])
    return any(np.allclose(x, x[0], rtol=1e-6, atol=0) for x in (steps, factors))


def _is_outside(name: float, below: Sequence[str]) -> bool:
    """Return whether a number lies outside the range of others by more than its width."""
    values = np.array([float(text) for text in below])
    width = float(np.ptp(values)) or 1.0
    return not values.min() - width <= name <= values.max() + width


def _width(rows: Sequence[Sequence[str]]) -> int:
    """Return the most frequent number of cells in a row."""
    widths = [len(row) for row in rows]
    return max(set(widths), key=widths.count)


def _is_title(rows: Sequence[Sequence[str]], width: int) -> bool:
    """Return whether the first row is a title above a table of this width.

    A title has text in fewer cells than the table has columns. A further title, the names of the columns, or
    the rows of a table of three or more columns follow it.
    """
    cells = [cell.strip() for cell in rows[0] if cell.strip()]
    if width < 2 or not cells or len(cells) >= width or all(map(is_number, cells)):
        return False
    if len([cell for cell in rows[1] if cell.strip()]) < 2:  # the next row may be another title
        return len(cells) == 1 and len(rows) > 4
    if has_header(rows[1:]) and any(not is_number(cell) for cell in rows[1]):
        return len(cells) == 1 or len(rows[0]) != width - 1
    return len(cells) == 1 and len(rows[0]) in (1, width) and width > 2


def _has_units(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the second row holds units: it is text without a number, above columns of numbers."""
    if len(rows) < 4:
        return False
    second, body = rows[1], rows[2:]
    if any(map(_is_value, second)) or all(not cell.strip() for cell in second):
        return False
    above = 0
    for i, cell in enumerate(second):
        below = [row[i].strip() for row in body if i < len(row)]
        below = [text for text in below if text.lower() not in MISSING]
        numbers = sum(map(_is_value, below))
        if cell.strip().lower() not in MISSING and below and 10 * numbers > 9 * len(below):
            above += 1
        elif cell.strip() in below:
            return False
    return above > 0
