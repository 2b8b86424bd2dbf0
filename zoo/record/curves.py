"""``curves.csv``: what training logged, one row for each logged update. The one reader of the file.

A row has the columns ``updates``, ``images_seen``, ``wall_seconds``, ``device_seconds`` and named values such
as ``train/loss`` or ``val/loss``; a value that was not logged at an update is left out.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

from zoo.record.files import CURVES

AXES = ("updates", "images_seen", "device_seconds")  # columns of every row that curves are drawn against
Row = dict[str, float]


def read_rows(directory: str | Path) -> list[Row]:
    """Return the rows of a run's ``curves.csv``; none where the file is missing or damaged.

    Args:
        directory: of the run, or the file itself.
    """
    path = Path(directory)
    try:
        text = (path / CURVES if path.is_dir() else path).read_text()
        return [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(text.splitlines())
        ]
    except (OSError, ValueError, TypeError, AttributeError, csv.Error):
        return []


def curves(directory: str | Path, axis: str = "updates") -> dict[str, list[tuple[float, float]]]:
    """Return each logged value as points ``(axis, value)``, by its name; empty where the file is damaged."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in read_rows(directory):
        if axis not in row:
            return {}
        for name, value in row.items():
            if "/" in name:
                found.setdefault(name, []).append((row[axis], value))
    return found


def best_validation(directory: str | Path) -> float | None:
    """Return the lowest finite ``val/loss`` of a run, None where it has none."""
    losses = [row["val/loss"] for row in read_rows(directory) if "val/loss" in row]
    return min((loss for loss in losses if math.isfinite(loss)), default=None)
