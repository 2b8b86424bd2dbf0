"""Functions to make offline runs of W&B and to read their files."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from small_runs import MOONS, SMALL
from wandb.util import get_core_path

from zoo.config import compose_run, identify
from zoo.record import Record
from zoo.running.run import run
from zoo.tracking.logger import start_loggers
from zoo.tracking.sync import segments
from zoo.training.callbacks import Curves

QUICK = ["evaluation.latency_repeats=1", "evaluation.throughput_batches=[4]",
         "evaluation.likelihood_examples=40"]  # fmt: skip
TINY = ["model=realnvp", *MOONS, "model.hidden=[8]", "model.layers=2", "logger=wandb",
        "training.log_every=2", *SMALL[1:], *QUICK]  # fmt: skip


def use_no_account(patch: pytest.MonkeyPatch, home: Path) -> None:
    """Log out of W&B, and keep wandb's files in a temporary folder."""
    for name in list(os.environ):
        if name.startswith("WANDB_"):
            patch.delenv(name)
    patch.setenv("WANDB_MODE", "offline")
    patch.setenv("WANDB_SILENT", "true")
    patch.setenv("NETRC", str(home / "no-netrc"))
    for name in ("DATA", "CACHE", "CONFIG"):
        patch.setenv(f"WANDB_{name}_DIR", str(home / "wandb-home"))


def inspect(segment: Path) -> list[dict[str, Any]]:
    """Return the records of a run's file, by wandb's own reader (what ``wandb leet inspect --json`` runs)."""
    reader = [get_core_path(), "leet", "inspect", "--no-observability", "--json"]
    done = subprocess.run(
        [*reader, "--run-file", str(segment), str(segment.parents[1])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def of_kind(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record[kind] for record in records if record["type"] == kind]


def rows(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record["item"] for record in of_kind(records, "history")]


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for record in of_kind(records, "summary"):
        values |= record.get("update", {})
    return values


def begin(overrides: list[str], directory: Path, **settings: Any) -> list[Any]:
    """Return the loggers of a run that does not train."""
    identity = identify(compose_run(overrides))
    return start_loggers({"name": "wandb", "project": "zoo", **settings}, identity, "abc", directory)


def written(directory: Path) -> list[dict[str, Any]]:
    (segment,) = segments(directory)
    return inspect(segment)


def make_record(status: str, **values: Any) -> Any:
    return Record("realnvp-digits-s0-abc", "realnvp", "flow", "digits", 0, status, **values)


def fail_at(
    update: int,
    error: BaseException,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    raises: type[BaseException] | None = None,
) -> None:
    """Start a run that meets an error once it has logged an update; it must raise ``raises`` (that error)."""
    write = Curves.write

    def failing(self: Curves, trainer: Any, module: Any) -> None:
        write(self, trainer, module)
        if module.updates == update:
            raise error

    config = compose_run(TINY)
    with monkeypatch.context() as patch:
        patch.setattr(Curves, "write", failing)
        with pytest.raises(raises or type(error)):
            run(config, directory)
