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
MANY = 5  # columns from which names in equal steps are no chance


@dataclass(frozen=True)
class FirstRows:
    """What the first rows of a table are.

    Attributes:
        titles: number of rows above the table, which hold text over its whole width.
        header: whether the next row names the columns; None: the cells do not decide.
        units: whether the row below the names holds the columns' units.
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

    True if one of its cells is text above numbers or a number above text, False if one of them is text that
    occurs below it. Where every cell is a number above numbers, the row is compared with the others. Names
    are distinct; they count 0, 1, 2, ...; they rise in equal steps, as in no other row; they have fewer
    decimals than all numbers below them; they lie outside the range of those by more than its width. Two of
    these decide (a row that counts needs no second); one alone is undecided; none is data.

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
    columns: list[tuple[str, list[str]]] = []
    texts: list[tuple[str, list[str]]] = []
    for i, cell in enumerate(first):
        below = [row[i].strip() for row in body if i < len(row)]
        below = [text for text in below if text.lower() not in MISSING]
        numeric = sum(_is_value(text) for text in below)
        if below and 2 * numeric > len(below):
            columns.append((cell.strip(), [text for text in below if is_number(text)]))
        elif below:
            texts.append((cell.strip(), below))
    if not columns:  # all columns are text
        return True
    named = [(cell, below) for cell, below in columns if cell.lower() not in MISSING]
    if any(not _is_value(cell) for cell, _ in named):
        return True
    for cell, below in texts:
        if cell in below:
            return False
        if is_number(cell) and not any(map(is_number, below)):
            return True
    heads = [cell for cell, below in named if below and is_number(cell)]
    if any(cell and cell.lower() in MISSING for cell, _ in columns):
        return False
    if len(heads) < len(named) or not heads or len(set(map(float, heads))) < len(heads):
        return False
    if not first[0].strip() and len(named) > 1 and all(len(row) > 0 and row[0].strip() for row in body):
        return True  # an index without a name
    return _are_names(heads, [below for _, below in named], body)


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
    names = np.array([float(cell) for cell in heads])
    whole = all(_WHOLE.fullmatch(cell) for cell in heads)
    shorter = all(
        _decimals(cell) < min(map(_decimals, column)) for cell, column in zip(heads, below, strict=True)
    )
    outside = [_is_outside(name, column) for name, column in zip(names, below, strict=True)]
    cells = [[cell for cell in row if is_number(cell)] for row in body]
    cells = [row for row in cells if len(row) == len(names)]
    others = [[float(cell) for cell in row] for row in cells]
    steps = len(names) > 2 and _in_equal_steps(names) and not any(map(_in_equal_steps, others))
    briefest = min((sum(map(_decimals, row)) for row in cells), default=0)
    brief = len(names) > 2 and sum(map(_decimals, heads)) < briefest and bool((np.diff(names) > 0).all())
    if whole and names[0] in (0, 1) and (len(names) == 1 or _counts(names)):
        if len(names) < 3:
            return True if shorter and names[-1] < 2 else (None if shorter or all(outside) else _rare(others))
        return True if not any(map(_counts, others)) else None
    years = whole and bool(((names >= _YEARS[0]) & (names <= _YEARS[1])).all())
    if steps:
        if shorter or 2 * sum(outside) >= len(names) or len(names) >= MANY or years:
            return True
        return None
    if len(names) > 1 and all(outside):
        return True if years or (shorter and bool((names >= 0).all())) else None
    unclear = shorter or brief or all(outside) or (years and len(names) > 2 and _counts(names))
    return None if unclear else False


def _rare(others: list[list[float]]) -> bool | None:
    """Return None if no row counts upwards, so that a first row that does may be names; else False."""
    return None if len(others) >= 20 and not any(map(_counts, others)) else False


def _decimals(text: str) -> int:
    """Return the number of digits behind the point; of a number with an exponent, more than any other."""
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
    """Return the number of cells of most rows."""
    widths = [len(row) for row in rows]
    return max(set(widths), key=widths.count)


def _is_title(rows: Sequence[Sequence[str]], width: int) -> bool:
    """Return whether the first row stands above a table of this width: one text, or words of another number.

    Below it come the names of the columns, or the rows of three or more columns.
    """
    cells = [cell.strip() for cell in rows[0] if cell.strip()]
    if width < 2 or not cells or len(cells) >= width or all(map(is_number, cells)):
        return False
    if len([cell for cell in rows[1] if cell.strip()]) < 2:  # one more title
        return len(cells) == 1 and len(rows) > 4
    if has_header(rows[1:]) and any(not is_number(cell) for cell in rows[1]):
        return len(cells) == 1 or len(rows[0]) != width - 1
    return len(cells) == 1 and len(rows[0]) in (1, width) and width > 2


def _has_units(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the second row is text above columns of numbers, and has no number."""
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
