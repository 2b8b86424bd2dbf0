"""The journal of a hyper-parameter search: a file with its trials and what they report.

The format is that of Optuna's journal storage, one line of JSON for each operation. A sweep adds the trials
and records how they ended; the process that trains a trial reports its validation losses and asks whether to
go on. All of them append to the file, in turns, under zoo's own lock (:mod:`zoo.locks`), which also works
between machines and which a killed process releases at once.

Optuna is an optional dependency, so it is imported only when a search needs it.
"""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from zoo.errors import ZooError, unknown
from zoo.locks import exclusive

JOURNAL = "journal.jsonl"
PRUNER = "pruner"  # attribute of the study: name and settings of its pruner
NO_PRUNER = "none"
PRUNERS = {  # Optuna's class by zoo's name
    NO_PRUNER: "NopPruner",
    "median": "MedianPruner",
    "percentile": "PercentilePruner",
    "successive_halving": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
    "threshold": "ThresholdPruner",
}
# Errors that Optuna raises when it reads a damaged line.
_DAMAGE = (ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError)


def import_optuna() -> Any:
    """Import Optuna, silence what it logs below a warning, and return the module.

    Raises:
        ZooError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise ZooError(
            "A search needs Optuna; install it with pip install '.[search]' in the clone of zoo."
        ) from None
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


class Journal:
    """The trials of one search.

    Args:
        file: the journal.
        name: name of the search that the journal must belong to; None: any search.

    Attributes:
        study: Optuna's study.

    Raises:
        ZooError: the journal does not exist, is damaged, or belongs to another search.
    """

    def __init__(self, file: Path, name: str | None = None) -> None:
        optuna = import_optuna()
        self.file = file
        if not file.exists():
            raise ZooError(f"There is no journal of a search at {file}; start the search with zoo sweep.")
        _check_last_line(file)
        with self._explained():
            self.lock = _Lock(file)
            self.storage = _storage(file, self.lock)
            names = [study.study_name for study in self.storage.get_all_studies()]
        if not names:
            raise _damaged(file, "it has no search")
        if name is not None and names != [name]:
            raise ZooError(
                f"{file} is the journal of another search; move it away, or give the sweep a directory of "
                "its own (--out)."
            )
        with self._explained():
            self.study = optuna.load_study(study_name=names[0], storage=self.storage)
            self.id = self.storage.get_study_id_from_name(names[0])
            self.study.pruner = make_pruner(self.study.user_attrs.get(PRUNER) or {"name": NO_PRUNER})

    @classmethod
    def open(cls, file: Path, name: str, pruner: Mapping[str, Any]) -> Journal:
        """Open the journal of a search, and create it if there is none.

        The caller must make sure that no other process creates it at the same time.

        Args:
            file: the journal.
            name: name of the search.
            pruner: name and settings of the pruner.

        Raises:
            ZooError: a setting of the pruner is wrong, or the journal is damaged or of another search.
        """
        make_pruner(pruner)
        if not is_begun(file):
            optuna = import_optuna()
            optuna.create_study(storage=_storage(file, _Lock(file)), study_name=name, direction="minimize")
        journal = cls(file, name)
        if PRUNER not in journal.study.user_attrs:  # new, or its sweep was killed before this line
            journal.study.set_user_attr(PRUNER, dict(pruner))
            journal.study.pruner = make_pruner(pruner)
        return journal

    def trials(self) -> list[Any]:
        """Return all trials as Optuna's ``FrozenTrial``, in the order of their numbers."""
        with self._explained():
            return list(self.storage.get_all_trials(self.id, deepcopy=False))

    def add(
        self, params: Mapping[str, Any], distributions: Mapping[str, Any], attributes: Mapping[str, Any]
    ) -> int:
        """Add a running trial and return its number.

        The caller must make sure that no other process adds a trial at the same time.

        Args:
            params: the values of the trial's hyper-parameters, by name.
            distributions: Optuna's distribution of each hyper-parameter.
            attributes: other facts to store with the trial.
        """
        trial = import_optuna().trial
        number = len(self.trials())
        with self._explained():
            self.study.add_trial(
                trial.create_trial(
                    state=trial.TrialState.RUNNING,
                    params=dict(params),
                    distributions=dict(distributions),
                    user_attrs=dict(attributes),
                )
            )
        return number

    def mark(self, number: int, **attributes: Any) -> None:
        """Set attributes of a running trial."""
        with self._explained():
            for key, value in attributes.items():
                self.storage.set_trial_user_attr(self._trial_id(number), key, value)

    def tell(self, number: int, status: str, value: float | None) -> None:
        """Record how a trial ended. If that is recorded already, do nothing.

        Args:
            number: number of the trial.
            status: status in the trial's record, or ``refused``.
            value: value of the objective, if the trial finished.
        """
        if self.trials()[number].state.is_finished():
            return
        states = import_optuna().trial.TrialState
        state = {"finished": states.COMPLETE, "pruned": states.PRUNED}.get(status, states.FAIL)
        with self.lock:  # once for both
            self.mark(number, status=status)
            with self._explained():
                self.study.tell(number, value, state=state, skip_if_finished=True)

    def report(self, number: int, step: int, value: float) -> bool:
        """Report the value of a trial at a step; return whether the trial should be pruned.

        The first value of a step counts, later ones are ignored. A trial that has ended is not pruned.
        """
        with self._explained():
            trial = self.storage.get_trial(self._trial_id(number))
            if trial.state.is_finished():
                return False
            if step not in trial.intermediate_values:
                self.storage.set_trial_intermediate_value(self._trial_id(number), step, value)
                trial = self.storage.get_trial(self._trial_id(number))
            return bool(self.study.pruner.prune(self.study, trial))

    def _trial_id(self, number: int) -> int:
        return int(self.storage.get_trial_id_from_study_id_trial_number(self.id, number))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Within the block, turn the errors that Optuna raises for a damaged line into a ZooError."""
        try:
            yield
        except _DAMAGE as error:
            raise _damaged(self.file, f"{type(error).__name__}: {error}") from error


def make_pruner(settings: Mapping[str, Any]) -> Any:
    """Return an Optuna pruner.

    Args:
        settings: the pruner's ``name``, a key of :data:`PRUNERS`, and the arguments of Optuna's class.

    Raises:
        ZooError: a setting does not exist or has a wrong value.
    """
    name, arguments = settings["name"], {key: v for key, v in settings.items() if key != "name"}
    kind = getattr(import_optuna().pruners, PRUNERS[name])
    known = inspect.signature(kind).parameters
    for key in arguments:
        if key not in known:
            raise (
                unknown(f"setting of the pruner {name}", key, known)
                if known
                else ZooError(f"search.pruner none has no settings; leave {key} out.")
            )
    try:
        if name == "hyperband":  # it would check these arguments only when it first prunes
            shared = {k: v for k, v in arguments.items() if k in ("min_resource", "reduction_factor")}
            import_optuna().pruners.SuccessiveHalvingPruner(**shared)
        return kind(**arguments)
    except (ValueError, TypeError) as error:
        raise ZooError(
            f"The pruner {name} cannot be set up ({' '.join(str(error).split()).rstrip('.')}); change "
            "search.pruner."
        ) from error


def is_begun(file: Path) -> bool:
    """Return whether the journal exists and holds a search, which its first complete line creates."""
    return file.exists() and b"\n" in file.read_bytes()


def _storage(file: Path, lock: _Lock) -> Any:
    """Return Optuna's journal storage in a file, which takes the lock for each operation that writes."""
    storages = import_optuna().storages
    return storages.JournalStorage(storages.journal.JournalFileBackend(str(file), lock_obj=lock))


class _Lock:
    """A journal's lock, with the methods that Optuna calls. Taking it removes an incomplete last line.

    In a ``with`` block it is held for all operations of the block. One thread uses it.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.held: AbstractContextManager[None] | None = None
        self.depth = 0

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()

    def acquire(self) -> bool:
        if self.held is not None:
            self.depth += 1
            return True
        held = exclusive(self.file.with_name(f".{self.file.name}.lock"))
        held.__enter__()
        self.held = held
        _drop_half_line(self.file)
        return True

    def release(self) -> None:
        if self.depth:
            self.depth -= 1
            return
        held, self.held = self.held, None
        assert held is not None
        held.__exit__(None, None, None)


def _drop_half_line(file: Path) -> None:
    """Remove an incomplete last line, which a killed process or a full disk has left."""
    with file.open("r+b") as stream:
        end = stream.seek(0, 2)
        start = end
        while start:
            start = max(0, start - 4096)
            stream.seek(start)
            part = stream.read(min(4096, end - start))
            if b"\n" in part:
                start += part.rindex(b"\n") + 1
                break
        if start < end:
            stream.truncate(start)


def _check_last_line(file: Path) -> None:
    """Raise a ZooError if the last complete line is not JSON; Optuna itself accepts such a last line."""
    *lines, _ = file.read_bytes().split(b"\n")
    try:
        json.loads(lines[-1] if lines else b"{}")
    except ValueError as error:
        raise _damaged(file, str(error)) from None


def _damaged(file: Path, why: str) -> ZooError:
    return ZooError(
        f"The journal {file} is damaged ({why}); restore a copy, or move its folder away and search anew, "
        "which reuses the records of runs that have ended."
    )
