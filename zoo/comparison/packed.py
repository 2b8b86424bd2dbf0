"""Read many runs from one file, which ``zoo compare --pack`` writes: a file server counts files."""

from __future__ import annotations

import atexit
import lzma
import shutil
import tarfile
import tempfile
import zlib
from functools import cache
from pathlib import Path

from zoo.errors import ZooError

ENDINGS = {".tar.gz": "gz", ".tgz": "gz", ".tar.xz": "xz", ".tar": ""}  # and their compression
_OPENED: dict[Path, str] = {}  # the name of the packed file that was unpacked into each directory


def unpacked(path: Path) -> Path:
    """Return a directory with the runs of a packed file, until this process ends; another path as it is.

    Raises:
        ZooError: the file is damaged, or would write outside the directory.
    """
    if compression(path) is None or not path.is_file():
        return path
    return unpack(path.absolute(), path.stat().st_mtime_ns)


def compression(file: Path) -> str | None:
    """Return the compression that a file's ending names: gz, xz, or "" for none; None: no packed file."""
    return next((form for ending, form in ENDINGS.items() if file.name.endswith(ending)), None)


def in_packed(path: Path) -> str | None:
    """Return a path inside a packed file, ``records.tar.xz: maf-digits-s0/record.json``; None elsewhere.

    The directory into which the file was unpacked has another name each time, and is gone afterwards.
    """
    for folder, name in _OPENED.items():
        if path.is_relative_to(folder):
            return f"{name}: {path.relative_to(folder)}"
    return None


def told(path: Path) -> str:
    """Return a path as sentences write it: within the packed file that it was read from, if it was."""
    return in_packed(path) or str(path)


@cache
def unpack(file: Path, written: int) -> Path:
    """Unpack a file of runs, once per process; return their directory, which is removed at exit.

    Args:
        file: the packed file.
        written: when the file was last written: a new file is unpacked anew.

    Raises:
        ZooError: the file is damaged.
    """
    folder = Path(tempfile.mkdtemp(prefix="zoo-packed-"))
    _OPENED[folder] = file.name
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        with tarfile.open(file) as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise ZooError(f"The packed runs in {file} cannot be read ({error}); pack them again.") from None
    return folder
