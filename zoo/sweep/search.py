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

from zoo.config.overrides import to_text
from zoo.errors import ZooError, unknown
from zoo.record import CURVES, write_atomic

SETTINGS = {"trials", "batch", "sampler", "seed", "space"}
SAMPLERS = ("tpe", "random")
RANGE = {"low", "high", "log", "step"}
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
        ZooError: a setting that a search does not have, or that makes no sense.
    """

    def __init__(
        self, settings: dict[str, Any], point: Sequence[str], directory: Path, fixed: set[str] | None = None
    ) -> None:
        _check(settings)
        self.trials, self.batch = settings["trials"], settings.get("batch", 4)
        self.seed, self.sampler = settings.get("seed", 0), settings.get("sampler", "tpe")
        self.space = {k: v for k, v in settings["space"].items() if k not in (fixed or set())}
        if not self.space:
            raise ZooError(
                "The command line fixes every key of the search's space, so nothing is left to search."
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

    def extremes(self) -> list[list[str]]:
        """Overrides in which every end of a range and every choice occurs, to find out which do not exist."""
        values = {key: axis.get("choices") or [axis["low"], axis["high"]] for key, axis in self.space.items()}
        longest = max(map(len, values.values()))
        trials = [{key: ends[min(i, len(ends) - 1)] for key, ends in values.items()} for i in range(longest)]
        return [self.overrides(trial) for trial in trials]

    def tell(self, results: Sequence[tuple[Trial, float]]) -> None:
        """The objectives of the batch; infinite for a trial that diverged or failed."""
        self.told += results

    def overrides(self, trial: Trial) -> list[str]:
        """The overrides of a trial's run."""
        return [*self.point, *(f"{key}={to_text(value)}" for key, value in trial.items())]

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
        # The samplers would pass over a failed trial, and propose its like again.
        worst = max((value for _, value in self.told if math.isfinite(value)), default=0.0) + 1
        for trial, value in self.told:
            study.add_trial(
                optuna.trial.create_trial(
                    value=min(value, worst),
                    params={key: _code(self.space[key], trial[key]) for key in axes},
                    distributions=axes,
                )
            )
        asked = [study.ask(axes).params for _ in range(count)]
        return [
            {k: self.space[k]["choices"][v] if "choices" in self.space[k] else v for k, v in trial.items()}
            for trial in asked
        ]


def _check(settings: dict[str, Any]) -> None:
    """Refuse what is no search, in a sentence that names the setting."""
    for key in settings:
        if key not in SETTINGS:
            raise unknown("setting of a search", str(key), SETTINGS)
    for key, default, least in (("trials", None, 1), ("batch", 4, 1), ("seed", 0, 0)):
        value = settings.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ZooError(f"The {key} of a search must be a whole number from {least}; got {value!r}.")
    sampler, space = settings.get("sampler", "tpe"), settings.get("space")
    if sampler not in SAMPLERS:
        raise ZooError(f"The sampler of a search is {' or '.join(SAMPLERS)}; got {sampler!r}.")
    if not isinstance(space, dict) or not space or not all(isinstance(key, str) for key in space):
        raise ZooError(
            f"The space of a search maps keys to `low` and `high`, or to `choices`; got {space!r}."
        )
    for key, axis in space.items():
        if rule := _broken(axis):
            raise ZooError(f"The axis {key} of a search must have {rule}; got {axis!r}.")


def _broken(axis: Any) -> str | None:
    """What an axis must have and does not; None for a sound one."""
    if not isinstance(axis, dict) or not ({"choices"} == set(axis) or {"low", "high"} <= set(axis) <= RANGE):
        return "`low` and `high`, and perhaps `log` or `step`, or `choices` alone"
    if "choices" in axis:
        choices = axis["choices"]
        sound = isinstance(choices, list) and choices and _is_plain(choices)
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


def _is_plain(value: Any) -> bool:
    """Whether JSON, in which the trials are kept, can hold it; YAML's dates it cannot."""
    try:
        json.dumps(value, sort_keys=True)
    except TypeError:
        return False
    return True


def _number(value: Any) -> float | None:
    """A finite number, which YAML may read as a text (1e-4); None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _axis(optuna: Any, axis: dict[str, Any]) -> Any:
    """Optuna's distribution; choices, which may be lists, by their number."""
    if "choices" in axis:
        return optuna.distributions.CategoricalDistribution(list(range(len(axis["choices"]))))
    low, high, log, step = axis["low"], axis["high"], bool(axis.get("log")), axis.get("step")
    if all(isinstance(value, int) for value in (low, high, 1 if step is None else step)):
        return optuna.distributions.IntDistribution(low, high, log=log, step=step or 1)
    return optuna.distributions.FloatDistribution(  # YAML reads 1e-4 as a text
        float(low), float(high), log=log, step=None if step is None else float(step)
    )


def _code(axis: dict[str, Any], value: Any) -> Any:
    return axis["choices"].index(value) if "choices" in axis else value
