"""Find the runs under some directories."""

from __future__ import annotations

import csv
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
from zoo.record import CURVES, DENSITY, LIKELIHOOD, RECORD, SAMPLES, Record, read

FILES = (RECORD, CURVES, SAMPLES, DENSITY, LIKELIHOOD)  # what a comparison reads of a run


@dataclass
class Run:
    """A record and the directory that it lies in.

    Attributes:
        name: what a comparison calls it: the model, with what sets its configuration apart.
    """

    record: Record
    directory: Path
    name: str = ""

    def __post_init__(self) -> None:
        self.name = self.name or self.record.model

    def curves(self, axis: str = "updates") -> dict[str, list[tuple[float, float]]]:
        """``{name: [(updates, value), ...]}``, or against another axis; empty where the run left none."""
        found: dict[str, list[tuple[float, float]]] = {}
        try:
            with (self.directory / CURVES).open(newline="") as stream:
                for row in csv.DictReader(stream):
                    for name, value in row.items():
                        if "/" in name and value:
                            found.setdefault(name, []).append((float(row[axis]), float(value)))
        except (OSError, ValueError, KeyError):
            return {}
        return found

    def arrays(self, name: str) -> dict[str, np.ndarray] | None:
        """The arrays of a file ``.npz`` of the run; None where there is none or it is damaged."""
        try:
            with np.load(self.directory / name) as content:
                return dict(content)
        except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, lzma.LZMAError):
            return None


def collect(paths: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Every run once (by its id), and a sentence for each record that cannot be read.

    Raises:
        ZooError: a path that does not exist, or nothing found.
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
    """The runs under ``paths``, what cannot be read told on the console, and the console.

    Raises:
        ZooError: as :func:`collect`.
    """
    runs, warnings = collect(paths)
    console = console or Console(width=None if sys.stdout.isatty() else 160)
    for warning in warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    return runs, console


def _walk(path: Path) -> Iterator[Path]:
    """The runs at or below a folder, or that of a file; a run holds no other."""
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
    """What the files of a comparison follow from: the inputs and the code that draws them."""
    import zoo

    digest = hashlib.sha256(zoo.__version__.encode())
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(source.read_bytes())
    for run in sorted(runs, key=lambda r: r.record.run_id):
        for name in FILES:
            try:
                digest.update((run.directory / name).read_bytes())
            except FileNotFoundError:
                digest.update(b"-")
    return digest.hexdigest()


def folder_name(run_id: str) -> str:
    """A run's id as the name of a folder: it may not lead elsewhere."""
    return re.sub(r"[^\w.+=-]", "_", run_id).lstrip(".") or "run"
