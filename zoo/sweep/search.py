"""Hyper-parameter search: trials are ordinary runs, proposed by Optuna.

:class:`Search` proposes trials in batches. The proposals depend only on the sweep's YAML and on the results
of earlier batches: the sampler is seeded anew for each batch, and a batch is proposed as a whole, however
many jobs run at a time. So a search that was interrupted and restarted ends like one that was not. The result
of a trial is the record of its run; ``search-<hash>.json`` in the sweep's directory stores the proposals, so
that a later version of Optuna does not change them.

:mod:`zoo.sweep.async_search` proposes a trial whenever a place is free, and may give up trials early.
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Len
from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from zoo.config.overrides import to_text
from zoo.errors import ZooError, unknown
from zoo.journal import NO_PRUNER, PRUNERS
from zoo.record import best_validation, write_atomic
from zoo.sweep.space import Axis, Known, Trial, propose, unmet_requirement


class SearchSettings(BaseModel):
    """The ``search`` of a sweep.

    Attributes:
        trials: number of trials in all.
        mode: ``batches`` proposes trials together and gives the same trials each time; ``async`` proposes one
            whenever a job may start, and may prune.
        batch: number of trials that are proposed together; only with ``mode: batches``.
        sampler: Optuna's sampler.
        pruner: what gives up a trial early, only with ``mode: async``: a name of
            :data:`~zoo.journal.PRUNERS`, or a mapping of this ``name`` and arguments of Optuna's class. A
            step is a validation.
        seed: seed of the sampler.
        space: for each key of the configuration a range (``low``, ``high`` and perhaps ``log: true`` or
            ``step``) or ``choices``.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    trials: Annotated[int, Ge(1)]
    mode: Literal["batches", "async"] = "batches"
    batch: Annotated[int, Ge(1)] = 4
    sampler: Literal["tpe", "random"] = "tpe"
    pruner: str | dict[str, Any] = NO_PRUNER
    seed: Annotated[int, Ge(0)] = 0
    space: Annotated[dict[str, Any], Len(1)]

    @field_validator("space")
    @classmethod
    def _check_axes(cls, space: dict[str, Any]) -> dict[str, Axis]:
        for key, axis in space.items():
            if requirement := unmet_requirement(axis):
                raise ValueError(f"the axis {key} of a search must have {requirement}; got {axis!r}")
        return space

    @field_validator("pruner")
    @classmethod
    def _check_pruner(cls, pruner: str | dict[str, Any]) -> str | dict[str, Any]:
        name = pruner.get("name") if isinstance(pruner, dict) else pruner
        if name not in PRUNERS:
            raise unknown("pruner", str(name), PRUNERS)
        return pruner

    @model_validator(mode="after")
    def _check_mode(self) -> SearchSettings:
        if self.mode == "batches" and self.pruning["name"] != NO_PRUNER:
            raise ValueError("search.pruner needs search.mode: async; batches are never pruned")
        if self.mode == "async" and "batch" in self.model_fields_set:
            raise ValueError("search.batch has no effect with search.mode: async; leave it out")
        return self

    @property
    def pruning(self) -> dict[str, Any]:
        """Name and arguments of the pruner."""
        return self.pruner if isinstance(self.pruner, dict) else {"name": self.pruner}


def objective(directory: Path) -> float:
    """Return a run's best validation loss, which a search minimises; infinity if the run has none."""
    best = best_validation(directory)
    return math.inf if best is None else best


class BaseSearch(ABC):
    """A hyper-parameter search whose trials share the overrides of one point of a sweep's grid.

    The subclasses are the two modes of :class:`SearchSettings`.

    Args:
        settings: the ``search`` of the sweep.
        point: the overrides that all trials share.
        directory: the directory of the sweep.
        fixed: keys given on the command line, which are not searched.

    Attributes:
        space: the axes of the keys that are searched.
        signature: hash of :meth:`design`, ten hexadecimal digits.
        path: ``search-<signature>`` in the sweep's directory, where the search stores its state.
        unlisted: number of trials that have no job in the sweep's plan yet.

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
        self.settings, self.point = settings, list(point)
        self.space = {key: axis for key, axis in settings.space.items() if key not in (fixed or set())}
        if not self.space:
            raise ZooError(
                "The command line fixes every key of the search's space, so nothing is left to search."
            )
        content = json.dumps(self.design(), sort_keys=True)
        self.signature = hashlib.sha256(content.encode()).hexdigest()[:10]
        self.path = directory / f"search-{self.signature}"
        self.unlisted = settings.trials

    @abstractmethod
    def design(self) -> list[Any]:
        """Return all that the proposals depend on, as values that JSON can hold.

        The number of trials does not belong to it, so that a sweep with more trials continues the search.
        """

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


class Search(BaseSearch):
    """A search that proposes its trials in batches.

    Attributes:
        results: the trials that have ended, each with its objective.
    """

    results: tuple[tuple[Trial, float], ...] = ()

    def design(self) -> list[Any]:
        return [self.point, self.space, self.settings.batch, self.settings.seed, self.settings.sampler]

    @property
    def file(self) -> Path:
        """The file that stores the proposals."""
        return self.path.with_suffix(".json")

    @property
    def done(self) -> bool:
        """Whether every trial has a result."""
        return len(self.results) >= self.settings.trials

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
        first, count = len(self.results), min(self.settings.batch, self.settings.trials - len(self.results))
        proposed = self._stored()
        if len(proposed) < first + count:
            known = [Known(trial, value) for trial, value in self.results]
            seed = f"{self.signature}/{first}"
            proposed = proposed[:first] + propose(self.space, known, count, self.settings.sampler, seed)
            if keep:
                content = json.dumps({"point": self.point, "asked": proposed}, indent=1) + "\n"
                write_atomic(self.file, content)
        return proposed[first : first + count]

    def tell(self, results: Sequence[tuple[Trial, float]]) -> None:
        """Add the objectives of the batch; infinity for a trial that diverged or failed."""
        self.results = (*self.results, *results)

    def _stored(self) -> list[Trial]:
        """Return the proposals that were stored on disk."""
        try:
            return list(json.loads(self.file.read_text(encoding="utf-8"))["asked"])
        except (OSError, ValueError, KeyError):
            return []


def describe_best(trial: Mapping[str, Any], value: float, trials: int, more: str = "") -> str:
    """Return the best of some trials as a sentence."""
    settings = ", ".join(f"{key}={v}" for key, v in trial.items())
    return f"Best of {trials} trials{more}: val/loss {value:.6g} with {settings}"
