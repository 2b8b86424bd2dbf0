"""The conditions under which runs were timed, which have to agree if two times are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group


def timing_conditions(run: Run) -> dict[str, Any]:
    """Return the conditions that must agree if two speeds of sampling are compared, computed once per run."""
    if "timing" not in run.memo:
        run.memo["timing"] = _timing_conditions(run)
    known: dict[str, Any] = run.memo["timing"]
    return known


def _timing_conditions(run: Run) -> dict[str, Any]:
    sampling = run.record.sampling
    conditions = {"device": sampling.device, "threads": sampling.threads, "dtype": sampling.dtype}
    if sampling.device == "cpu":
        conditions["cpu"] = run.record.provenance.hardware.cpu
    if sampling.session is not None:
        conditions["session"] = sampling.session
    return conditions | {"compiled": bool(sampling.compiled)}


def training_conditions(run: Run) -> dict[str, Any]:
    """Return the conditions that must agree if two times of training are compared; empty if unknown."""
    if (device := run.record.sampling.device) is None:
        return {}
    compiled = bool(run.record.cost.compiled)
    if device != "cpu":
        return {"device": device, "compiled": compiled}
    return {"device": device, "cpu": run.record.provenance.hardware.cpu, "compiled": compiled}


def timing(run: Run) -> str:
    """Return the device, threads and precision of a run, which have to agree for times to be comparable."""
    return repr(timing_conditions(run))


def usual_timing(groups: Sequence[Group]) -> str | None:
    """Return the conditions under which most finished runs were timed; None if none has finished.

    A session of ``zoo time`` counts alone where it measured runs of more than half of the groups: both of a
    pair, or most configurations of a study. One that measured few of them says nothing of the others, and
    the runs that timed themselves count.
    """
    timed = [[(timing(run), run.record.sampling.session) for run in group.finished] for group in groups]
    timed = [of_group for of_group in timed if of_group]
    every = Counter(conditions for of_group in timed for conditions, _ in of_group)
    sessions = Counter(
        conditions
        for of_group in timed
        for conditions in dict.fromkeys(known for known, session in of_group if session is not None)
    )
    shared = [conditions for conditions, count in sessions.items() if 2 * count > len(timed)]
    themselves = [conditions for conditions in every if conditions not in sessions]
    return max(shared or themselves or every, key=lambda conditions: every[conditions], default=None)
