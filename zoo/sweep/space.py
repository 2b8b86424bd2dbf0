"""The space of a search: the ranges and choices of settings, and Optuna's proposals from it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zoo.journal import import_optuna

RANGE = {"low", "high", "log", "step"}
Axis = dict[str, Any]
Trial = dict[str, Any]  # a value for each key of the space


@dataclass(frozen=True)
class Known:
    """A trial that was proposed before.

    Attributes:
        trial: its settings.
        value: its objective; infinity if it diverged or failed; None while it runs and for a pruned one.
        steps: what a pruned one has reported at each step.
    """

    trial: Trial
    value: float | None = None
    steps: dict[int, float] = field(default_factory=dict)
    pruned: bool = False


def propose(
    space: Mapping[str, Axis], known: Sequence[Known], count: int, sampler: str, seed: str
) -> list[Trial]:
    """Return new proposals of Optuna.

    Args:
        space: the axis of each key.
        known: all trials that were proposed before.
        count: number of proposals.
        sampler: ``tpe`` or ``random``.
        seed: text from which the seed of the sampler is computed.
    """
    optuna = import_optuna()
    number = int(hashlib.sha256(seed.encode()).hexdigest()[:8], 16)
    chosen: Any = (
        optuna.samplers.RandomSampler(seed=number)
        if sampler == "random"
        else optuna.samplers.TPESampler(seed=number, constant_liar=True)  # trials that run together differ
    )
    study = optuna.create_study(sampler=chosen)
    # Optuna ignores failed trials and would propose similar ones again, so they get a bad value.
    values = [one.value for one in known if one.value is not None]
    worst = max(filter(math.isfinite, values), default=0.0) + 1
    states = optuna.trial.TrialState
    drawn_from = distributions(space)
    for one in known:
        running = states.PRUNED if one.pruned else states.RUNNING
        study.add_trial(
            optuna.trial.create_trial(
                state=running if one.value is None else states.COMPLETE,
                value=None if one.value is None else min(one.value, worst),
                params=encode(space, one.trial),
                distributions=drawn_from,
                intermediate_values=one.steps,
            )
        )
    proposals = [study.ask(drawn_from).params for _ in range(count)]
    return [decode(space, params) for params in proposals]


def distributions(space: Mapping[str, Axis]) -> dict[str, Any]:
    """Return Optuna's distribution of each axis."""
    optuna = import_optuna()
    return {key: _distribution(optuna, axis) for key, axis in space.items()}


def encode(space: Mapping[str, Axis], trial: Trial) -> dict[str, Any]:
    """Return a trial's settings in Optuna's form: a choice by its place."""
    return {
        key: axis["choices"].index(trial[key]) if "choices" in axis else trial[key]
        for key, axis in space.items()
    }


def decode(space: Mapping[str, Axis], params: Mapping[str, Any]) -> Trial:
    """Return a trial's settings from Optuna's parameters, which give a choice by its index."""
    return {
        key: axis["choices"][params[key]] if "choices" in axis else params[key] for key, axis in space.items()
    }


def unmet_requirement(axis: Any) -> str | None:
    """Return what an axis of the space lacks, in words; None if it is valid."""
    if not isinstance(axis, dict) or not ({"choices"} == set(axis) or {"low", "high"} <= set(axis) <= RANGE):
        return "`low` and `high`, and perhaps `log` or `step`, or `choices` alone"
    if "choices" in axis:
        choices = axis["choices"]
        sound = isinstance(choices, list) and choices and _fits_json(choices)
        return None if sound else "a list of numbers, texts, lists or mappings as its `choices`"
    low, high, log, step = _number(axis["low"]), _number(axis["high"]), axis.get("log"), axis.get("step")
    if low is None or high is None or low > high:
        return "numbers as `low` and `high`, the second not below the first"
    if log not in (None, False, True):
        return "`log: true` or `log: false`"
    if log and low <= 0:
        return "a `low` above 0 beside `log: true`"
    if log and step is not None:
        return "`log: true` or a `step`, not both"
    if step is not None and not (_number(step) or 0) > 0:
        return "a number above 0 as its `step`"
    return None


def _fits_json(value: Any) -> bool:
    """Return whether a value can be stored as JSON, in which proposals are kept; YAML's dates cannot."""
    try:
        json.dumps(value, sort_keys=True)
    except TypeError:
        return False
    return True


def _number(value: Any) -> float | None:
    """Return a finite number, which YAML may have read as a string (1e-4); None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _distribution(optuna: Any, axis: Axis) -> Any:
    """Return Optuna's distribution for an axis. Choices, which may be lists, are given by their index."""
    if "choices" in axis:
        return optuna.distributions.CategoricalDistribution(list(range(len(axis["choices"]))))
    low, high, log, step = axis["low"], axis["high"], bool(axis.get("log")), axis.get("step")
    if all(isinstance(value, int) for value in (low, high, 1 if step is None else step)):
        return optuna.distributions.IntDistribution(low, high, log=log, step=step or 1)
    return optuna.distributions.FloatDistribution(
        float(low), float(high), log=log, step=None if step is None else float(step)
    )
