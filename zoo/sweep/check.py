"""Check the settings of every job of a sweep or multirun before any job starts. No data are read."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from zoo.config import whole_numbers
from zoo.config.identities import Identities
from zoo.config.overrides import is_sweep, split, swept_values
from zoo.errors import ZooError
from zoo.processes import usable_cores
from zoo.running.check import CHECKS, check_batch, check_section
from zoo.running.spec import check_names
from zoo.sweep.plan import Plan


def check_jobs(plan: Plan, jobs: Sequence[Sequence[str]]) -> None:
    """Check the settings of jobs of a sweep, as :func:`check_each` does.

    Args:
        plan: the plan of the sweep.
        jobs: the overrides of each job.
    """
    check_each(plan.identities, jobs)


def multirun_jobs(overrides: Sequence[str]) -> list[list[str]] | None:
    """Return the overrides of each job of ``zoo train -m``.

    The jobs are the Cartesian product of the values that the overrides list. None where a plugin of Hydra
    chooses the jobs (``hydra/sweeper=``) or an override does not list its values (``glob(*)``).

    Args:
        overrides: those of the command line, such as ``model=maf,glow``.
    """
    if any(split(text)[0].lstrip("+") == "hydra/sweeper" for text in overrides):
        return None
    last = {split(text)[0]: text for text in overrides}  # Hydra takes the last override of a key
    try:
        ways = [
            [f"{key}={value}" for value in swept_values(text)] if is_sweep(text) else [text]
            for key, text in last.items()
        ]
    except ZooError:
        return None
    return [list(job) for job in product(*ways)]


def jobs_at_a_time(launcher: Mapping[str, Any], jobs: int | None) -> int | None:
    """Return how many jobs of a multirun run on this machine at a time; None if that is not known.

    Args:
        launcher: Hydra's node ``launcher``.
        jobs: number of jobs of the multirun, None if it is not known.

    >>> jobs_at_a_time({"_target_": "a.JoblibLauncher", "n_jobs": 3}, 2)
    2
    """
    name = str(launcher.get("_target_")).rpartition(".")[2]
    if name == "BasicLauncher":
        return 1
    if name == "LocalLauncher":  # submitit's, which starts all of them
        return jobs
    if name != "JoblibLauncher":
        return None
    most = int(launcher.get("n_jobs") or 1)
    most = most if most > 0 else max(1, usable_cores() + 1 + most)  # as in joblib, -1 is all cores
    return most if jobs is None else min(most, jobs)


def check_each(identities: Identities, jobs: Sequence[Sequence[str]]) -> None:
    """Check the settings of jobs. A section that several jobs share is checked once.

    Args:
        identities: composes the configuration of each job.
        jobs: the overrides of each job.

    Raises:
        ZooError: a setting of a job does not exist, or has a wrong type or value. The message names the job.
    """
    checked: set[str] = set()
    for overrides in jobs:
        try:
            settings = identities.settings(overrides)
            _check(settings, checked)
        except ZooError as error:
            own = [text for text in overrides if split(text)[0] not in ("sweep", "logger")]
            raise ZooError(f"{error} (No job was started; this is of the job {shlex.join(own)}.)") from error


def _check(settings: dict[str, Any], checked: set[str]) -> None:
    """Check the sections of one job that no earlier job had, and add them to those checked."""
    for section in ("", *CHECKS, "batch"):
        part: Any = settings.get(section)
        if section == "":
            part = [sorted(settings), settings.get("sweep")]
        elif section == "batch":
            part = [settings["training"], settings["trainer"]]
        key = f"{section} {json.dumps(part, sort_keys=True, default=str)}"
        if key in checked:
            continue
        if section == "":
            check_names(settings)
        elif section == "batch":
            check_batch(settings["training"], whole_numbers(settings["trainer"]))
        elif not isinstance(part, dict):
            raise ZooError(f"{section} must be a mapping of settings; got {part!r}.")
        else:
            check_section(section, whole_numbers(part) if section == "trainer" else part)
        checked.add(key)
