"""Hyper-parameter search: trials are ordinary runs, proposed in batches by Optuna.

The proposals depend only on the sweep's YAML and on the results of earlier batches: the sampler is seeded
anew for each batch, and a batch is proposed as a whole, however many jobs run at a time. So a search that was
interrupted and restarted ends like one that was not. The result of a trial is the record of its run;
``search-<hash>.json`` in the sweep's directory stores the proposals, so that a later version of Optuna does
not change them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Len
from pydantic import BaseModel, ConfigDict, field_validator

from zoo.config.overrides import to_text
from zoo.errors import ZooError
from zoo.record import best_validation, write_atomic

RANGE = {"low", "high", "log", "step"}
Axis = dict[str, Any]
Trial = dict[str, Any]  # a value for each key of the space


class SearchSettings(BaseModel):
    """The ``search`` of a sweep.

    Attributes:
        trials: number of trials in all.
        batch: number of trials that are proposed together.
        sampler: Optuna's sampler.
        seed: seed of the sampler.
        space: for each key of the configuration a range (``low``, ``high`` and perhaps ``log: true`` or
            ``step``) or ``choices``.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    trials: Annotated[int, Ge(1)]
    batch: Annotated[int, Ge(1)] = 4
    sampler: Literal["tpe", "random"] = "tpe"
    seed: Annotated[int, Ge(0)] = 0
    space: Annotated[dict[str, Any], Len(1)]

    @field_validator("space")
    @classmethod
    def _check_axes(cls, space: dict[str, Any]) -> dict[str, Axis]:
        for key, axis in space.items():
            if requirement := _unmet_requirement(axis):
                raise ValueError(f"the axis {key} of a search must have {requirement}; got {axis!r}")
        return space


def objective(directory: Path) -> float:
    """Return a run's best validation loss, which a search minimises; infinity if the run has none."""
    best = best_validation(directory)
    return math.inf if best is None else best


class Search:
    """The trials that start from one point of a sweep's grid.

    Args:
        settings: the ``search`` of the sweep.
        point: the overrides that all trials share.
        directory: the directory of the sweep.
        fixed: keys given on the command line, which are not searched.

    Attributes:
        results: the trials so far, each with its objective.

    Raises:
        ZooError: the command line fixes every key of the space.
    """

    def __init__(
        self,
        settings: SearchSettings,
        point: Sequence[str],
        directory: Path,
        fixed: set[str] | None = None,
    ) -> None:
        self.trials, self.batch = settings.trials, settings.batch
        self.seed, self.sampler = settings.seed, settings.sampler
        self.space = {key: axis for key, axis in settings.space.items() if key not in (fixed or set())}
        if not self.space:
            raise ZooError(
                "The command line fixes every key of the search's space, so nothing is left to search."
            )
        self.point = list(point)
        self.results: list[tuple[Trial, float]] = []
        design = [self.point, self.space, self.batch, self.seed, self.sampler]
        self.signature = hashlib.sha256(json.dumps(design, sort_keys=True).encode()).hexdigest()[:10]
        self.file = directory / f"search-{self.signature}.json"

    @property
    def done(self) -> bool:
        """Whether every trial has a result."""
        return len(self.results) >= self.trials

    @property
    def best(self) -> tuple[Trial, float] | None:
        """The trial with the lowest objective, and that objective; None if no trial has finished."""
        finite = [result for result in self.results if math.isfinite(result[1])]
        return min(finite, key=lambda result: result[1], default=None)

    def ask(self, keep: bool = True) -> list[Trial]:
        """Return the next batch of trials; the same batch until :meth:`tell` is called.

        Args:
            keep: store the proposals on disk.
        """
        first, count = len(self.results), min(self.batch, self.trials - len(self.results))
        proposed = self._stored()
        if len(proposed) < first + count:
            proposed = proposed[:first] + self._propose(first, count)
            if keep:
                content = json.dumps({"point": self.point, "asked": proposed}, indent=1) + "\n"
                write_atomic(self.file, content)
        return proposed[first : first + count]

    def tell(self, results: Sequence[tuple[Trial, float]]) -> None:
        """Add the objectives of the batch; infinity for a trial that diverged or failed."""
        self.results += results

    def extremes(self) -> list[list[str]]:
        """Return overrides that contain both ends of every range and every choice.

        Composing them shows a mistake in the space before anything runs.
        """
        values = {key: axis.get("choices") or [axis["low"], axis["high"]] for key, axis in self.space.items()}
        longest = max(map(len, values.values()))
        trials = [{key: ends[min(i, len(ends) - 1)] for key, ends in values.items()} for i in range(longest)]
        return [self.overrides(trial) for trial in trials]

    def overrides(self, trial: Trial) -> list[str]:
        """Return the overrides of a trial's run."""
        return [*self.point, *(f"{key}={to_text(value)}" for key, value in trial.items())]

    def _stored(self) -> list[Trial]:
        """Return the proposals that were stored on disk."""
        try:
            return list(json.loads(self.file.read_text(encoding="utf-8"))["asked"])
        except (OSError, ValueError, KeyError):
            return []

    def _propose(self, first: int, count: int) -> list[Trial]:
        """Return new proposals of Optuna for the trials from ``first``."""
        try:
            import optuna
        except ImportError:
            raise ZooError(
                "This sweep searches; install Optuna: pip install '.[search]' in the clone of zoo."
            ) from None
        import warnings

        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        distributions = {key: _distribution(optuna, axis) for key, axis in self.space.items()}
        seed = int(hashlib.sha256(f"{self.signature}/{first}".encode()).hexdigest()[:8], 16)
        sampler: Any = (
            optuna.samplers.RandomSampler(seed=seed)
            if self.sampler == "random"
            else optuna.samplers.TPESampler(seed=seed, constant_liar=True)  # the trials of a batch differ
        )
        study = optuna.create_study(sampler=sampler)
        # Optuna ignores failed trials and would propose similar ones again, so they get a bad value.
        worst = max((value for _, value in self.results if math.isfinite(value)), default=0.0) + 1
        for trial, value in self.results:
            study.add_trial(
                optuna.trial.create_trial(
                    value=min(value, worst),
                    params={key: _encode(axis, trial[key]) for key, axis in self.space.items()},
                    distributions=distributions,
                )
            )
        proposals = [study.ask(distributions).params for _ in range(count)]
        return [{key: _decode(self.space[key], v) for key, v in trial.items()} for trial in proposals]


def _unmet_requirement(axis: Any) -> str | None:
    """Return what an axis of the space must have and has not; None if it is valid."""
    if not isinstance(axis, dict) or not ({"choices"} == set(axis) or {"low", "high"} <= set(axis) <= RANGE):
        return "`low` and `high`, and perhaps `log` or `step`, or `choices` alone"
    if "choices" in axis:
        choices = axis["choices"]
        sound = isinstance(choices, list) and choices and _is_json(choices)
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


def _is_json(value: Any) -> bool:
    """Return whether JSON, in which proposals are stored, can hold a value (YAML's dates it cannot)."""
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


def _encode(axis: Axis, value: Any) -> Any:
    """Return the value of a trial in Optuna's form."""
    return axis["choices"].index(value) if "choices" in axis else value


def _decode(axis: Axis, value: Any) -> Any:
    """Return the value of a trial from Optuna's."""
    return axis["choices"][value] if "choices" in axis else value
