"""Small tables and invented runs for the tests of the reproduction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.comparison.collect import Run
from zoo.record import Cost, Metric, Provenance, Record
from zoo.reproduction.runs import RecipeRuns
from zoo.reproduction.schema import Table

COLUMN = {
    "metric": "nll", "factor": -1.0, "unit": "nats", "better": "higher", "kind": "exact", "margin": 1.0,
    "margin_from": "a choice",
}  # fmt: skip


def table(cell: dict[str, Any] | None = None, **changes: Any) -> Table:
    """Return a table of one row and one column, with changes of the cell and of the table."""
    values: dict[str, Any] = {
        "name": "small",
        "title": "Small",
        "paper": "Nobody 2026, table 1",
        "sources": {"note": {"grade": "C", "what": "a note"}, "mem": {"grade": "M", "what": "recalled"}},
        "columns": {"LL": COLUMN},
        "recipes": {"flow": {"overrides": {"model": "realnvp", "data": "moons"}, "seeds": [0, 1, 2]}},
        "cells": [
            {"row": "Flow", "column": "LL", "value": -3.0, "source": "note", "grade": "C", "recipe": "flow"}
            | (cell or {})
        ],
    }
    return Table.model_validate(values | changes)


def run(
    value: float | None,
    seed: int = 0,
    *,
    status: str = "finished",
    error: float | None = 0.01,
    kind: str = "exact",
    metric: str = "nll",
    config: dict[str, Any] | None = None,
) -> Run:
    """Return an invented run with one metric, an NLL where nothing else is said."""
    result = Metric(value, "nats", kind=kind, standard_error=error, n=1000)  # type: ignore[arg-type]
    record = Record(
        f"flow-s{seed}", "realnvp", "flow", "moons", seed, status,  # type: ignore[arg-type]
        metrics={metric: result} if value is not None else {},
        cost=Cost(train_seconds=10.0, updates=5000),
        provenance=Provenance(config=config or {}),
    )  # fmt: skip
    return Run(record, Path("nowhere"))


def made(*values: float | None, partial: bool = False, **more: Any) -> dict[str, RecipeRuns]:
    """Return the runs of the recipe ``flow``, one for each NLL; None: the run diverged."""
    runs = {
        seed: run(value, seed, status="finished" if value is not None else "diverged", **more)
        for seed, value in enumerate(values)
    }
    return {"flow": RecipeRuns({}, runs) if partial else RecipeRuns(runs)}
