"""Which times of a configuration may be compared with those of others: the ones measured on the same device.

The rule is the same as in the tables: times are compared if they were measured under the same conditions
(:mod:`zoo.comparison.timing`) as those of most of the study's runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group
from zoo.comparison.groups import usual_timing_of
from zoo.comparison.quantities import LATENCY, THROUGHPUT, Quantity
from zoo.comparison.studies import Study
from zoo.comparison.timing import timing_conditions, training_conditions
from zoo.record import Record


def _training_seconds(record: Record) -> float | None:
    return record.cost.device_seconds if record.cost.device_seconds is not None else record.cost.train_seconds


TRAINING = Quantity("training", "s", "lower", _training_seconds)
Conditions = Mapping[str, Any]
_CONDITIONS: dict[Quantity, Callable[[Run], Conditions]] = {
    LATENCY: timing_conditions,
    THROUGHPUT: timing_conditions,
    TRAINING: training_conditions,
}


def runs_of(study: Study, group: Group, quantity: Quantity) -> list[Run]:
    """Return the finished runs of a configuration over which a quantity is averaged.

    For a time these are only the runs that were timed on the device of most of the study's runs. If none was,
    they are those on the device of most of the configuration's own runs. For any other quantity all count.
    """
    if quantity not in _CONDITIONS:
        return group.finished
    read, usual = _CONDITIONS[quantity], _usual(study, quantity)
    alike = [run for run in group.finished if repr(read(run)) == usual]
    own = _commonest(read, group.finished)
    return alike or [run for run in group.finished if repr(read(run)) == own] or group.finished


def values_of(study: Study, group: Group, quantity: Quantity | None) -> list[float]:
    """Return the values of a quantity in the runs of :func:`runs_of`; empty if the quantity is None."""
    if quantity is None:
        return []
    values = (quantity.of(run.record) for run in runs_of(study, group, quantity))
    return [value for value in values if value is not None]


def device_of(study: Study, group: Group, quantity: Quantity = LATENCY) -> str:
    """Return the device on which a configuration was timed, in words; empty if it was not timed."""
    if quantity not in _CONDITIONS or not values_of(study, group, quantity):
        return ""
    return _words(_CONDITIONS[quantity](runs_of(study, group, quantity)[0]))


def elsewhere(study: Study, group: Group, quantity: Quantity) -> str:
    """Return the device in words if it is not that of most of the study's times; otherwise nothing."""
    if quantity not in _CONDITIONS or not values_of(study, group, quantity):
        return ""
    conditions = _CONDITIONS[quantity](runs_of(study, group, quantity)[0])
    return _words(conditions) if conditions and repr(conditions) != _usual(study, quantity) else ""


def usual_device(study: Study, quantity: Quantity) -> str:
    """Return the device on which most runs of a study were timed, in words.

    Empty if no run was timed, or if the quantity is not a time.
    """
    if quantity not in _CONDITIONS:
        return ""
    read, usual = _CONDITIONS[quantity], _usual(study, quantity)
    known = (read(run) for group in study.groups for run in group.finished)
    return next((_words(conditions) for conditions in known if repr(conditions) == usual), "")


def _usual(study: Study, quantity: Quantity) -> str:
    """Return the conditions under which most runs of a study were timed; empty if none was."""
    key = ("usual conditions", quantity.name)
    if key not in study.memo:
        finished = [run for group in study.groups for run in group.finished]
        timed = quantity in (LATENCY, THROUGHPUT)
        study.memo[key] = usual_timing_of(study) if timed else _commonest(training_conditions, finished)
    known: str | None = study.memo[key]
    return known or ""


def _commonest(read: Callable[[Run], Conditions], runs: Sequence[Run]) -> str:
    counts = Counter(repr(conditions) for run in runs if (conditions := read(run)))
    return counts.most_common(1)[0][0] if counts else ""


def _words(conditions: Conditions) -> str:
    """Return the conditions of a timing in words, the device first.

    >>> _words({"device": "cpu", "threads": 2, "dtype": "float32", "cpu": "AMD EPYC", "compiled": True})
    'AMD EPYC, 2 threads, compiled'
    """
    device, threads = conditions.get("device"), conditions.get("threads")
    parts = [str(conditions.get("cpu") or device or "an unknown device")]
    if device == "cpu" and threads:
        parts.append(f"{threads} thread{'s' * (threads != 1)}")
    if conditions.get("dtype") not in (None, "float32"):
        parts.append(str(conditions["dtype"]))
    if conditions.get("session"):
        parts.append(f"session {conditions['session']}")
    return ", ".join([*parts, *["compiled"] * bool(conditions.get("compiled"))])
