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


class BaseSearch:
    """What a search of either mode knows of its trials, which start from one point of a sweep's grid.

    Args:
        settings: the ``search`` of the sweep.
        point: the overrides that all trials share.
        fixed: keys given on the command line, which are not searched.

    Attributes:
        unlisted: number of trials that are not among the jobs of the plan yet.

    Raises:
        ZooError: the command line fixes every key of the space.
    """

    def __init__(self, settings: SearchSettings, point: Sequence[str], fixed: set[str] | None = None) -> None:
        self.trials = self.unlisted = settings.trials
        self.seed, self.sampler = settings.seed, settings.sampler
        self.space = {key: axis for key, axis in settings.space.items() if key not in (fixed or set())}
        if not self.space:
            raise ZooError(
                "The command line fixes every key of the search's space, so nothing is left to search."
            )
        self.point = list(point)

    def extremes(self) -> list[list[str]]:
        """Return overrides that contain both ends of every range and every choice.

        Composing them shows a mistake in the space before anything runs.
        """
        values = {key: axis.get("choices") or [axis["low"], axis["high"]] for key, axis in self.space.items()}
        longest = max(map(len, values.values()))
        trials = [{key: ends[min(i, len(ends) - 1)] for key, ends in values.items()} for i in range(longest)]
        return [self.overrides(trial) for trial in trials]

    def check(self) -> None:
        """Check what can be checked before anything runs."""

    def overrides(self, trial: Trial) -> list[str]:
        """Return the overrides of a trial's run."""
        return [*self.point, *(f"{key}={to_text(value)}" for key, value in trial.items())]


class Search(BaseSearch):
    """A search in batches; see :class:`BaseSearch`.

    Args:
        directory: the directory of the sweep.

    Attributes:
        results: the trials so far, each with its objective.
    """

    def __init__(
        self,
        settings: SearchSettings,
        point: Sequence[str],
        directory: Path,
        fixed: set[str] | None = None,
    ) -> None:
        super().__init__(settings, point, fixed)
        self.batch = settings.batch
        self.results: list[tuple[Trial, float]] = []
        design = [self.point, self.space, self.batch, self.seed, self.sampler]
        self.signature = signature(design)
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
            known = [Known(trial, value) for trial, value in self.results]
            seed = f"{self.signature}/{first}"
            proposed = proposed[:first] + propose(self.space, known, count, self.sampler, seed)
            if keep:
                content = json.dumps({"point": self.point, "asked": proposed}, indent=1) + "\n"
                write_atomic(self.file, content)
        return proposed[first : first + count]

    def tell(self, results: Sequence[tuple[Trial, float]]) -> None:
        """Add the objectives of the batch; infinity for a trial that diverged or failed."""
        self.results += results

    def _stored(self) -> list[Trial]:
        """Return the proposals that were stored on disk."""
        try:
            return list(json.loads(self.file.read_text(encoding="utf-8"))["asked"])
        except (OSError, ValueError, KeyError):
            return []


def signature(design: Any) -> str:
    """Return a short hash of what a search's proposals depend on."""
    return hashlib.sha256(json.dumps(design, sort_keys=True).encode()).hexdigest()[:10]


def describe_best(trial: Mapping[str, Any], value: float, trials: int, more: str = "") -> str:
    """Return the best of some trials as a sentence."""
    settings = ", ".join(f"{key}={v}" for key, v in trial.items())
    return f"Best of {trials} trials{more}: val/loss {value:.6g} with {settings}"
