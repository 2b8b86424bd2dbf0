"""Find the runs below some directories."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import gc
import hashlib
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from zoo.comparison.packed import told, unpacked
from zoo.errors import ZooError
from zoo.record import (
    CHECKPOINTS,
    CURVES,
    DENSITY,
    GALLERY,
    LIKELIHOOD,
    RECORD,
    SAMPLES,
    TIMING,
    Record,
    curves,
    read,
)
from zoo.record.curves import read_rows
from zoo.record.timing import read_timing, retimed
from zoo.visible import visible

FILES = (RECORD, CURVES, SAMPLES, DENSITY, LIKELIHOOD, GALLERY, TIMING)  # that a comparison reads of a run
SOURCES = (".py", ".html", ".css", ".js", ".json", ".yaml")

# What was kept from the search for garbage is searched at the end of the process: otherwise libraries that
# count their objects print a page of leaks.
atexit.register(gc.unfreeze)


@dataclass(slots=True)
class Run:
    """A record and the directory that it lies in.

    Attributes:
        name: name in tables and figures: the model, with the settings that distinguish its configuration.
        data: name of its data set there, with the facts that distinguish it from others of this name.
        memo: what other modules compute of a run once.
    """

    record: Record
    directory: Path
    name: str = ""
    data: str = ""
    memo: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.name = self.name or self.record.model
        self.data = self.data or self.record.data

    @property
    def checkpoint(self) -> str:
        """The judged weights, below the directory; empty where they do not lie beside the record."""
        name = self.record.provenance.checkpoint
        return name if name and (self.directory / name).is_file() else ""

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
    """Return every run once, and a sentence for each record that is left out.

    A record is left out that cannot be read, that another one of the same id contradicts, or that repeats the
    configuration and the seed of another one on the same data. Copies of a record count once, and so does a
    directory that is given twice.

    Raises:
        ZooError: a path does not exist, or there is no readable record.
    """
    runs: dict[str, Run] = {}
    warnings: list[str] = []
    with no_search_for_cycles():
        for directory in _directories(paths):
            try:
                run = Run(read(directory), directory)
            except ZooError as error:
                warnings.append(str(error).replace(str(directory), told(directory)))
                continue
            known = runs.setdefault(run.record.run_id, run)
            if known is not run and not _are_copies(known.record, run.record):
                kept, other, why = _later(known, run)
                runs[run.record.run_id] = kept
                warnings.append(_left_out(kept, other, why))
    if not runs:
        where = ", ".join(map(str, paths))
        hint = f" ({warnings[0]})" if warnings else ""
        raise ZooError(
            f"There is no readable record under {where}; train something first, e.g. zoo train{hint}."
        )
    return [_retimed(run, warnings) for run in _without_repeats(runs.values(), warnings)], warnings


def _are_copies(first: Record, second: Record) -> bool:
    """Return whether two records are one, up to the ``data.root=`` that an archive leaves out.

    A command is made of the overrides, so these are compared in its place.
    """

    def without_root(record: Record) -> Record:
        source = record.provenance
        overrides = [word for word in source.overrides or [] if not word.startswith("data.root=")]
        return replace(record, provenance=replace(source, command=None, overrides=overrides))

    return first == second or without_root(first) == without_root(second)


def _without_repeats(runs: Iterable[Run], warnings: list[str]) -> list[Run]:
    """Return the runs without those that repeat another one; a warning is added for each.

    A run is repeated under another id if a user's file has another name, for example: its content counts.
    """
    made: dict[tuple[str, ...], Run] = {}
    for index, run in enumerate(runs):
        source = run.record.provenance
        data = source.data.fingerprint if source.data else None
        key = (source.config_hash or f"unknown, {index}", str(run.record.seed), data or run.record.data)
        known = made.setdefault(key, run)
        if known is not run:
            made[key], other, why = _later(known, run)
            warnings.append(
                f"The record {told(other.directory / RECORD)} is left out: "
                f"{told(made[key].directory / RECORD)} is the same run (configuration, seed and "
                f"data) under another name and {why}; it counts once."
            )
    return list(made.values())


def _retimed(run: Run, warnings: list[str]) -> Run:
    """Return a run with the speed that ``zoo time`` measured, if it did; a damaged file becomes a warning."""
    try:
        timing = read_timing(run.directory)
    except ZooError as error:
        warnings.append(str(error).replace(str(run.directory), told(run.directory)))
        return run
    return run if timing is None else replace(run, record=retimed(run.record, timing))


@contextlib.contextmanager
def no_search_for_cycles() -> Iterator[None]:
    """Keep Python from searching for cyclic garbage: records have none, and ten thousand take seconds."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
        gc.freeze()  # what has been read is not searched later either


def _directories(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield each directory of a run below some paths once."""
    seen = set()
    for path in paths:
        if not path.exists():
            raise ZooError(
                f"There is no directory {path}; give one that holds runs, such as runs/quickstart."
            )
        place = unpacked(path)
        for directory in _walk(place.parent if place.is_file() else place):
            status = os.stat(directory)
            if (inode := (status.st_dev, status.st_ino)) not in seen:
                seen.add(inode)
                yield directory


def _later(first: Run, second: Run) -> tuple[Run, Run, str]:
    """Return which of two records of one id is kept, which is left out, and why."""
    times = [run.record.provenance.finished_at or "" for run in (first, second)]
    if times[1] > times[0]:
        return second, first, "finished later"
    return first, second, "finished later" if times[0] > times[1] else "was found first"


def _left_out(kept: Run, other: Run, why: str) -> str:
    """Return a sentence on the record that is left out, and in what it differs."""
    source, kept_source = other.record.provenance, kept.record.provenance
    names = (part.name for part in dataclasses.fields(Record))
    parts = [name for name in names if getattr(other.record, name) != getattr(kept.record, name)]
    if source.data != kept_source.data:
        difference = "they are of different data"
    elif source.protocol_hash != kept_source.protocol_hash:
        difference = "they were judged by different protocols"
    else:
        difference = f"they differ in {', '.join(parts)}"
    return (
        f"The record {told(other.directory / RECORD)} is left out: {told(kept.directory / RECORD)} has the "
        f"same run id and {why}, and {difference}. Compare them in two comparisons."
    )


def gather(paths: Sequence[Path], console: Console | None = None) -> tuple[list[Run], Console]:
    """Return the runs below ``paths`` and the console on which sentences about other records are printed.

    Raises:
        ZooError: as :func:`collect`.
    """
    runs, warnings = collect(paths)
    console = console or Console()
    warn(warnings, console)
    return runs, console


def warn(sentences: Iterable[str], console: Console) -> None:
    """Print warnings."""
    for sentence in sentences:
        console.print(
            f"warning: {visible(sentence, lines=True)}", style="yellow", markup=False, soft_wrap=True
        )


def damaged_files(run: Run) -> list[str]:
    """Return a sentence for each file beside a run's record that cannot be read. Arrays are not unpacked."""
    return [
        f"The file {told(file)} is damaged, so what it shows is left out; copy it again, or make the run "
        "again."
        for file in (run.directory / name for name in FILES)
        if file.is_file() and not (_is_curves if file.suffix == ".csv" else _is_zip)(file)
    ]


def _is_zip(file: Path) -> bool:
    return file.suffix != ".npz" or zipfile.is_zipfile(file)


def _is_curves(file: Path) -> bool:
    """Return whether a file holds curves: the names of columns, and rows of numbers if any."""
    try:
        lines = file.read_bytes().splitlines()
    except OSError:
        return False
    return bool(lines) and lines[0].startswith(b"updates") and (len(lines) == 1 or bool(read_rows(file)))


def _walk(path: Path) -> Iterator[Path]:
    """Yield the directories of runs at or below a directory; do not look for runs inside of a run."""
    if os.path.exists(f"{path}/{RECORD}"):
        yield path
        return
    try:
        with os.scandir(path) as entries:
            below = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    for name in below:
        if not name.startswith(".") and name != CHECKPOINTS:
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
        digest.update(run.checkpoint.encode())
    return digest.hexdigest()


def folder_name(run_id: str) -> str:
    """Return a run's id as the name of a single folder, which cannot lead elsewhere.

    >>> folder_name("../maf digits")
    '_maf_digits'
    """
    return re.sub(r"[^\w.+=-]", "_", run_id).lstrip(".") or "run"
