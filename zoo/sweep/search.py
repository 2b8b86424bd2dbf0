"""Hyper-parameter search: trials are ordinary runs, proposed in batches by Optuna.

What is proposed follows from the sweep's YAML and the results of the batches before, and from nothing else:
the sampler is seeded anew for each batch, and a batch is proposed at once, however many jobs run at a time.
So a search that was cut off and started again ends like one that was not. Its storage is the sweep's
directory: every trial's result is its run's record, and ``search-*.json`` keeps what was proposed, so that a
later version of Optuna does not propose otherwise.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.errors import ZooError, unknown
from zoo.record import CURVES, write_atomic

SETTINGS = {"trials", "batch", "sampler", "seed", "space"}
Trial = dict[str, Any]


def objective(directory: Path) -> float:
    """What a search minimises: a run's best validation loss, never a test value; infinite without one."""
    try:
        with (directory / CURVES).open(newline="") as stream:
            values = [float(row["val/loss"]) for row in csv.DictReader(stream) if row.get("val/loss")]
    except (OSError, ValueError):
        return math.inf
    return min(values, default=math.inf)


class Search:
    """The trials that start from one point of a sweep's grid.

    Args:
        settings: ``trials`` in all, in batches of ``batch`` (4); ``sampler`` ``tpe`` or ``random``, ``seed``;
            and ``space``: a key of the configuration with ``low``, ``high`` and perhaps ``log: true`` or
            ``step``, or with ``choices``.
        point: the overrides that all trials share.
        directory: of the sweep.
        fixed: keys given on the command line, which are not searched.

    Raises:
        ZooError: a setting that a search does not have.
    """

    def __init__(
        self, settings: dict[str, Any], point: Sequence[str], directory: Path, fixed: set[str] | None = None
    ) -> None:
        for key in settings:
            if key not in SETTINGS:
                raise unknown("setting of a search", key, SETTINGS)
        self.trials = int(settings.get("trials", 0))
        self.batch = int(settings.get("batch", 4))
        self.seed = int(settings.get("seed", 0))
        self.sampler = settings.get("sampler", "tpe")
        self.space = {k: v for k, v in (settings.get("space") or {}).items() if k not in (fixed or set())}
        if self.trials < 1 or self.batch < 1 or self.sampler not in ("tpe", "random") or not self.space:
            raise ZooError(
                "A search has `trials` and a `batch` of 1 or more, a `sampler` (tpe or random) and a `space`."
            )
        for key, axis in self.space.items():
            if not isinstance(axis, dict) or not ({"choices"} == set(axis) or {"low", "high"} <= set(axis)):
                raise ZooError(
                    f"The axis {key} of a search has `low` and `high`, or `choices`; got {axis!r}."
                )
        self.point = list(point)
        self.told: list[tuple[Trial, float]] = []
        kept = [self.point, self.space, self.batch, self.seed, self.sampler]
        self.signature = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:10]
        self.file = directory / f"search-{self.signature}.json"

    @property
    def done(self) -> bool:
        """Whether every trial has been told."""
        return len(self.told) >= self.trials

    @property
    def best(self) -> tuple[Trial, float] | None:
        """The trial of the lowest objective, with it."""
        return min((t for t in self.told if math.isfinite(t[1])), key=lambda t: t[1], default=None)

    def ask(self, keep: bool = True) -> list[Trial]:
        """The next batch, each trial a value for every key of the space; the same until it is told."""
        first, count = len(self.told), min(self.batch, self.trials - len(self.told))
        asked = self._asked()
        if len(asked) < first + count:
            asked = asked[:first] + self._propose(first, count)
            if keep:
                write_atomic(self.file, json.dumps({"point": self.point, "asked": asked}, indent=1) + "\n")
        return asked[first : first + count]

    def tell(self, results: Sequence[tuple[Trial, float]]) -> None:
        """The objectives of the batch; infinite for a trial that diverged or failed."""
        self.told += results

    def overrides(self, trial: Trial) -> list[str]:
        """The overrides of a trial's run."""
        from zoo.sweep.plan import text

        return [*self.point, *(f"{key}={text(value)}" for key, value in trial.items())]

    def _asked(self) -> list[Trial]:
        try:
            return list(json.loads(self.file.read_text())["asked"])
        except (OSError, ValueError, KeyError):
            return []

    def _propose(self, first: int, count: int) -> list[Trial]:
        try:
            import optuna
        except ImportError:
            raise ZooError("This sweep searches; install Optuna with: pip install 'zoo[search]'.") from None
        import warnings

        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        axes = {key: _axis(optuna, axis) for key, axis in self.space.items()}
        seed = int(hashlib.sha256(f"{self.signature}/{first}".encode()).hexdigest()[:8], 16)
        sampler: Any = (
            optuna.samplers.RandomSampler(seed=seed)
            if self.sampler == "random"
            else optuna.samplers.TPESampler(seed=seed, constant_liar=True)  # trials of a batch differ
        )
        study = optuna.create_study(sampler=sampler)
        for trial, value in self.told:
            ok = math.isfinite(value)
            study.add_trial(
                optuna.trial.create_trial(
                    state=optuna.trial.TrialState.COMPLETE if ok else optuna.trial.TrialState.FAIL,
                    value=value if ok else None,
                    params={key: _code(self.space[key], trial[key]) for key in axes},
                    distributions=axes,
                )
            )
        asked = [study.ask(axes).params for _ in range(count)]
        return [
            {k: self.space[k]["choices"][v] if "choices" in self.space[k] else v for k, v in trial.items()}
            for trial in asked
        ]


def _axis(optuna: Any, axis: dict[str, Any]) -> Any:
    """Optuna's distribution; choices, which may be lists, by their number."""
    if "choices" in axis:
        return optuna.distributions.CategoricalDistribution(list(range(len(axis["choices"]))))
    low, high, log, step = axis["low"], axis["high"], bool(axis.get("log")), axis.get("step")
    if isinstance(low, int) and isinstance(high, int):
        return optuna.distributions.IntDistribution(low, high, log=log, step=int(step or 1))
    return optuna.distributions.FloatDistribution(  # YAML reads 1e-4 as a text
        float(low), float(high), log=log, step=None if step is None else float(step)
    )


def _code(axis: dict[str, Any], value: Any) -> Any:
    return axis["choices"].index(value) if "choices" in axis else value
