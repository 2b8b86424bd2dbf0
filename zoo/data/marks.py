"""Find the separator, decimal mark and thousands mark of a table in text."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from zoo.data.header import MISSING, is_number

SPACES = r"\s+"
SEPARATORS = (",", ";", "\t", "|", SPACES)
CHARACTERS = 300_000  # number of characters at the beginning of a file from which the marks are found
THOUSANDS = (",", ".", "'", " ")


@dataclass(frozen=True)
class Marks:
    """The marks in a table's text.

    Attributes:
        separator: between cells; :data:`SPACES` for blanks of any number.
        decimal: point or comma.
        thousands: between groups of three digits; None if digits are not grouped.
    """

    separator: str = ","
    decimal: str = "."
    thousands: str | None = None

    def cells(self, lines: Sequence[str]) -> list[list[str]]:
        """Return the cells of each line; those of a blank line are an empty list."""
        if self.separator == SPACES:
            return [line.split() for line in lines]
        return list(csv.reader(lines, delimiter=self.separator, skipinitialspace=True))

    def plain(self, cell: str) -> str:
        """Return a number with a decimal point and ungrouped digits; any other text unchanged."""
        text = cell.strip()
        if self.thousands and self._grouped.fullmatch(text):
            text = text.replace(self.thousands, "")
        elif self.decimal == "," and "." in text:
            return f"'{text}'"  # quoted, so that it is not read as a number
        return text.replace(",", ".", 1) if self.decimal == "," else text

    def is_number(self, cell: str) -> bool:
        """Return whether a cell is a number in these marks."""
        text = cell.strip()
        if self.thousands and self._grouped.fullmatch(text):
            return True
        if self.decimal == ",":
            return "." not in text and is_number(text.replace(",", ".", 1))
        return is_number(text)

    @cached_property
    def _grouped(self) -> re.Pattern[str]:
        mark, decimal = re.escape(self.thousands or ""), re.escape(self.decimal)
        return re.compile(rf"[+-]?[1-9]\d{{0,2}}(?:{mark}\d{{3}})+(?:{decimal}\d*)?")

    def decides(self, cells: Sequence[str], known: str | None = None) -> bool:
        """Return whether the cells show that digits are grouped, so that ``1,234`` is not a decimal.

        A grouped number shows it if its mark cannot be a decimal mark, if it has two marks or a decimal part,
        if another cell has a decimal part, or if the decimal mark is known.
        """
        mark = self.thousands or ""
        grouped = [text for cell in cells if mark in cell and self._grouped.fullmatch(text := cell.strip())]
        if not grouped:
            return False
        if known or mark not in ",." or any(self.decimal in text or text.count(mark) > 1 for text in grouped):
            return True
        return any(self.decimal in cell and Marks(decimal=self.decimal).is_number(cell) for cell in cells)


def find_marks(lines: Sequence[str], decimal: str | None = None) -> Marks:
    """Return the marks with which most cells are numbers, rows are equally long and the first row fits.

    Args:
        lines: the first lines of a table.
        decimal: the decimal mark, if it is known.
    """
    lines = _beginning(lines)
    best: Score = (-1.0, False, False)
    chosen = Marks()
    for separator in SEPARATORS:
        for score, marks in _scores(lines, separator, decimal):
            if score > best:
                best, chosen = score, marks
    return chosen if decimal == "." else _without_separator(lines, chosen)


def _beginning(lines: Sequence[str]) -> Sequence[str]:
    """Return the first :data:`CHARACTERS` characters in whole lines, at least 20 of them."""
    total = 0
    for count, line in enumerate(lines):
        total += len(line)
        if total > CHARACTERS and count >= 20:
            return lines[:count]
    return lines


# The share of cells that are numbers times the share of rows of the usual width; whether the first row fits
# the others; whether there are several columns.
Score = tuple[float, bool, bool]


def _scores(lines: Sequence[str], separator: str, known: str | None = None) -> Iterator[tuple[Score, Marks]]:
    """Yield how well the lines fit a separator together with each decimal and thousands mark."""
    rows = [row for row in Marks(separator).cells(lines) if row]
    body = rows[1:] or rows
    widths = [len(row) for row in body]
    width = max(set(widths), key=widths.count)
    if width == 1:  # a quote inside a line shows that cells are separated by another mark
        raw = [line.strip() for line in lines if line.strip()][1:]
        if any('"' in line[1:-1] for line in raw):
            return
    equal = widths.count(width) / len(widths)
    cells = [cell.strip() for row in body for cell in row]
    missing = sum(cell.lower() in MISSING for cell in cells)
    for decimal in (".", ",") if known is None else (known,):
        grouped = [Marks(separator, decimal, mark) for mark in THOUSANDS if mark != decimal]
        for marks in (
            Marks(separator, decimal),
            *(marks for marks in grouped if marks.decides(cells, known)),
        ):
            numbers = sum(map(marks.is_number, cells)) + missing * (width > 1)
            share = round(equal * numbers / max(1, len(cells)), 9)
            yield (share, _fits(rows, width, marks), width > 1), marks


def _fits(rows: Sequence[Sequence[str]], width: int, marks: Marks) -> bool:
    """Return whether the first row may stand above rows of this width.

    It has as many cells; or a single one, a title; or one less, where the first column holds names of the
    rows, or the last one is empty.
    """
    first = len(rows[0])
    if first + 1 != width:
        return first == width or first == 1
    if len(rows) > 1 and len(rows[1]) == width and not any(map(marks.is_number, rows[1])):
        return True  # the names of the columns follow: the first row is a title
    body = [row for row in rows[1:] if len(row) == width]
    if all(not row[-1].strip() for row in body):
        return True
    names = [row[0] for row in body]
    if not all(map(marks.is_number, names)):
        return True
    numbers = [float(marks.plain(name)) for name in names]
    return all(b - a == 1 for a, b in pairwise(numbers))


def _without_separator(lines: Sequence[str], marks: Marks) -> Marks:
    """Return marks of one column with a decimal comma where commas cannot separate two columns.

    They cannot if more than 5 % of the rows would have a first cell ``-0``, as in ``-0,5``, or a second cell
    with a leading zero, as in ``1,05``. Other marks are returned unchanged.
    """
    rows = [row for row in marks.cells(lines) if row]
    if marks.separator != "," or any(len(row) != 2 for row in rows) or any('"' in line for line in lines):
        return marks
    odd = [row for row in rows if row[0] == "-0" or re.fullmatch(r"0\d+", row[1])]
    if 20 * len(odd) > len(rows):
        for mark in (None, ".", "'", " "):
            decimal = Marks(";", ",", mark)
            if all(decimal.is_number(line) for line in lines if line.strip()):
                return decimal
    return marks
