"""Read a table file of any common kind into a pandas DataFrame.

Text may be separated by commas, semicolons, tabs, bars or spaces, have a decimal comma, be compressed, begin
with comment lines, and have a header or none; the first rows determine all of this.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pandas as pd

from zoo.errors import InvalidData, ZooError

PARQUET, FEATHER = (".parquet", ".pq"), (".feather", ".arrow")
EXCEL = (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods")
ROWS_LOOKED_AT = 1000
_MISSING = {"", "?", "na", "n/a", "#n/a", "nan", "-nan", "null", "none", "<na>", "inf", "-inf", "+inf"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WHOLE = re.compile(r"[+-]?\d+")
_TRUTH = {"true", "false"}
_UNNAMED = re.compile(r"(Unnamed: \d+(\.\d+|_level_\d+)*)?")
_SPACES = r"\s+"
Compression = Literal["gzip", "bz2", "xz", "zip"]


@dataclass
class Frame:
    """The contents of a table file.

    Attributes:
        body: the rows, under unique names.
        header: whether the first row was used as the columns' names; None if the format always has names.
        notes: the omissions in reading, one sentence each.
    """

    body: pd.DataFrame
    header: bool | None
    notes: list[str] = field(default_factory=list)


def read_frame(path: Path, header: bool | None = None) -> Frame:
    """Read a table.

    Args:
        path: text, Excel, parquet or feather file.
        header: whether the first row of a text or Excel file names the columns; None: decided by
            :func:`has_header`.

    Raises:
        ZooError: the file is empty, damaged, or needs a library that is not installed.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in PARQUET + FEATHER:
            read = pd.read_parquet if suffix in PARQUET else pd.read_feather
            frame = Frame(read(path), None)
            if not isinstance(frame.body.index, pd.RangeIndex):
                frame.notes.append("Its index was left out")
                frame.body = frame.body.reset_index(drop=True)
            frame.body.columns = pd.Index(_unique([str(name) for name in frame.body.columns]))
        elif suffix in EXCEL:
            frame = _read_excel(path, header)
        else:
            frame = _read_text(path, header)
    except ZooError:
        raise
    except ImportError as error:
        raise ZooError(
            f"{path} needs a library that is not installed ({error}); run pip install '.[tables]' in "
            "the clone of zoo, or save the table as csv."
        ) from error
    except Exception as error:  # the exception for a damaged file depends on the library
        if isinstance(error, MemoryError | PermissionError):
            raise
        kind = "a csv file" if suffix not in PARQUET + FEATHER + EXCEL else f"a {suffix[1:]} file"
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InvalidData(f"{path} cannot be read as {kind} ({reason}).") from error
    return _without_index(frame)


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row names the columns.

    True if one of its cells is text above numbers. If every cell above numbers is a number, True if these are
    distinct whole numbers that differ from their columns in kind (the rows have fractions) or in distribution
    (outside the rows' range by more than its width), or that count 0, 1, 2, ... like default names.

    >>> has_header([["2019", "2020"], ["0.5", "1.5"], ["0.1", "-1"]])
    True
    >>> has_header([["3", "2020"], ["4", "2021"], ["3", "2019"]])
    False
    """
    first, body = rows[0], rows[1:]
    if not body:
        return any(not is_number(cell) for cell in first)
    columns = []
    for i, cell in enumerate(first):
        below = [row[i].strip() for row in body if i < len(row)]
        below = [text for text in below if text.lower() not in _MISSING]
        numeric = sum(is_number(text) or text.lower() in _TRUTH for text in below)
        if below and 2 * numeric > len(below):
            columns.append((cell.strip(), [text for text in below if is_number(text)]))
    if not columns:  # all columns are text
        return True
    heads = [cell for cell, _ in columns if cell.lower() not in _MISSING]
    if any(not is_number(cell) and cell.lower() not in _TRUTH for cell in heads):
        return True
    if not heads or not all(_WHOLE.fullmatch(cell) for cell in heads) or len(set(heads)) < len(heads):
        return False
    names = [int(cell) for cell in heads]
    counted = len(names) > 2 and all(b - a == 1 for a, b in pairwise(names))
    if counted and not _counts(rows[1]):
        return True
    return all(_differs(cell, below) for cell, below in columns if cell.lower() not in _MISSING)


def is_number(text: str) -> bool:
    """Return whether a cell is a finite number, with a decimal point."""
    return _NUMBER.fullmatch(text.strip()) is not None


def _counts(row: Sequence[str]) -> bool:
    """Return whether a row of whole numbers rises by 1 from column to column."""
    if not all(_WHOLE.fullmatch(cell.strip()) for cell in row):
        return False
    values = [int(cell) for cell in row]
    return all(b - a == 1 for a, b in pairwise(values))


def _differs(cell: str, below: Sequence[str]) -> bool:
    """Return whether a whole number differs from the values below it in kind or in distribution."""
    if not below:
        return False
    if 2 * sum(not _WHOLE.fullmatch(text) for text in below) > len(below):
        return True
    values = np.array([float(text) for text in below])
    width = max(float(np.ptp(values)), 1.0)
    return not values.min() - width <= float(cell) <= values.max() + width


def _read_text(path: Path, header: bool | None) -> Frame:
    """Read separated text; see the module's docstring."""
    compression = _compression(path)
    try:
        return _read_encoded(path, header, compression, _unicode(path, compression))
    except UnicodeDecodeError:
        return _read_encoded(path, header, compression, "cp1252")


def _read_encoded(path: Path, header: bool | None, compression: Compression | None, encoding: str) -> Frame:
    with _open(path, compression) as binary, io.TextIOWrapper(binary, encoding, newline="") as stream:
        lines = [line for line, _ in zip(stream, range(ROWS_LOOKED_AT), strict=False)]
    comments = 0  # lines before the rows: blank or comments, of which the last may be the header
    while comments < len(lines) and (not lines[comments].strip() or lines[comments].lstrip()[0] in "#%"):
        comments += 1
    sample = [line for line in lines[comments:] if line.strip()]
    if not sample:
        raise InvalidData(f"{path} is empty; give at least 10 rows.")
    commented = [line.lstrip(" #%") for line in lines[:comments] if line.strip(" #%\r\n")]
    skip = comments
    if len(sample) > 1 and re.fullmatch(r"sep=.", sample[0].strip()):  # Excel's first line
        skip += 1
        sample = sample[1:]
    separator, decimal = _separator(sample)
    rows = [row for row in _cells(sample, separator) if row]
    plain = [[cell.replace(",", ".") for cell in row] for row in rows] if decimal == "," else rows
    names: list[str] | None = None
    if header or (header is None and has_header(plain)):
        names = [cell.strip() for cell in rows[0]]
        skip += 1
    elif header is None and commented:
        cells = next(iter(_cells(commented[-1:], separator)), [])
        if len(cells) == len(rows[0]) and not any(map(is_number, cells)):
            names = [cell.strip() for cell in cells]
    options: dict[str, Any] = {"sep": separator, "decimal": decimal}
    if separator != _SPACES:
        options["skipinitialspace"] = True
    try:
        body = pd.read_csv(
            path,
            header=None,
            skiprows=skip,
            compression=compression,
            encoding=encoding,
            na_values=["?"],
            float_precision="round_trip" if decimal == "." else None,
            low_memory=False,
            **options,
        )
    except pd.errors.EmptyDataError:
        body = pd.DataFrame(index=range(0), columns=range(len(rows[0])))
    except pd.errors.ParserError as error:
        ragged = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if ragged is None:
            raise
        expected, line, seen = map(int, ragged.groups())
        raise InvalidData(
            f"{path}: line {line} has {seen} columns, not {expected}; give every row the same columns."
        ) from error
    frame = Frame(body, names is not None)
    if names is not None and len(names) == body.shape[1] - 1:
        if body.iloc[:, -1].isna().all():  # rows that end with a separator
            names = [*names, ""]
        elif not pd.api.types.is_numeric_dtype(body.iloc[:, 0]) or body.iloc[:, 0].is_unique:
            names = ["", *names]  # R's format: no name above the names of the rows
    _name(frame, names, path)
    if names is None or not names[-1]:
        _drop_empty_end(frame)
    return frame


def _read_excel(path: Path, header: bool | None) -> Frame:
    """Read the first sheet of a workbook."""
    with pd.ExcelFile(path) as book:
        sheets = book.sheet_names
        cells = book.parse(sheets[0], header=None)
    cells = cells.dropna(how="all").dropna(axis=1, how="all")
    if cells.empty:
        raise InvalidData(f"{path} is empty; give at least 10 rows.")
    rows = cells.iloc[:ROWS_LOOKED_AT].astype(object).map(lambda x: "" if pd.isna(x) else str(x))
    with_header = has_header(rows.to_numpy().tolist()) if header is None else header
    body = cells.iloc[int(with_header) :].reset_index(drop=True)
    frame = Frame(body.astype(object).infer_objects(), with_header)
    _name(frame, [name.strip() for name in rows.iloc[0]] if with_header else None, path)
    if len(sheets) > 1:
        frame.notes.append(f"Of its sheets only '{sheets[0]}' was read")
    return frame


def _name(frame: Frame, names: Sequence[str] | None, path: Path) -> None:
    """Name the columns; without names they are numbered."""
    width = frame.body.shape[1]
    if names is None:
        names = [str(i) for i in range(width)]
    if len(names) != width:
        raise InvalidData(
            f"{path} names {len(names)} columns and has {width}; name every column, "
            "or give data.header=false."
        )
    frame.body.columns = pd.Index(_unique(names))


def _unique(names: Sequence[str]) -> list[str]:
    """Return the names, with a number appended to repeated ones."""
    unique: list[str] = []
    for name in names:
        fresh, count = name, 0
        while fresh in unique:
            count += 1
            fresh = f"{name}.{count}"
        unique.append(fresh)
    return unique


def _drop_empty_end(frame: Frame) -> None:
    """Leave out an unnamed last column without values: a separator at the end of every row."""
    if frame.body.shape[1] > 1 and len(frame.body) and frame.body.iloc[:, -1].isna().all():
        frame.body = frame.body.iloc[:, :-1]


def _without_index(frame: Frame) -> Frame:
    """Leave out unnamed columns at the beginning that number or name the rows."""
    left = 0
    while frame.body.shape[1] > 1 and len(frame.body):
        column, name = frame.body.iloc[:, 0], str(frame.body.columns[0])
        if frame.header is False:
            if left or not counts_rows(column):
                break
        elif not _UNNAMED.fullmatch(name) or (
            pd.api.types.is_numeric_dtype(column) and not bool((column % 1 == 0).all())
        ):
            break
        frame.body = frame.body.iloc[:, 1:]
        left += 1
    if left:
        frame.notes.append(
            "The unnamed first column, which numbers or names the rows, was left out"
            if left == 1
            else f"The {left} unnamed first columns, which number or name the rows, were left out"
        )
    names = [str(name) or str(i) for i, name in enumerate(frame.body.columns, left)]
    frame.body = frame.body.set_axis(_unique(names), axis=1)
    return frame


def counts_rows(column: Any) -> bool:
    """Return whether a column counts the rows, one by one from 0 or 1."""
    if not pd.api.types.is_numeric_dtype(column) or len(column) < 3 or bool(pd.isna(column).any()):
        return False
    values = np.asarray(column, dtype=np.float64)
    return bool(values[0] in (0, 1) and (np.diff(values) == 1).all())


def _compression(path: Path) -> Compression | None:
    """Return the kind of compression of a file, by its first bytes."""
    with open(path, "rb") as file:
        start = file.read(6)
    if start.startswith(b"\x1f\x8b"):
        return "gzip"
    if start.startswith(b"BZh"):
        return "bz2"
    if start.startswith(b"\xfd7zXZ"):
        return "xz"
    return "zip" if start.startswith(b"PK\x03\x04") else None


def _unicode(path: Path, compression: Compression | None) -> str:
    with _open(path, compression) as file:
        start = file.read(2)
    return "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _open(path: Path, compression: Compression | None) -> IO[bytes]:
    """Open a file for reading, decompressed."""
    if compression == "zip":
        archive = zipfile.ZipFile(path)
        inside = [name for name in archive.namelist() if not name.endswith("/")]
        if len(inside) != 1:
            raise InvalidData(f"{path} holds {len(inside)} files; a table is one file.")
        return archive.open(inside[0])
    openers: dict[str | None, Any] = {"gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open, None: open}
    file: IO[bytes] = openers[compression](path, "rb")
    return file


def _cells(lines: Sequence[str], separator: str) -> list[list[str]]:
    if separator == _SPACES:
        return [line.split() for line in lines]
    return list(csv.reader(lines, delimiter=separator, skipinitialspace=True))


def _separator(lines: Sequence[str]) -> tuple[str, str]:
    """Return the separator and decimal mark with which most cells are numbers and rows are equally long."""
    best, separators = (-1.0, False), (",", ".")
    for separator in (",", ";", "\t", "|", _SPACES):
        rows = [row for row in _cells(lines, separator) if row]
        body = rows[1:] or rows
        widths = [len(row) for row in body]
        width = max(set(widths), key=widths.count)
        equal = widths.count(width) / len(widths)
        cells = [cell.strip() for row in body for cell in row]
        missing = sum(cell.lower() in _MISSING for cell in cells)
        for decimal in (".", ","):
            if decimal == separator:
                continue
            texts = [cell.replace(",", ".", 1) for cell in cells] if decimal == "," else cells
            numbers = sum(is_number(text) for text in texts) + missing * (width > 1)
            score = (round(equal * numbers / max(1, len(cells)), 9), width > 1)
            if score > best:
                best, separators = score, (separator, decimal)
    return separators


warnings.filterwarnings("ignore", category=UserWarning, module="openpyxl")
