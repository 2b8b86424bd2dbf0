"""Find the runs below some directories."""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from zoo.errors import ZooError
from zoo.record import CURVES, DENSITY, LIKELIHOOD, RECORD, SAMPLES, Record, curves, read

FILES = (RECORD, CURVES, SAMPLES, DENSITY, LIKELIHOOD)  # files of a run that a comparison reads
SOURCES = (".py", ".html", ".css", ".js")


@dataclass
class Run:
    """A record and the directory that it lies in.

    Attributes:
        name: name in tables and figures: the model, with the settings that distinguish its configuration.
    """

    record: Record
    directory: Path
    name: str = ""

    def __post_init__(self) -> None:
        self.name = self.name or self.record.model

    def curves(self, axis: str = "updates") -> dict[str, list[tuple[float, float]]]:
        """Return ``{name: [(updates, value), ...]}``, or against another axis; empty without curves."""
        return curves(self.directory, axis)

    def arrays(self, name: str) -> dict[str, np.ndarray] | None:
        """Return the arrays of one of the run's ``.npz`` files; None if it is missing or damaged."""
        try:
            with np.load(self.directory / name) as content:
                return dict(content)
        except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, lzma.LZMAError):
            return None


def collect(paths: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Return every run once (by its id), and a sentence for each record that cannot be read.

    Raises:
        ZooError: a path does not exist, or there is no readable record.
    """
    runs: dict[str, Run] = {}
    warnings: list[str] = []
    for path in paths:
        if not path.exists():
            raise ZooError(
                f"There is no directory {path}; give one that holds runs, such as runs/quickstart."
            )
        for directory in _walk(path):
            try:
                record = read(directory)
                runs.setdefault(record.run_id, Run(record, directory))
            except ZooError as error:
                warnings.append(str(error))
    if not runs:
        where = ", ".join(map(str, paths))
        hint = f" ({warnings[0]})" if warnings else ""
        raise ZooError(
            f"There is no readable record under {where}; train something first, e.g. zoo train{hint}."
        )
    return list(runs.values()), warnings


def gather(paths: Sequence[Path], console: Console | None = None) -> tuple[list[Run], Console]:
    """Return the runs below ``paths`` and the console on which warnings about unreadable records are printed.

    Raises:
        ZooError: as :func:`collect`.
    """
    runs, warnings = collect(paths)
    console = console or Console(width=None if sys.stdout.isatty() else 160)
    for warning in warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    return runs, console


def _walk(path: Path) -> Iterator[Path]:
    """Yield the directories of runs at or below a directory or beside a file; a run does not hold others."""
    if path.is_file():
        path = path.parent
    if (path / RECORD).exists():
        yield path
        return
    try:
        with os.scandir(path) as entries:
            below = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    for name in below:
        if not name.startswith(".") and name != "checkpoints":
            yield from _walk(path / name)


def fingerprint(runs: Sequence[Run]) -> str:
    """Return a hash of the runs' files and of the code, on which the files of a comparison depend."""
    import zoo

    digest = hashlib.sha256(zoo.__version__.encode())
    for source in sorted(path for path in Path(__file__).parent.rglob("*") if path.suffix in SOURCES):
        digest.update(source.read_bytes())
    for run in sorted(runs, key=lambda r: r.record.run_id):
        for name in FILES:
            try:
                digest.update((run.directory / name).read_bytes())
            except FileNotFoundError:
                digest.update(b"-")
    return digest.hexdigest()


def folder_name(run_id: str) -> str:
    """Return a run's id as the name of a single folder, which cannot lead elsewhere.

    >>> folder_name("../maf digits")
    '_maf_digits'
    """
    return re.sub(r"[^\w.+=-]", "_", run_id).lstrip(".") or "run"
