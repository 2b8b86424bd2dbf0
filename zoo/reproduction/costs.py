"""What the runs of a table cost on an accelerator, from counted floating-point operations.

``scripts/paper_costs.py`` builds every recipe's model, counts the operations of one update by torch's
counter, and writes ``tables/costs.json``. Hours follow from these counts and the assumptions below: they are
estimates, and no measured time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from zoo.reproduction.schema import FOLDER, Recipe, Table

FILE = Path(FOLDER) / "costs.json"
# Peak of one H100 or H200 in float32, in FLOP/s, by the maker's data sheet; trainer=gpu computes in float32.
PEAK = 6.7e13
LAUNCH = 2e-3  # seconds of an update that no computing fills: the time to launch its kernels


@dataclass(frozen=True)
class Cost:
    """The cost of one run.

    Attributes:
        flops: floating-point operations of its training.
        updates: of the recipe's whole budget, which early stopping may not use up.
        parameters: number of trainable weights.
        use: share of the accelerator's peak that the operations reach.
    """

    flops: float
    updates: int
    parameters: int
    use: float

    @property
    def device_hours(self) -> float:
        """Estimated hours on one accelerator."""
        return max(self.flops / (PEAK * self.use), self.updates * LAUNCH) / 3600


@cache
def _all() -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content


def cost(table: Table, key: str) -> Cost | None:
    """Return the counted cost of one run of a recipe; None if it has not been counted."""
    stored, use = _all().get(table.name, {}).get(key), table.recipes[key].use
    return None if stored is None else Cost(stored["flops"], stored["updates"], stored["parameters"], use)


def describe(table: Table, key: str, runs: int | None = None) -> str:
    """Return what runs of a recipe cost, in words, and empty if nothing is known.

    Args:
        table: the table.
        key: the recipe's.
        runs: number of runs; None: one for each of its seeds.
    """
    recipe: Recipe = table.recipes[key]
    counted, runs = cost(table, key), len(recipe.seeds) if runs is None else runs
    if counted is not None and recipe.accelerator:
        return f"{hours(counted.device_hours * runs)} device-hours"
    if recipe.hours is not None:
        return f"{hours(recipe.hours * runs)} hours of a core"
    return "" if counted is None else f"{hours(counted.device_hours * runs)} device-hours"


def hours(number: float) -> str:
    """Return a number of hours with as many digits as an estimate has.

    >>> hours(0.0312), hours(1.26), hours(312.4)
    ('0.031', '1.3', '312')
    """
    return f"{number:.2g}" if number < 10 else f"{number:,.0f}"
