"""Recognise files that hold no table that zoo reads, by their first bytes and their suffix."""

from __future__ import annotations

import re
from pathlib import Path

from zoo.errors import InvalidData

READ = "csv or other text, Excel, parquet, feather, npy or npz"
_START = {
    b"\x89HDF": "an HDF5 file",
    b"MATLAB": "a MATLAB file",
    b"SQLite": "a SQLite database",
    b"\x89PNG": "a picture; give a folder of pictures to data=images",
    b"\xff\xd8\xff": "a picture; give a folder of pictures to data=images",
    b"GIF8": "a picture; give a folder of pictures to data=images",
    b"%PDF": "a PDF document",
    b"\x28\xb5\x2f\xfd": "compressed by zstandard; unpack it, or compress it as .gz, .bz2, .xz or .zip",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    b"Rar!": "a RAR archive; unpack it",
    b"$FL2": "an SPSS file",
    b"<stata": "a Stata file",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
    b"CDF": "a netCDF file",
    b"SIMPLE  =": "a FITS file",
}
_SUFFIX = {
    ".json": "JSON",
    ".jsonl": "JSON",
    ".ndjson": "JSON",
    ".geojson": "JSON",
    ".h5": "an HDF5 file",
    ".hdf5": "an HDF5 file",
    ".mat": "a MATLAB file",
    ".pkl": "a Python pickle",
    ".pickle": "a Python pickle",
    ".joblib": "a Python pickle",
    ".pt": "a PyTorch file",
    ".pth": "a PyTorch file",
    ".sav": "an SPSS file",
    ".dta": "a Stata file",
    ".sas7bdat": "a SAS file",
    ".rds": "an R file",
    ".rdata": "an R file",
    ".rda": "an R file",
    ".arff": "an ARFF file",
    ".sqlite": "a SQLite database",
    ".db": "a database",
    ".orc": "an ORC file",
    ".avro": "an Avro file",
    ".nc": "a netCDF file",
    ".fits": "a FITS file",
    ".xml": "XML",
    ".yaml": "YAML",
    ".yml": "YAML",
    ".tar": "a tar archive; unpack it",
    ".tgz": "a tar archive; unpack it",
    ".7z": "a 7z archive; unpack it",
    ".rar": "a RAR archive; unpack it",
}


def check_kind(path: Path, start: bytes) -> None:
    """Raise :class:`InvalidData` if a file holds something else than a table in text.

    Args:
        path: the file.
        start: its first bytes, decompressed.
    """
    kind = next((kind for mark, kind in _START.items() if start.startswith(mark)), None)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"version https://git-lfs"):
        raise InvalidData(
            f"{path} is a Git LFS pointer, not the data; fetch them by git lfs pull in their repository."
        )
    if start[257:262] == b"ustar":
        kind = "a tar archive; unpack it"
    elif re.match(rb'(\{|\[)\s*(["\[{\]}]|-?\d)', text):
        kind = "JSON"
    elif re.match(rb"<(!doctype|html|\?xml|[a-z]+[ >])", text, re.IGNORECASE):
        kind = kind or "a web page or XML; download the file itself"
    elif re.search(rb"^@(relation|attribute)\b", text, re.IGNORECASE | re.MULTILINE):
        kind = "an ARFF file"
    kind = kind or _SUFFIX.get(path.suffix.lower())
    if kind is None and _is_binary(start):
        kind = "no text"
    if kind is not None:
        verb = "is" if re.match(r"(an? |no |compressed)", kind) else "holds"
        what, _, advice = kind.partition("; ")
        raise InvalidData(f"{path} {verb} {what}; {advice or 'save the table as ' + READ}.")


def _is_binary(start: bytes) -> bool:
    """Return whether bytes are those of no text: zeros outside of UTF-16, or many control characters."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or utf16(start):
        return False
    controls = sum(byte < 32 and byte not in b"\t\n\r\f\x1b\x1a" for byte in start)
    return b"\0" in start or 20 * controls > len(start)


def utf16(start: bytes) -> str | None:
    """Return the encoding of text in UTF-16 without a byte order mark; None for other text."""
    pairs = start[: len(start) // 2 * 2]
    if len(pairs) < 20:
        return None
    even, odd = pairs[::2].count(0), pairs[1::2].count(0)
    half = len(pairs) // 2
    if odd > 0.9 * half and not even:
        return "utf-16-le"
    return "utf-16-be" if even > 0.9 * half and not odd else None
