"""Decide whether ``1,325`` or ``1.325`` is a grouped whole number or a decimal, from the cells beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from zoo.data.marks import Marks
from zoo.errors import InvalidData

DECIMAL = {None: None, "point": ".", "comma": ","}  # the values of data.decimal
_WHOLE = re.compile(r"[+-]?(?:0|[1-9]\d*)")
MANY = 50  # cells: among so many decimals, one would end in 0 and be written with fewer than three digits


def settle(marks: Marks, rows: Sequence[Sequence[str]], path: Path) -> Marks:
    """Return the marks, with grouped digits instead of decimals where the cells show those.

    Args:
        marks: as found without regard to whole numbers.
        rows: the cells of the first rows.
        path: the file, for the error.

    Raises:
        InvalidData: the cells do not decide.
    """
    if marks.thousands:
        return marks
    grouped = are_groups(rows[1:], marks.decimal)
    if grouped is None:
        pattern = _group(marks.decimal)
        cell = next(c.strip() for row in rows[1:] for c in row if pattern.fullmatch(c.strip()))
        raise InvalidData(
            f"{path}: {cell} may be {cell.replace(marks.decimal, '')} with grouped digits or a decimal; say "
            "which mark stands before decimals by data.decimal=point or data.decimal=comma."
        )
    other = "," if marks.decimal == "." else "."
    return replace(marks, decimal=other, thousands=marks.decimal) if grouped else marks


def are_groups(rows: Sequence[Sequence[str]], mark: str) -> bool | None:
    """Return whether a mark groups the digits of whole numbers; None if the cells do not decide.

    It does not if any number has other than three digits behind it, begins with 0 or is a whole number above
    999 without the mark in a column that has it. Otherwise whole numbers in such a column speak for groups:
    where decimals are written with three digits, so is the decimal 900.000. Two signs decide: two different
    whole numbers, and a zero at the end of a marked cell (decimals without trailing zeros have none) or many
    marked cells.

    >>> are_groups([["1,320"], ["900"], ["12,811"], ["42"]], ",")
    True
    >>> are_groups([["1,325"], ["900"], ["12,811"], ["42"]], ",") is None
    True
    >>> are_groups([["1,325"], ["900,000"], ["12,811"], ["0,042"]], ",")
    False
    """
    group = _group(mark)
    small: set[int] = set()
    marked = zeros = 0
    for i in range(max(map(len, rows), default=0)):
        cells = [row[i].strip() for row in rows if i < len(row)]
        with_mark = [cell for cell in cells if mark in cell and any(c.isdigit() for c in cell)]
        if not with_mark:
            continue
        if not all(map(group.fullmatch, with_mark)):
            return False
        whole = {abs(int(cell)) for cell in cells if _WHOLE.fullmatch(cell)}
        if max(whole, default=0) > 999:
            return False
        small |= whole - {0}
        marked += len(with_mark)
        zeros += sum(cell.endswith("0") for cell in with_mark)
    if not small:
        return False
    return True if len(small) > 1 and (zeros or marked >= MANY) else None


def _group(mark: str) -> re.Pattern[str]:
    return re.compile(rf"[+-]?[1-9]\d{{0,2}}(?:{re.escape(mark)}\d{{3}})+")
