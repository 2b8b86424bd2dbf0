"""``zoo train``: one run, or a multirun of Hydra's."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from zoo.config import check_choices, compose_run, options, searchpath_override, shipped
from zoo.config.overrides import with_plus
from zoo.errors import CUT_OFF, CutOff, ZooError, cut_off
from zoo.processes import is_first_rank

USAGE = """usage: zoo train [+experiment=NAME] [model=NAME] [data=NAME] [key=value ...] [-m] [--cfg job]

Train a model, evaluate it by the protocol and write its record. Any Hydra override is accepted; with -m,
comma-separated values make an ordinary Hydra multirun, each job in its own process.

  experiment: {experiment} (whole recipes of papers: model, data and training)
  model:      {model}
  data:       {data}
  training:   {training} (training.updates= training.batch_size= training.lr= ...)
  trainer:    {trainer}
  logger:     {logger}
  launcher:   {launcher} (of the jobs of -m)
  also:       seed= data.root= data.path= hydra.run.dir=
"""


def train(arguments: Sequence[str]) -> int:
    """Train one run, or launch the jobs of a multirun; return the exit code."""
    flags = [a for a in arguments if a.startswith("-")]
    overrides = [a for a in arguments if not a.startswith("-")]
    if {"-h", "--help"} & set(flags):
        groups = ("experiment", "model", "data", "training", "trainer", "logger", "launcher")
        print(USAGE.format(**{group: ", ".join(options(group)) for group in groups}))
        return 0
    check_choices([o for o in overrides if "=" in o])
    if flags:
        return _run_hydra(arguments)
    for text in overrides:
        if "=" not in text.lstrip("~"):
            raise ZooError(f"'{text}' is not an override; write key=value, e.g. model=glow.")
    return _train_one(compose_run(overrides))


def _train_one(config: DictConfig) -> int:
    """Train the run of a composed configuration; return the exit code of this rank.

    Raises:
        ZooError: the run did not finish; only the first rank raises it, so that it is printed once.
    """
    from zoo.cli.report import ProgressLine, print_result
    from zoo.running.run import run

    directory = Path(str(config.hydra.run.dir))
    quiet = os.environ.get("ZOO_QUIET") == "1"
    try:
        record = run(config, directory, None if quiet else ProgressLine())
    except Exception as error:
        if not is_first_rank():
            return CUT_OFF if cut_off(error) else 2
        if isinstance(error, CutOff):
            raise CutOff(f"{error} The same command goes on from where it stopped.") from error
        if isinstance(error, ZooError):
            where = "" if str(directory) in str(error) else f" The record is in {directory}."
            raise type(error)(f"{error}{where}") from error
        raise
    if not is_first_rank():
        return 0
    print_result(record, directory)
    if record.status != "finished":
        raise ZooError(f"This run has {record.status}: {record.reason}")
    return 0


def _run_hydra(arguments: Sequence[str]) -> int:
    """Let Hydra handle multiruns, ``--cfg`` and other flags; return the exit code.

    A job of a multirun does not train in the process in which Hydra's launcher runs it. It starts a new
    process for an ordinary single run. So Hydra's launcher decides how many jobs run at a time and where, and
    the jobs share no process group, no device memory and no rank.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from zoo.sweep import objective, slurm
    from zoo.sweep.launcher import launch

    # Failed jobs are listed in a file of the working directory: jobs may run on other machines.
    handle, name = tempfile.mkstemp(prefix=".zoo-multirun-", dir=Path.cwd())
    os.close(handle)
    failures = Path(name)

    def task(config: DictConfig) -> float:
        cfg: Any = HydraConfig.get()
        if cfg.mode != RunMode.MULTIRUN:
            return _train_one(config)
        directory, overrides = Path(cfg.runtime.output_dir).absolute(), list(cfg.overrides.task)
        if slurm.in_slurm_job():
            settings = cfg.launcher
            code = slurm.Task(overrides, directory, settings.cpus_per_task, settings.max_num_timeout)()
        else:
            code = launch(overrides, directory).wait()
        if code and is_first_rank():
            with failures.open("a", encoding="utf-8") as stream:
                stream.write(f"{directory}\n")
        return objective(directory)  # which a sweeper plugin of Hydra's may minimise

    if shutil.which("squeue") and any(a.startswith("launcher=") for a in arguments):
        slurm.poll_with_squeue()
    sys.argv = ["zoo train", *map(with_plus, arguments), *searchpath_override()]
    task.__module__ = "__main__"
    try:
        hydra.main(config_path=str(shipped("conf")), config_name="config", version_base="1.3")(task)()
        failed = failures.read_text(encoding="utf-8").splitlines()
    finally:
        failures.unlink(missing_ok=True)
    for directory in failed:
        print(f"zoo: this job did not finish: {directory}", file=sys.stderr)
    return 2 if failed else 0
