"""``zoo train``: one run, or a multirun of Hydra's."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from zoo.config import check_choices, compose_run, options, shipped, to_dict, with_present_names
from zoo.config.overrides import as_typed, split, with_plus
from zoo.config.own import own_files, register
from zoo.errors import CUT_OFF, CutOff, ZooError, cut_off, tell
from zoo.processes import is_first_rank, usable_cores

AGAIN = "--again"
# Hydra's flags that are followed by a value.
WITH_VALUE = {
    *("--cfg", "-c", "--package", "-p", "--info", "-i", "--experimental-rerun"),
    *("--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"),
}
USAGE = """usage: zoo train [+experiment=NAME] [model=NAME] [data=NAME] [key=value ...] [--again] [-m]

Train a model, evaluate it by the protocol and write its record. A run that is done already is not trained
again, unless --again is given. Any Hydra override is accepted; with -m, comma-separated values make an
ordinary Hydra multirun, each job in its own process.

  experiment: {experiment} (whole recipes of papers: model, data and training)
  model:      {model}
  data:       {data}
  training:   {training} (training.updates= training.batch_size= training.lr= ...)
  trainer:    {trainer}
  logger:     {logger}
  launcher:   {launcher} (where the jobs of -m run)
  also:       seed= data.root= data.path= hydra.run.dir=
"""


def train(arguments: Sequence[str]) -> int:
    """Train one run, or launch the jobs of a multirun; return the exit code."""
    again = AGAIN in arguments and not _restarted_by_slurm()
    flags, overrides = split_arguments([a for a in arguments if a != AGAIN])
    if {"-h", "--help"} & set(flags):
        groups = ("experiment", "model", "data", "training", "trainer", "logger", "launcher")
        print(USAGE.format(**{group: ", ".join(options(group)) for group in groups}))
        return 0
    several = bool({"-m", "--multirun"} & set(flags))
    overrides = [as_typed(o, several) for o in overrides]
    check_choices(overrides)
    typed, overrides = overrides, with_present_names(overrides)
    if is_first_rank() and "-c" not in flags and "--cfg" not in flags:
        for sentence in [*own_files(overrides), *_moved(typed, overrides)]:
            tell(sentence)
    jobs = None
    if several and not {"-c", "--cfg", "-i", "--info"} & set(flags):
        from zoo.config.identities import Identities
        from zoo.sweep.check import check_each, multirun_jobs

        jobs = multirun_jobs(overrides)
        check_each(Identities(), jobs or [])
    if flags:
        return _run_hydra([*overrides, *flags], again, None if jobs is None else len(jobs))
    return _train_one(compose_run(overrides), again)


def _moved(typed: Sequence[str], present: Sequence[str]) -> list[str]:
    """Return a sentence for each override that was given by an old name."""
    keys = [(split(old)[0], split(new)[0]) for old, new in zip(typed, present, strict=True) if old != new]
    return [f"{old.lstrip('+')} is now called {new.lstrip('+')}." for old, new in keys]


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the flags, each followed by its value, and the overrides, in whatever order they were given.

    >>> split_arguments(["model=maf", "--cfg", "job", "data=moons", "-m"])
    (['--cfg', 'job', '-m'], ['model=maf', 'data=moons'])
    """
    flags: list[str] = []
    overrides: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        flags.append(argument)
        if argument in WITH_VALUE and (value := next(waiting, None)) is not None:
            flags.append(value)
    return flags, overrides


def _restarted_by_slurm() -> bool:
    """Return whether Slurm has put this job back into the queue: it then goes on from its checkpoint."""
    return os.environ.get("SLURM_RESTART_COUNT", "0") not in ("", "0")


def _train_one(config: DictConfig, again: bool = False) -> int:
    """Train the run of a composed configuration; return the exit code of this rank.

    Args:
        config: with its ``hydra`` node.
        again: whether to make the run anew if it is done already.

    Raises:
        ZooError: the run did not finish; only the first rank raises it, so that it is printed once.
    """
    from zoo.cli.report import ProgressLine, print_result
    from zoo.record import RECORD
    from zoo.running.run import run

    directory = Path(str(config.hydra.run.dir))
    if not str(config.hydra.run.dir or "").strip():
        raise ZooError("hydra.run.dir must be the path of a directory; leave it out, or give one.")
    quiet = os.environ.get("ZOO_QUIET") == "1"
    try:
        record = run(config, directory, None if quiet else ProgressLine(), again)
    except Exception as error:
        if not is_first_rank():
            return CUT_OFF if cut_off(error) else 2
        if isinstance(error, CutOff):
            same = f"The same command without {AGAIN}" if again else "The same command"
            raise CutOff(f"{error} {same} goes on from where it stopped.") from error
        if isinstance(error, ZooError):
            recorded = (directory / RECORD).exists() and str(directory) not in str(error)
            where = f" The record is in {directory}." if recorded else ""
            raise type(error)(f"{error}{where}") from error
        raise
    if not is_first_rank():
        return 0
    print_result(record, directory)
    if record.status == "pruned":
        tell(f"The search has given up this run and goes on with others. {record.reason}")
    elif record.status != "finished":
        raise ZooError(f"This run has {record.status}: {record.reason}")
    return 0


def threads_of_a_job(launcher: Mapping[str, Any], jobs: int | None) -> int | None:
    """Return the threads of each job of a multirun on this machine; None to leave them to the job.

    Args:
        launcher: Hydra's node ``launcher``.
        jobs: number of jobs of the multirun; None if it is not known.
    """
    from zoo.sweep.check import jobs_at_a_time

    together = jobs_at_a_time(launcher, jobs)
    if together is None or together == 1 or "OMP_NUM_THREADS" in os.environ:
        return None
    return max(1, usable_cores() // together)


def _run_hydra(arguments: Sequence[str], again: bool = False, jobs: int | None = None) -> int:
    """Let Hydra handle multiruns, ``--cfg`` and other flags; return the exit code.

    A job of a multirun does not train in the process in which Hydra's launcher runs it. It starts a new
    process for an ordinary single run. So Hydra's launcher decides how many jobs run at a time and where, and
    the jobs share no process group, no device memory and no rank.

    Args:
        arguments: overrides and flags.
        again: whether to make runs anew that are done already.
        jobs: number of jobs of a multirun; None if it is not known.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from zoo.sweep import objective, slurm, slurm_task
    from zoo.sweep.launcher import launch

    # Failed jobs are listed in a file of the working directory: jobs may run on other machines.
    handle, name = tempfile.mkstemp(prefix=".zoo-multirun-", dir=Path.cwd())
    os.close(handle)
    failures = Path(name)

    def task(config: DictConfig) -> float:
        cfg: Any = HydraConfig.get()
        if cfg.mode != RunMode.MULTIRUN:
            return _train_one(config, again)
        directory = Path(cfg.runtime.output_dir).absolute()
        overrides: Any = OmegaConf.to_container(cfg.overrides.task, resolve=False)
        overrides += [AGAIN] if again else []
        if slurm_task.in_slurm_job():
            settings = cfg.launcher
            code = slurm_task.Task(overrides, directory, settings.cpus_per_task, settings.max_num_timeout)()
        else:
            threads = threads_of_a_job(cfg.launcher, jobs)
            if threads is not None:  # the job's ranks share them
                from zoo.running.fit import processes_here

                threads = max(1, threads // processes_here(to_dict(config.trainer)))
            code = launch(overrides, directory, threads=threads).wait()
        if code and is_first_rank():
            with failures.open("a", encoding="utf-8") as stream:
                stream.write(f"{directory}\n")
        return objective(directory)  # which a sweeper plugin of Hydra's may minimise

    if shutil.which("squeue") and any(a.startswith("launcher=") for a in arguments):
        slurm.prepare_multirun()
    register()
    sys.argv = ["zoo train", *map(with_plus, arguments)]
    task.__module__ = "__main__"
    try:
        hydra.main(config_path=str(shipped("conf")), config_name="config", version_base="1.3")(task)()
        failed = failures.read_text(encoding="utf-8").splitlines()
    finally:
        failures.unlink(missing_ok=True)
    for directory in failed:
        tell(f"this job did not finish: {directory}")
    return 2 if failed else 0
