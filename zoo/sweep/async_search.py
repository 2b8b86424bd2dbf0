"""A search that proposes a trial whenever a place is free, on Optuna's journal storage.

Any number of sweeps may work on one search, on one machine or on several that share the directory: its state
is the journal (:mod:`zoo.journal`) and the records of its runs. A trial belongs to the sweep that has
proposed it, which holds a lock as long as it lives. A sweep takes over the trials of another one that has
ended or was killed, and their runs go on from their checkpoints.
"""

from __future__ import annotations

import math
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from zoo.config.identity import is_part_of_identity
from zoo.config.overrides import quote_path, split
from zoo.errors import ZooError
from zoo.journal import JOURNAL, Journal, is_begun, make_pruner
from zoo.locks import LOCK, exclusive, is_locked
from zoo.sweep.search import BaseSearch, describe_best
from zoo.sweep.space import Known, Trial, decode, distributions, encode, propose

OWNER, STATUS, RETRY = "owner", "status", "retry_of"  # attributes of a trial in the journal
PACE = 1.0  # seconds between two looks into a journal that has nothing to do


class AsyncSearch(BaseSearch):
    """A search whose trials are proposed one at a time; see :class:`~zoo.sweep.search.BaseSearch`.

    Attributes:
        owner: name of this sweep among those that take part in the search.
        empty_at: time at which the journal last had no trial to run, on the monotonic clock.
    """

    owner: str = ""
    empty_at: float = -math.inf

    def design(self) -> list[Any]:
        counted = [o for o in self.point if is_part_of_identity(tuple(split(o)[0].lstrip("+").split(".")))]
        settings = self.settings
        return ["async", counted, self.space, settings.seed, settings.sampler, settings.pruning]

    @property
    def file(self) -> Path:
        """The journal."""
        return self.path / JOURNAL

    def check(self) -> None:
        """Raise an error if the pruner's settings or an existing journal are unusable; write nothing.

        Raises:
            ZooError: Optuna is not installed, a setting of the pruner is wrong, the journal is that of
                another search, or it is damaged.
        """
        make_pruner(self.settings.pruning)
        if is_begun(self.file):
            Journal(self.file, self.signature)

    def known(self) -> list[Any]:
        """Return the trials in the journal; none if there is no journal. Nothing is written."""
        return Journal(self.file, self.signature).trials() if is_begun(self.file) else []

    @contextmanager
    def taking_part(self, retry: Callable[[str], bool], anew: bool) -> Iterator[None]:
        """Register this process as one of the search's sweeps for the block, in which :meth:`next` works.

        Args:
            retry: whether a trial with this status is to be made again.
            anew: whether to remove the journal first.

        Raises:
            ZooError: as for :meth:`check`; or the journal is to be removed while another sweep uses it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self.owner = uuid.uuid4().hex
        place = self._place(self.owner)
        with ExitStack() as stack:
            with exclusive(self.path / ".propose"):
                place.parent.mkdir(exist_ok=True)
                living = [other for other in place.parent.iterdir() if not self._is_dead(other)]
                if anew and living:
                    raise ZooError(
                        "Another sweep is at work on this search; end it, then --again makes it anew."
                    )
                if anew:
                    self.file.unlink(missing_ok=True)
                self.journal = self._open()
                self._retry(retry)
                place.mkdir()
                stack.callback(shutil.rmtree, place, ignore_errors=True)
                stack.enter_context(exclusive(place / LOCK))
            yield

    def next(self) -> tuple[int, Trial] | None:
        """Return a trial for a free place, with its number: one that is taken over, or a new one.

        Returns None if there is none, which is looked up once a second.
        """
        if time.monotonic() - self.empty_at < PACE:
            return None
        found = None
        if any(True for _ in self._orphans()) or self._has_room():
            with exclusive(self.path / ".propose"):
                found = self._take_over() or (self._propose() if self._has_room() else None)
        if found is None:
            self.empty_at = time.monotonic()
        return found

    def tell(self, number: int, status: str, value: float | None) -> None:
        """Enter how a trial ended.

        Args:
            number: the trial.
            status: that of its record, or ``refused``.
            value: its objective, if it finished.
        """
        self.journal.tell(number, status, value)

    def is_open(self) -> bool:
        """Return whether there are trials to propose, or some that another sweep runs or has left."""
        running = (trial for trial in self.journal.trials() if not trial.state.is_finished())
        return self._has_room() or any(t.user_attrs[OWNER] != self.owner for t in running)

    def trial_overrides(self, number: int, trial: Trial) -> list[str]:
        """Return the overrides of a trial's run, which reports to the journal."""
        place = f"search.journal={quote_path(str(self.file.absolute()))}"
        return [*self.overrides(trial), place, f"search.trial={number}"]

    def settings_of(self, trial: Any) -> Trial:
        """Return the settings of a trial of the journal."""
        return decode(self.space, trial.params)

    def results(self) -> dict[int, Any]:
        """Return the last try of each trial by its number."""
        last: dict[int, Any] = {}
        for trial in self.journal.trials():
            last[int(trial.user_attrs.get(RETRY, trial.number))] = trial
        return last

    def summary(self) -> str | None:
        """Return the best trial and how many there are as a sentence; None if none has finished."""
        last = list(self.results().values())
        counts = Counter(trial.user_attrs[STATUS] for trial in last if trial.state.is_finished())
        finished = [trial for trial in last if trial.user_attrs.get(STATUS) == "finished"]
        if not finished:
            return None
        best = min(finished, key=lambda trial: float(trial.value))
        others = ", ".join(f"{count} {status}" for status, count in counts.items() if status != "finished")
        more = f" ({others})" if others else ""
        return describe_best(self.settings_of(best), float(best.value), len(last), more)

    def _open(self) -> Journal:
        return Journal.open(self.file, self.signature, self.settings.pruning)

    def _place(self, owner: str) -> Path:
        return self.path / "sweeps" / owner

    def _count(self) -> int:
        """Return the number of trials; the tries of one count once."""
        return sum(RETRY not in trial.user_attrs for trial in self.journal.trials())

    def _has_room(self) -> bool:
        """Return whether fewer trials were proposed than the settings say."""
        return self._count() < self.settings.trials

    def _orphans(self) -> Iterator[Any]:
        """Yield the running trials whose sweep has ended."""
        alive: dict[str, bool] = {self.owner: True}
        for trial in self.journal.trials():
            if trial.state.is_finished():
                continue
            owner = trial.user_attrs[OWNER]
            if owner not in alive:
                alive[owner] = bool(owner) and is_locked(self._place(owner))
            if not alive[owner]:
                yield trial

    def _take_over(self) -> tuple[int, Trial] | None:
        """Make a trial whose sweep has ended this sweep's; return it."""
        for trial in self._orphans():
            self.journal.mark(trial.number, **{OWNER: self.owner})
            return trial.number, self.settings_of(trial)
        return None

    def _propose(self) -> tuple[int, Trial]:
        """Add a new trial of this sweep; return it."""
        trials = self.journal.trials()
        seed = f"{self.signature}/{len(trials)}"
        trial = propose(self.space, [self._known(t) for t in trials], 1, self.settings.sampler, seed)[0]
        return self._add(trial, self.owner), trial

    def _add(self, trial: Trial, owner: str, **attributes: Any) -> int:
        return self.journal.add(
            encode(self.space, trial), distributions(self.space), {OWNER: owner, **attributes}
        )

    def _known(self, trial: Any) -> Known:
        """Return a trial of the journal for the sampler: what has no value counts as the worst."""
        settings, status = self.settings_of(trial), trial.user_attrs.get(STATUS)
        if not trial.state.is_finished():
            return Known(settings)
        if status == "pruned":
            return Known(settings, steps=dict(trial.intermediate_values), pruned=True)
        return Known(settings, trial.value if status == "finished" else math.inf)

    def _retry(self, retry: Callable[[str], bool]) -> None:
        """Add each trial once more whose last try is to be made again; any sweep may take it over."""
        for number, trial in self.results().items():
            if trial.state.is_finished() and retry(trial.user_attrs[STATUS]):
                self._add(self.settings_of(trial), "", **{RETRY: number})

    @staticmethod
    def _is_dead(place: Path) -> bool:
        """Return whether the sweep of a place has ended; the place is then removed."""
        if is_locked(place):
            return False
        shutil.rmtree(place, ignore_errors=True)
        return True
