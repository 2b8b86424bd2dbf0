"""Copy the files that a comparison reads, made small enough for git."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import shlex
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from zoo.comparison.collect import FILES, Run, folder_name
from zoo.comparison.packed import compression
from zoo.record import CURVES, RECORD, write_atomic

POINTS = 250  # rows kept of a long curve, about


def archive(runs: Sequence[Run], folder: Path) -> list[str]:
    """Copy records, curves and arrays of runs into ``folder``.

    Returns:
        The runs in ``folder`` that are not among ``runs``.
    """
    for run in runs:
        target = folder / folder_name(run.record.run_id)
        if target.resolve() == run.directory.resolve():
            continue
        target.mkdir(parents=True, exist_ok=True)
        for source in (run.directory / name for name in FILES if (run.directory / name).exists()):
            write_atomic(target / source.name, pack(source))
    names = {folder_name(run.record.run_id) for run in runs}
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name not in names)


def pack_runs(runs: Sequence[Run], file: Path, names: Sequence[str] = FILES) -> None:
    """Write files of runs to one file, the same bytes each time: records, curves and arrays.

    Its ending chooses the compression: ``.tar.gz``, ``.tar.xz`` (a fifth smaller, slower) or ``.tar``. Arrays
    are stored as they are in ``.tar.xz``, which compresses those of many runs together.

    Args:
        runs: the runs.
        file: the packed file.
        names: names of the files that are packed of each run.
    """
    form = compression(file)
    method = zipfile.ZIP_STORED if form == "xz" else zipfile.ZIP_LZMA
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as target:
        for run in sorted(runs, key=lambda run: run.record.run_id):
            for source in (run.directory / name for name in names if (run.directory / name).exists()):
                content = pack(source, method)
                entry = tarfile.TarInfo(f"{folder_name(run.record.run_id)}/{source.name}")
                entry.size = len(content)
                target.addfile(entry, io.BytesIO(content))
    content = tar.getvalue()
    if form == "gz":
        content = gzip.compress(content, mtime=0)
    elif form == "xz":
        content = lzma.compress(content, preset=9)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, content)


def pack(file: Path, method: int = zipfile.ZIP_LZMA) -> bytes:
    """Return a file as an archive holds it.

    Of a long curve the rows remain that a figure can show, among them all with a value on validation data.

    Args:
        file: a file of a run.
        method: how zip files hold their arrays; by LZMA they are a sixth smaller than by deflate. numpy reads
            every method.
    """
    content = file.read_bytes()
    if file.name == CURVES:
        return b"".join(_thin(content.splitlines(keepends=True)))
    if file.name == RECORD:
        return without_data_root(content)
    return _rezipped(content, method) if file.suffix == ".npz" else content


def without_data_root(record: bytes) -> bytes:
    """Return a record's file without the ``data.root=`` of its command, which is one machine's own."""
    if b"data.root=" not in record:
        return record
    try:
        fields = json.loads(record)
        provenance = fields["provenance"]
        provenance["overrides"] = [o for o in provenance["overrides"] if not o.startswith("data.root=")]
        words = shlex.split(provenance["command"])
        provenance["command"] = shlex.join(word for word in words if not word.startswith("data.root="))
    except (ValueError, KeyError, TypeError, AttributeError):  # a damaged record stays as it is
        return record
    return json.dumps(fields, indent=1).encode()


def _thin(lines: list[bytes]) -> list[bytes]:
    """Return a header and about :data:`POINTS` of the rows without validation, the last among them."""
    validation = [name.startswith(b"val/") for name in b"".join(lines[:1]).split(b",")]

    def is_validation(line: bytes) -> bool:
        values = zip(validation, line.strip().split(b","), strict=False)
        return any(value for wanted, value in values if wanted)

    others = [index for index in range(1, len(lines)) if not is_validation(lines[index])]
    step = max(1, len(others) // POINTS)
    dropped = set(others) - set(others[::step]) - {len(lines) - 1}
    return [line for index, line in enumerate(lines) if index not in dropped]


def _rezipped(npz: bytes, method: int) -> bytes:
    """Return arrays with another compression, the same bytes each time; a damaged file as it is."""
    packed = io.BytesIO()
    try:
        with (
            zipfile.ZipFile(io.BytesIO(npz)) as source,
            zipfile.ZipFile(packed, "w", method) as target,
        ):
            for name in source.namelist():
                target.writestr(zipfile.ZipInfo(name), source.read(name), method)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError):
        return npz
    return packed.getvalue()
