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

    Where ``zoo time`` measured some of them, only its sessions count.
    """
    finished = [run for group in groups for run in group.finished]
    in_turns = [run for run in finished if run.record.sampling.session is not None]
    conditions = Counter(timing(run) for run in in_turns or finished)
    return conditions.most_common(1)[0][0] if conditions else None
