"""Read a table file of any common kind into a pandas DataFrame.

Text may be separated by commas, semicolons, tabs, bars or spaces, have a decimal comma, be compressed, begin
with comment lines, and have a header or none; its first rows show which.
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

from zoo.data.groups import settle
from zoo.data.header import FirstRows, first_rows, has_header, is_number
from zoo.data.kinds import check_kind, utf16
from zoo.data.marks import SPACES, Marks, find_marks
from zoo.data.sheets import sheet_of_data, with_points
from zoo.data.signs import plain_minus
from zoo.data.user import listed
from zoo.errors import InvalidData, ZooError

PARQUET, FEATHER = (".parquet", ".pq"), (".feather", ".arrow")
EXCEL = (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods")
ROWS_LOOKED_AT = 1000  # number of first rows from which the layout is found
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


def read_frame(path: Path, header: bool | None = None, decimal: str | None = None) -> Frame:
    """Read a table.

    Args:
        path: text, Excel, parquet or feather file.
        header: whether the first row of a text or Excel file names the columns; None: decided by
            :func:`has_header`.
        decimal: decimal mark of text, point or comma; None: decided by the cells.

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
            frame = _read_text(path, header, decimal)
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


def _read_text(path: Path, header: bool | None, decimal: str | None) -> Frame:
    """Read separated text, in UTF-8 or UTF-16, or else in Windows' encoding."""
    compression = _compression(path)
    with _open(path, compression) as file:
        start = file.read(1024)
    check_kind(path, start)
    try:
        return _read_encoded(path, header, decimal, compression, _unicode(start))
    except UnicodeDecodeError:
        return _read_encoded(path, header, decimal, compression, "cp1252")


def _read_encoded(
    path: Path, header: bool | None, decimal: str | None, compression: Compression | None, encoding: str
) -> Frame:
    """Read separated text of a known encoding: its layout from the first lines, then all of it by pandas."""
    with _open(path, compression) as binary, io.TextIOWrapper(binary, encoding, newline="") as stream:
        lines = [line for line, _ in zip(stream, range(ROWS_LOOKED_AT), strict=False)]
    plain = [plain_minus(line) for line in lines]
    layout = _layout(plain, header, decimal, path)
    if plain == lines:
        body = _read_body(path, layout, compression, encoding)
    else:
        with _open(path, compression) as binary, io.TextIOWrapper(binary, encoding, newline="") as stream:
            text = io.StringIO(plain_minus(stream.read()))
        body = _read_body(path, layout, None, encoding, text)
        layout.notes.append("Its minus signs of typeset text (U+2212) were read as minus")
    frame = Frame(body, layout.names is not None, list(layout.notes))
    names = _with_unnamed(layout.names, body)
    _name(frame, names, path)
    if names is None or not names[-1]:
        _drop_empty_end(frame)
    return frame


@dataclass(frozen=True)
class _Layout:
    """How the text of a table is laid out.

    Attributes:
        marks: separator, decimal mark and thousands mark.
        skip: number of lines above the data, with comments, title, names and units.
        width: number of cells of the first row.
        names: names of the columns; None if the text has none.
        notes: the omissions and unusual marks, one sentence each.
    """

    marks: Marks
    skip: int
    width: int
    names: list[str] | None
    notes: list[str]


def _layout(lines: Sequence[str], header: bool | None, decimal: str | None, path: Path) -> _Layout:
    """Return how a text is laid out, from its first lines.

    Raises:
        InvalidData: all lines are blank or comments, or the first row may be names or data, or
            cells may be grouped digits or decimals.
    """
    skip = 0  # blank lines and comments, the last of which may hold the names
    while skip < len(lines) and (not lines[skip].strip() or lines[skip].lstrip()[0] in "#%"):
        skip += 1
    commented = [line.lstrip(" #%") for line in lines[:skip] if line.strip(" #%\r\n")]
    if skip + 1 < len(lines) and re.fullmatch(r"sep=.", lines[skip].strip()):  # Excel's first line
        skip += 1
    sample = lines[skip:]
    if not any(line.strip() for line in sample):
        raise InvalidData(f"{path} is empty; give at least 10 rows.")
    marks = find_marks([line for line in sample if line.strip()], decimal)
    if decimal is None:
        marks = settle(marks, [row for row in marks.cells(sample) if row], path)
    cells = marks.cells(sample)
    kept = [i for i, row in enumerate(cells) if row]
    rows = [cells[i] for i in kept]
    names = _commented_names(commented, len(rows[0]), marks) if header is None else None
    plain = [[marks.plain(cell) for cell in row] for row in rows]
    first = FirstRows(titles=0, header=False, units=False)
    if names is None or has_header(plain):
        first = first_rows(plain, header)
        has_names = _decided(first, rows, path)
        names = [cell.strip() for cell in rows[first.titles]] if has_names else None
        used = first.titles + int(has_names) + int(first.units)
        skip += kept[used - 1] + 1 if used else 0
    notes = _notes(first, rows)
    if marks.decimal == ",":
        notes.append("Its decimal mark is a comma (data.decimal=point takes it as one of groups)")
    if marks.thousands:
        notes.append(f"Its digits are grouped by '{marks.thousands}'")
    return _Layout(marks, skip, len(rows[0]), names, notes)


def _commented_names(commented: Sequence[str], width: int, marks: Marks) -> list[str] | None:
    """Return the names in the last of the comments above the rows; None if it does not name every column."""
    words = next(iter(marks.cells(commented[-1:])), [])
    if not commented or len(words) != width or any(map(is_number, words)):
        return None
    return [cell.strip() for cell in words]


def _read_body(
    path: Path,
    layout: _Layout,
    compression: Compression | None,
    encoding: str,
    text: io.StringIO | None = None,
) -> pd.DataFrame:
    """Return the rows below the names, with numbered columns, from ``text`` or else from the file."""
    marks = layout.marks
    options: dict[str, Any] = {"sep": marks.separator, "decimal": marks.decimal, "thousands": marks.thousands}
    if marks.separator != SPACES:
        options["skipinitialspace"] = True
    if PANDAS < 3 and marks.decimal == "." and not marks.thousands:
        options["float_precision"] = "round_trip"  # the default of pandas 3
    try:
        return pd.read_csv(
            path if text is None else text,
            header=None,
            skiprows=layout.skip,
            compression=compression,
            encoding=encoding,
            na_values=["?"],
            low_memory=False,
            **options,
        )
    except pd.errors.EmptyDataError:
        return pd.DataFrame(index=range(0), columns=range(layout.width))
    except pd.errors.ParserError as error:
        ragged = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if ragged is None:
            raise
        expected, line, seen = map(int, ragged.groups())
        raise InvalidData(
            f"{path}: line {line} has {seen} columns, not {expected}; give every row the same columns."
        ) from error


def _with_unnamed(names: list[str] | None, body: pd.DataFrame) -> list[str] | None:
    """Return the names, with an empty one for the only column that has none: the last or the first."""
    if names is None or len(names) != body.shape[1] - 1:
        return names
    first, last = body.iloc[:, 0], body.iloc[:, -1]
    if last.isna().all():  # rows that end with a separator
        return [*names, ""]
    if not pd.api.types.is_numeric_dtype(first) or (first.is_unique and bool((first % 1 == 0).all())):
        return ["", *names]  # R's format: no name above the names of the rows
    return names


def _read_excel(path: Path, header: bool | None) -> Frame:
    """Read the first sheet of a workbook that holds data."""
    with pd.ExcelFile(path) as book:
        sheets = book.sheet_names
        # of type object, since a column of floats would turn its name 2019 into 2019.0
        used = sheet_of_data(book)
        cells = pd.read_excel(book, sheet_name=used, header=None, dtype=object)
    cells = cells.dropna(how="all").dropna(axis=1, how="all")
    if cells.empty:
        raise InvalidData(f"{path} is empty; give at least 10 rows.")
    rows = cells.iloc[:ROWS_LOOKED_AT].map(lambda x: "" if pd.isna(x) else str(x)).to_numpy().tolist()
    first = first_rows(rows, header)
    has_names = _decided(first, rows, path)
    body = cells.iloc[first.titles + int(has_names) + int(first.units) :].reset_index(drop=True)
    frame = Frame(body.dropna(axis=1, how="all") if first.titles else body, has_names, _notes(first, rows))
    names = [str(rows[first.titles][i]).strip() for i in range(len(rows[0]))] if has_names else None
    if first.titles and names is not None:
        names = [names[list(body.columns).index(column)] for column in frame.body.columns]
    frame.body = frame.body.apply(with_points).infer_objects()
    _name(frame, names, path)
    if len(sheets) > 1:
        frame.notes.append(f"Of its sheets only '{used}' was read")
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
    """Return a sentence for each title and for the row of units, which were left out."""
    titles = [" ".join(cell.strip() for cell in row if cell.strip()) for row in rows[: first.titles]]
    notes = [f"Its title '{title}' was left out" for title in titles]
    if first.units:
        notes.append(f"The row of units ({listed(rows[first.titles + 1])}) was left out")
    return notes


def _name(frame: Frame, names: Sequence[str] | None, path: Path) -> None:
    """Name the columns of the frame, or number them if there are no names."""
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
    """Leave out an unnamed last column without values, which a separator at the end of every row makes."""
    if frame.body.shape[1] > 1 and len(frame.body) and frame.body.iloc[:, -1].isna().all():
        frame.body = frame.body.iloc[:, :-1]


def _without_index(frame: Frame) -> Frame:
    """Return the frame without the unnamed first columns, which number or name the rows."""
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
    """Return the suffix that fits a file's contents: by its first bytes, or else as its name has it."""
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
