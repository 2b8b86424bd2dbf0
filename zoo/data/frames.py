"""Read a table file of any common kind into a pandas DataFrame.

Text may be separated by commas, semicolons, tabs, bars or spaces, have a decimal comma, be compressed, begin
with comment lines, and have a header or none; the first rows determine all of this.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pandas as pd

from zoo.data.header import FirstRows, first_rows, has_header, is_number
from zoo.data.kinds import check_kind, utf16
from zoo.data.marks import SPACES, find_marks
from zoo.data.user import listed
from zoo.errors import InvalidData, ZooError

PARQUET, FEATHER = (".parquet", ".pq"), (".feather", ".arrow")
EXCEL = (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods")
ROWS_LOOKED_AT = 1000
PANDAS = int(pd.__version__.partition(".")[0])
_UNNAMED = re.compile(r"(Unnamed: \d+(\.\d+|_level_\d+)*)?")
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
        suffix = _true_suffix(path)
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


def _read_text(path: Path, header: bool | None) -> Frame:
    """Read separated text; see the module's docstring."""
    compression = _compression(path)
    with _open(path, compression) as file:
        start = file.read(1024)
    check_kind(path, start)
    try:
        return _read_encoded(path, header, compression, _unicode(start))
    except UnicodeDecodeError:
        return _read_encoded(path, header, compression, "cp1252")


def _read_encoded(path: Path, header: bool | None, compression: Compression | None, encoding: str) -> Frame:
    with _open(path, compression) as binary, io.TextIOWrapper(binary, encoding, newline="") as stream:
        lines = [line for line, _ in zip(stream, range(ROWS_LOOKED_AT), strict=False)]
    skip = 0  # lines before the rows: blank or comments, of which the last may be the header
    while skip < len(lines) and (not lines[skip].strip() or lines[skip].lstrip()[0] in "#%"):
        skip += 1
    commented = [line.lstrip(" #%") for line in lines[:skip] if line.strip(" #%\r\n")]
    if skip + 1 < len(lines) and re.fullmatch(r"sep=.", lines[skip].strip()):  # Excel's first line
        skip += 1
    sample = lines[skip:]
    if not any(line.strip() for line in sample):
        raise InvalidData(f"{path} is empty; give at least 10 rows.")
    marks = find_marks([line for line in sample if line.strip()])
    cells = marks.cells(sample)
    kept = [i for i, row in enumerate(cells) if row]
    rows = [cells[i] for i in kept]
    names = None
    if header is None and commented:
        words = next(iter(marks.cells(commented[-1:])), [])
        if len(words) == len(rows[0]) and not any(map(is_number, words)):
            names = [cell.strip() for cell in words]
    plain = [[marks.plain(cell) for cell in row] for row in rows]
    if names is None or has_header(plain):
        first = first_rows(plain, header)
        taken = _decided(first, rows, path)
        names = [cell.strip() for cell in rows[first.titles]] if taken else None
        used = first.titles + int(taken) + int(first.units)
        skip += kept[used - 1] + 1 if used else 0
    else:
        first = FirstRows(0, False, False)
    options: dict[str, Any] = {"sep": marks.separator, "decimal": marks.decimal, "thousands": marks.thousands}
    if marks.separator != SPACES:
        options["skipinitialspace"] = True
    if PANDAS < 3 and marks.decimal == "." and not marks.thousands:
        options["float_precision"] = "round_trip"  # from version 3 on the default
    try:
        body = pd.read_csv(
            path,
            header=None,
            skiprows=skip,
            compression=compression,
            encoding=encoding,
            na_values=["?"],
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
    frame = Frame(body, names is not None, _notes(first, rows))
    if marks.decimal == ",":
        frame.notes.append("Its decimal mark is a comma")
    if marks.thousands:
        frame.notes.append(f"Its digits are grouped by '{marks.thousands}'")
    if names is not None and len(names) == body.shape[1] - 1:
        if body.iloc[:, -1].isna().all():  # rows that end with a separator
            names = [*names, ""]
        elif not pd.api.types.is_numeric_dtype(body.iloc[:, 0]) or (
            body.iloc[:, 0].is_unique and bool((body.iloc[:, 0] % 1 == 0).all())
        ):
            names = ["", *names]  # R's format: no name above the names of the rows
    _name(frame, names, path)
    if names is None or not names[-1]:
        _drop_empty_end(frame)
    return frame


def _read_excel(path: Path, header: bool | None) -> Frame:
    """Read the first sheet of a workbook."""
    with pd.ExcelFile(path) as book:
        sheets = book.sheet_names
        # as objects, a column of floats keeps its 2019 above it
        cells = pd.read_excel(book, sheet_name=sheets[0], header=None, dtype=object)
    cells = cells.dropna(how="all").dropna(axis=1, how="all")
    if cells.empty:
        raise InvalidData(f"{path} is empty; give at least 10 rows.")
    rows = cells.iloc[:ROWS_LOOKED_AT].map(lambda x: "" if pd.isna(x) else str(x)).to_numpy().tolist()
    first = first_rows(rows, header)
    taken = _decided(first, rows, path)
    body = cells.iloc[first.titles + int(taken) + int(first.units) :].reset_index(drop=True)
    frame = Frame(body.dropna(axis=1, how="all") if first.titles else body, taken, _notes(first, rows))
    names = [str(rows[first.titles][i]).strip() for i in range(len(rows[0]))] if taken else None
    if first.titles and names is not None:
        names = [names[list(body.columns).index(column)] for column in frame.body.columns]
    frame.body = frame.body.infer_objects()
    _name(frame, names, path)
    if len(sheets) > 1:
        frame.notes.append(f"Of its sheets only '{sheets[0]}' was read")
    return frame


def _decided(first: FirstRows, rows: Sequence[Sequence[str]], path: Path) -> bool:
    """Return whether the first row below the titles names the columns.

    Raises:
        InvalidData: its cells do not decide.
    """
    if first.header is None:
        raise InvalidData(
            f"{path}: the first row ({listed(rows[first.titles])}) may name the columns or be data; say "
            "which by data.header=true or data.header=false."
        )
    return first.header


def _notes(first: FirstRows, rows: Sequence[Sequence[str]]) -> list[str]:
    """Return what was left out above the rows."""
    titles = [" ".join(cell.strip() for cell in row if cell.strip()) for row in rows[: first.titles]]
    notes = [f"Its title '{title}' was left out" for title in titles]
    if first.units:
        notes.append(f"The row of units ({listed(rows[first.titles + 1])}) was left out")
    return notes


def _name(frame: Frame, names: Sequence[str] | None, path: Path) -> None:
    """Name the columns; without names they are numbered."""
    width = frame.body.shape[1]
    if names is None:
        names = [str(i) for i in range(width)]
    if len(names) != width:
        raise InvalidData(f"{path} names {len(names)} columns and has {width}; name every column.")
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


def _true_suffix(path: Path) -> str:
    """Return the suffix of a file's kind: by its first bytes where they show another one than its name."""
    suffix = path.suffix.lower()
    with open(path, "rb") as file:
        start = file.read(8)
    if suffix not in PARQUET and start.startswith(b"PAR1"):
        return PARQUET[0]
    if suffix not in FEATHER and start.startswith((b"ARROW1", b"FEA1")):
        return FEATHER[0]
    if suffix in EXCEL and start and not start.startswith((b"PK", b"\xd0\xcf\x11\xe0", b"\t\x08")):
        return ".csv"  # instruments write text under Excel's suffix
    return suffix


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


def _unicode(start: bytes) -> str:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    return utf16(start) or "utf-8-sig"


def _open(path: Path, compression: Compression | None) -> IO[bytes]:
    """Open a file for reading, decompressed."""
    if compression == "zip":
        archive = zipfile.ZipFile(path)
        inside = [name for name in archive.namelist() if not name.endswith("/")]
        if len(inside) != 1:
            raise InvalidData(
                f"{path} holds {len(inside)} files; a table is one file, so unpack it and give one of them."
            )
        return archive.open(inside[0])
    openers: dict[str | None, Any] = {"gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open, None: open}
    file: IO[bytes] = openers[compression](path, "rb")
    return file


warnings.filterwarnings("ignore", category=UserWarning, module="openpyxl")
