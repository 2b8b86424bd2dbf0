"""The runs that a sweep will make, in a file of its directory: so ``zoo watch`` knows what has not begun."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.record.files import write_atomic

PLAN = "plan.json"


@dataclass(frozen=True)
class Planned:
    """What the last command of a sweep runs.

    Attributes:
        runs: the names of the runs that are known.
        size: number of all runs, with those that a search proposes later.
    """

    runs: tuple[str, ...]
    size: int


def write_plan(directory: Path, runs: Sequence[str], size: int) -> None:
    """Write the plan of a sweep into its directory, in place of an earlier one."""
    write_atomic(directory / PLAN, json.dumps({"size": size, "runs": list(runs)}) + "\n")


def read_plan(directory: Path) -> Planned:
    """Return the plan in a sweep's directory; an empty one if there is none, or it is damaged."""
    try:
        content = json.loads((directory / PLAN).read_text(encoding="utf-8"))
        return Planned(tuple(map(str, content["runs"])), int(content["size"]))
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return Planned((), 0)
