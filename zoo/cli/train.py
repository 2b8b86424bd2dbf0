"""``zoo train`` and ``zoo sample``: thin entries to :mod:`zoo.running.run` and :mod:`zoo.factory`."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape

from zoo.config import check_choices, compose_run, options, searchpath_override, shipped
from zoo.config.overrides import with_plus
from zoo.errors import CUT_OFF, CutOff, ZooError, cut_off
from zoo.processes import is_first_rank
from zoo.record import Record
from zoo.sweep import objective
from zoo.sweep.display import describe
from zoo.sweep.launcher import launch

USAGE = """usage: zoo train [+experiment=NAME] [model=NAME] [data=NAME] [key=value ...] [-m] [--cfg job]

Train a model, evaluate it by the protocol and write its record. Any Hydra override is accepted; with -m,
comma-separated values make an ordinary Hydra multirun, each job in a process of its own.

  experiment: {experiment} (whole recipes of papers: model, data and training)
  model:      {model}
  data:       {data}
  training:   {training} (training.updates= training.batch_size= training.lr= ...)
  trainer:    {trainer}
  logger:     {logger}
  launcher:   {launcher} (of the jobs of -m)
  also:       seed= data.root= data.path= hydra.run.dir=
"""


def main(arguments: Sequence[str]) -> int:
    """Train one run, or launch the jobs of a multirun; returns the exit code."""
    flags = [a for a in arguments if a.startswith("-")]
    overrides = [a for a in arguments if not a.startswith("-")]
    if {"-h", "--help"} & set(flags):
        groups = ("experiment", "model", "data", "training", "trainer", "logger", "launcher")
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
    from zoo.running.run import run

    directory = Path(str(config.hydra.run.dir))
    quiet = os.environ.get("ZOO_QUIET") == "1"
    try:
        record = run(config, directory, None if quiet else _Teller())
    except Exception as error:
        if not is_first_rank():  # the first rank tells it, once
            return CUT_OFF if cut_off(error) else 2
        if isinstance(error, CutOff):
            raise CutOff(f"{error} The same command goes on from where it stopped.") from error
        if isinstance(error, ZooError):
            where = "" if str(directory) in str(error) else f" The record is in {directory}."
            raise type(error)(f"{error}{where}") from error
        raise
    if not is_first_rank():
        return 0
    report(record, directory)
    if record.status != "finished":
        raise ZooError(f"This run has {record.status}: {record.reason}")
    return 0


def _hydra(arguments: Sequence[str]) -> int:
    """Hand over to Hydra: multiruns, --cfg and the like.

    A job of a multirun does not train: whichever process Hydra's launcher runs it in starts a fresh one with
    the job's own overrides and directory, an ordinary single run. So a launcher of Hydra's decides how many
    jobs run at a time and where, and nothing of one job (process group, device memory, rank) meets another.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from zoo.sweep import slurm

    handle, name = tempfile.mkstemp(prefix=".zoo-multirun-", dir=Path.cwd())
    os.close(handle)
    unfinished = Path(name)  # a file, and here: jobs may run in other processes, on other machines

    def task(config: DictConfig) -> float:
        cfg: Any = HydraConfig.get()
        if cfg.mode != RunMode.MULTIRUN:
            return _train(config)
        directory, overrides = Path(cfg.runtime.output_dir).absolute(), list(cfg.overrides.task)
        if slurm.inside():
            code = slurm.Train(
                overrides, directory, cfg.launcher.cpus_per_task, cfg.launcher.max_num_timeout
            )()
        else:
            code = launch(overrides, directory).wait()
        if code and is_first_rank():
            with unfinished.open("a") as stream:
                stream.write(f"{directory}\n")
        return objective(directory)  # what a sweeper of Hydra's may minimise

    if shutil.which("squeue") and any(a.startswith("launcher=") for a in arguments):
        slurm.without_accounting()
    sys.argv = ["zoo train", *map(with_plus, arguments), *searchpath_override()]
    task.__module__ = "__main__"
    try:
        hydra.main(config_path=str(shipped("conf")), config_name="config", version_base="1.3")(task)()
        failures = unfinished.read_text().splitlines()
    finally:
        unfinished.unlink(missing_ok=True)
    for directory in failures:
        print(f"zoo: this job did not finish: {directory}", file=sys.stderr)
    return 2 if failures else 0


def report(record: Record, directory: Path) -> None:
    """A run's result in a few lines."""
    console = Console(highlight=False)
    console.print(f"[bold]{escape(record.run_id)}[/] {record.status}", soft_wrap=True)
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
    from zoo.running.artifacts import write_grid

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
