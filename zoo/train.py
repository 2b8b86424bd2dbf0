"""``zoo train`` and ``zoo sample``: thin entries to :mod:`zoo.run` and :mod:`zoo.factory`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from zoo.config import check_choices, compose_run, options, register, searchpath_override, shipped
from zoo.errors import ZooError
from zoo.record import Record
from zoo.sweep import describe, launch

USAGE = """usage: zoo train [model=NAME] [data=NAME] [key=value ...] [-m] [--cfg job]

Train a model, evaluate it by the protocol and write its record. Any Hydra override is accepted; with -m,
comma-separated values make an ordinary Hydra multirun, each job in a process of its own.

  model:     {model}
  data:      {data}
  training:  {training} (training.updates= training.batch_size= training.lr= ...)
  trainer:   {trainer}
  logger:    {logger}
  also:      seed= data.root= data.path= hydra.run.dir=
"""


def main(arguments: Sequence[str]) -> int:
    """Train one run, or launch the jobs of a multirun; returns the exit code."""
    flags = [a for a in arguments if a.startswith("-")]
    overrides = [a for a in arguments if not a.startswith("-")]
    if {"-h", "--help"} & set(flags):
        groups = ("model", "data", "training", "trainer", "logger")
        print(USAGE.format(**{group: ", ".join(options(group)) for group in groups}))
        return 0
    check_choices([o for o in overrides if "=" in o])
    if flags:
        return _hydra(arguments)
    for text in overrides:
        if "=" not in text.lstrip("~"):
            raise ZooError(f"'{text}' is not an override; write key=value, e.g. model=glow.")
    return _train(compose_run(overrides))


def _train(config: DictConfig) -> int:
    from zoo.run import run

    directory = Path(str(config.hydra.run.dir))
    quiet = os.environ.get("ZOO_QUIET") == "1"
    try:
        record = run(config, directory, None if quiet else _Teller())
    except ZooError as error:
        raise type(error)(f"{error} The record is in {directory}.") from error
    report(record, directory)
    if record.status != "finished":
        raise ZooError(f"This run has {record.status}: {record.reason}")
    return 0


def _hydra(arguments: Sequence[str]) -> int:
    """Hand over to Hydra: multiruns, --cfg and the like."""
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    register()
    failures: list[str] = []

    def task(config: DictConfig) -> float:
        cfg: Any = HydraConfig.get()
        if cfg.mode != RunMode.MULTIRUN:
            return _train(config)
        directory = Path(cfg.runtime.output_dir)
        code = launch(list(cfg.overrides.task), directory).wait()
        if code:
            failures.append(str(directory))
        return _objective(directory)

    sys.argv = ["zoo train", *arguments, *searchpath_override()]
    task.__module__ = "__main__"
    hydra.main(config_path=str(shipped("conf")), config_name="config", version_base="1.3")(task)()
    for directory in failures:
        print(f"zoo: this job did not finish: {directory}", file=sys.stderr)
    return 2 if failures else 0


def _objective(directory: Path) -> float:
    """What a hyper-parameter search minimises: the best validation loss of the run, never a test value."""
    import csv
    import math

    try:
        with (directory / "curves.csv").open(newline="") as stream:
            return min(float(row["val/loss"]) for row in csv.DictReader(stream) if row["val/loss"])
    except (OSError, ValueError, KeyError):
        return math.inf


def report(record: Record, directory: Path) -> None:
    """A run's result in a few lines."""
    console = Console(highlight=False)
    console.print(f"[bold]{record.run_id}[/] {record.status}", soft_wrap=True)
    for name, metric in record.metrics.items():
        if metric.value is None:
            console.print(f"  {name:18} none: {metric.reason}", markup=False, soft_wrap=True)
        else:
            error = f" ± {metric.standard_error:.2g}" if metric.standard_error is not None else ""
            unit = "" if metric.unit == "1" else f" {metric.unit}"
            text = (
                f"  {name:18} {metric.value:.4g}{error}{unit} ({metric.kind}, {metric.split}, n={metric.n})"
            )
            console.print(text, markup=False, soft_wrap=True)
    console.print(f"  record in {directory}", markup=False, soft_wrap=True)


def sample(run: Path, n: int, out: Path, temperature: float, seed: int, device: str) -> int:
    """Draw samples of a trained run into a picture or an array."""
    import numpy as np

    from zoo.factory import load
    from zoo.run import write_grid

    if n < 1:
        raise ZooError(f"-n is the number of samples, at least 1; got {n}.")
    if out.suffix not in (".png", ".npy"):
        raise ZooError(f"-o takes a .png (images) or a .npy; got '{out}'.")
    model = load(run, device)
    samples = model.sample(n, temperature, seed=seed)
    if out.suffix == ".npy":
        out.parent.mkdir(parents=True, exist_ok=True)
        np.save(out, samples.cpu().numpy())
    elif model.spec.is_image and model.spec.levels:
        write_grid(out, samples, model.spec.levels)
    else:
        raise ZooError("These samples are vectors, not images; write them with -o FILE.npy.")
    print(out)
    return 0


class _Teller:
    """Tell a single run's progress: one line that changes on a terminal, one now and then elsewhere."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.told = -1e9

    def __call__(self, state: dict[str, Any]) -> None:
        line = f"{state['label']}: {state['phase']} · {describe(state)}"
        if self.console.is_terminal:
            end = "\r" if state["phase"] == "training" else "\n"
            self.console.print(
                line.ljust(self.console.width - 1)[: self.console.width - 1], end=end, markup=False
            )
        elif time.monotonic() - self.told > 8 or state["phase"] != "training":
            self.told = time.monotonic()
            self.console.print(line, markup=False, soft_wrap=True)
