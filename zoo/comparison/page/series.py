"""The learning curves of runs for the page, thinned to what a drawing shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from zoo.comparison.collect import Run
from zoo.comparison.page.shorten import rounded
from zoo.record import read_rows

POINTS, FEWEST = 60, 20  # points of a curve: of few runs, and the least of very many
BUDGET = 40_000  # points of all curves together, about, above which each has fewer
AXES = ("images_seen", "wall_seconds", "device_seconds")
LOSS = "train/loss"


def curves_of(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the curves of each run: ``{"updates": [...], "axes": {name: ...}, "curves": {name: [...]}}``.

    An axis that is a multiple of the updates is stored as that factor. A run without curves has an empty
    dictionary.
    """
    points = max(FEWEST, min(POINTS, BUDGET // max(1, len(runs))))
    return [_of(run, points) for run in runs]


def _of(run: Run, points: int) -> dict[str, Any]:
    rows = [row for row in read_rows(run.directory) if "updates" in row]
    names = list(dict.fromkeys(name for row in rows for name in row if name.startswith("val/")))
    validated = [row for row in rows if any(name in row for name in names)]
    shown = _thinned(validated or [row for row in rows if LOSS in row], points)
    if not shown:
        return {}
    updates = [row["updates"] for row in shown]
    curves = {name: [rounded(row.get(name)) for row in shown] for name in (*names, LOSS)}
    return {
        "updates": [rounded(value) for value in updates],
        "axes": {axis: _axis([row.get(axis, math.nan) for row in shown], updates) for axis in AXES},
        "curves": {name: values for name, values in curves.items() if any(v is not None for v in values)},
    }


def _thinned(rows: list[Any], points: int) -> list[Any]:
    """Return at most ``points`` rows at even distances, the first and the last among them."""
    if len(rows) <= points:
        return rows
    return [rows[round(index * (len(rows) - 1) / (points - 1))] for index in range(points)]


def _axis(values: Sequence[float], updates: Sequence[float]) -> Any:
    """Return the values, or the factor from updates to them where there is one."""
    factors = [value / update for value, update in zip(values, updates, strict=True) if update]
    if factors and all(abs(factor - factors[0]) <= 1e-9 * abs(factors[0]) for factor in factors):
        return rounded(factors[0])
    return [rounded(value) for value in values]
