"""Read and write ``curves.csv``, the values that training logs, one row for each logged update.

A row has the columns ``updates``, ``images_seen``, ``wall_seconds``, ``device_seconds`` and named values such
as ``train/loss`` or ``val/loss``; a value that was not logged at an update is left out.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from zoo.record.files import CURVES, write_atomic
from zoo.visible import visible

AXES = ("updates", "images_seen", "device_seconds")  # columns of every row that curves are drawn against
Row = dict[str, float]


def read_rows(directory: str | Path) -> list[Row]:
    """Return the rows of a run's ``curves.csv``; none if the file is missing or damaged.

    Args:
        directory: of the run, or the file itself.
    """
    path = Path(directory)
    try:
        text = (path / CURVES if path.is_dir() else path).read_text(encoding="utf-8")
        return [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(visible("\n".join(text.splitlines()), lines=True).split("\n"))
        ]
    except (OSError, ValueError, TypeError, AttributeError, csv.Error):
        return []


def curves(directory: str | Path, axis: str = "updates") -> dict[str, list[tuple[float, float]]]:
    """Return the points ``(axis, value)`` of each logged value, by its name; empty if the file is damaged."""
    points: dict[str, list[tuple[float, float]]] = {}
    for row in read_rows(directory):
        if axis not in row:
            return {}
        for name, value in row.items():
            if "/" in name:
                points.setdefault(name, []).append((row[axis], value))
    return points


def best_validation(directory: str | Path) -> float | None:
    """Return the lowest finite ``val/loss`` of a run; None if it has none."""
    losses = [row["val/loss"] for row in read_rows(directory) if "val/loss" in row]
    return min((loss for loss in losses if math.isfinite(loss)), default=None)


class CurveWriter:
    """Writes the curves of a run in training; a resumed run keeps the rows up to its checkpoint.

    Args:
        directory: of the run.
        columns: names of the columns, which begin with ``updates``; other values of a row are left out.
        keep: number of updates up to which the rows of an existing file are kept.
    """

    def __init__(self, directory: str | Path, columns: Sequence[str], keep: int = 0) -> None:
        self.path, self.columns = Path(directory) / CURVES, list(columns)
        rows_kept = []
        if keep and self.path.exists():
            whole = self.path.read_text(encoding="utf-8").rpartition("\n")[
                0
            ]  # without a line break the last line is incomplete
            rows = csv.DictReader(whole.splitlines())
            rows_kept = [[row.get(c, "") for c in columns] for row in rows if float(row["updates"]) <= keep]
        lines = [",".join(cells) for cells in [self.columns, *rows_kept]]
        write_atomic(self.path, "\n".join(lines) + "\n")
        self.stream = self.path.open("a", encoding="utf-8")  # once: a server looks each name up

    def append(self, row: Mapping[str, float], to_disk: bool = False) -> None:
        """Write a row; with ``to_disk``, wait until it is on the disk."""
        self.stream.write(",".join(f"{row[c]:.8g}" if c in row else "" for c in self.columns) + "\n")
        self.stream.flush()
        if to_disk:
            os.fsync(self.stream.fileno())
