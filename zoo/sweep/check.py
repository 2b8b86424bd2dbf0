"""Check the settings of every job before any is started: no data are read."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from itertools import product
from typing import Any

from zoo.config import whole_numbers
from zoo.config.identities import Identities
from zoo.config.overrides import is_sweep, split, swept_values
from zoo.errors import ZooError
from zoo.running.check import CHECKS, check_batch, check_section
from zoo.running.spec import check_names
from zoo.sweep.plan import Plan


def check_jobs(plan: Plan, jobs: Sequence[Sequence[str]]) -> None:
    """Check the settings of jobs of a sweep, see :func:`check_each`."""
    check_each(plan.identities, jobs)


def check_multirun(overrides: Sequence[str]) -> None:
    """Check the settings of every job of ``zoo train -m``, as :func:`check_each` does.

    The jobs are the product of the values that overrides list. Nothing is checked where a plugin of Hydra's
    chooses the jobs (``hydra/sweeper=``), or a value has no list (``glob(*)``).
    """
    if any(split(text)[0].lstrip("+") == "hydra/sweeper" for text in overrides):
        return
    last = {split(text)[0]: text for text in overrides}  # of two overrides of one key Hydra takes the last
    try:
        ways = [
            [f"{key}={value}" for value in swept_values(text)] if is_sweep(text) else [text]
            for key, text in last.items()
        ]
    except ZooError:
        return
    check_each(Identities(), [list(job) for job in product(*ways)])


def check_each(identities: Identities, jobs: Sequence[Sequence[str]]) -> None:
    """Check the settings of jobs, each distinct section once.

    Args:
        identities: of the jobs, with what was composed before.
        jobs: the overrides of each.

    Raises:
        ZooError: a setting of a job does not exist, or has a wrong type or value; with the job's overrides.
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
    """Check the sections that are not among those checked already, and add them."""
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
