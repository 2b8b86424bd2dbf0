"""How a run ends: exceptions become a status, and the record is written."""

from __future__ import annotations

import contextlib
import datetime
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from enum import Enum
from pathlib import Path
from typing import Any

from zoo.errors import (
    CUT_OFF,
    LOST,
    REFUSED,
    CutOff,
    Diverged,
    Interrupted,
    Unsound,
    ZooError,
    cut_off,
    tell,
)
from zoo.processes import ENDING, is_first_rank, noticing_signals
from zoo.record import ERRORS, RANK_ERROR, Attempts, Record, Status, write_atomic
from zoo.record.attempts import CUT_OFF as WAS_CUT_OFF
from zoo.record.attempts import INTERRUPTED
from zoo.tracking import logger as tracking
from zoo.training.distributed import lost_by

PATIENCE = 3.0  # seconds that the first rank waits for another rank's error in RANK_ERROR


class Outcome(Enum):
    """How a run ended.

    A run that was cut off has no record, since the same command resumes it. A run that was refused before its
    first update has none either, since nothing was trained.
    """

    FINISHED = "finished"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    FAILED = "failed"
    CUT_OFF = "cut off"
    REFUSED = "refused"


STATUS: dict[Outcome, Status] = {  # status in the record, for the outcomes that have one
    Outcome.FINISHED: "finished",
    Outcome.PRUNED: "pruned",
    Outcome.DIVERGED: "diverged",
    Outcome.FAILED: "failed",
}
# Exit codes that the loggers get for the other outcomes, which leave no record.
SUSPENDED = {Outcome.CUT_OFF: CUT_OFF, Outcome.REFUSED: REFUSED}


# Exit codes of a rank that a signal has asked to end: by Ctrl-C or SIGTERM, handled or not.
BY_SIGNAL = {130, 143, -signal.SIGINT, *(-signum for signum in ENDING)}


class Pruned(Exception):
    """The run was pruned by its search. The message says at which update."""


class GivenUp(ZooError):
    """The run was cut off so often without a new checkpoint that it counts as failed."""


class Ending:
    """Writes how a run has ended, once: from the thread that trains, or that watches the other ranks.

    Args:
        record, directory, loggers, attempts: see :func:`recorded`.
    """

    def __init__(
        self, record: Record, directory: Path, loggers: list[Any], attempts: Attempts | None
    ) -> None:
        self.record, self.directory = record, directory
        self.loggers, self.attempts = loggers, attempts
        self.started = time.perf_counter()
        self._taken = threading.Lock()  # the first thread that takes it makes the end; it is never released

    def take(self) -> None:
        """Let the calling thread make the end; if another one does, wait for the end of the process."""
        self._taken.acquire()

    def after_a_lost_rank(self, codes: Sequence[int]) -> int | None:
        """Make the end of a run whose first rank waits for one that has failed, and return its exit code.

        The run has failed if that rank has left its error, was interrupted if this process or that rank got a
        signal, and is cut off otherwise.

        Args:
            codes: exit codes of the ranks that have ended, ``-N`` after signal ``N``.

        Returns:
            The exit code; None if the first rank makes the end by itself.
        """
        if not self._taken.acquire(blocking=False):
            return None
        if self.attempts is None:  # the first rank is on another machine
            tell(f"{lost_by(codes)}.")
            return CUT_OFF
        reached, reason = self.attempts.reached(), self.attempts.rank_error()
        if reason is None and (self.attempts.was_asked_to_end or BY_SIGNAL & set(codes)):
            self.attempts.end(INTERRUPTED, "it was interrupted", reached)
            tell("interrupted; the same command goes on from where it stopped.")
            tracking.suspend(self.loggers, tracking.INTERRUPTED)
            return tracking.INTERRUPTED
        if reason is None:
            lost = f"{lost_by(codes)}."
            reason = _end(self.attempts, lost, reached)
            if reason is None:
                tell(f"{lost} The same command goes on from where it stopped.")
                tracking.suspend(self.loggers, CUT_OFF)
                return CUT_OFF
        tell(f"{reason.rstrip('.')}. The record is in {self.directory}.")
        self.record.reason = reason
        if self.record.cost.updates is None:
            self.record.cost.updates = reached
        self.write(Outcome.FAILED)
        return REFUSED

    def write(self, ended: Outcome) -> None:
        """Write the record, note the end of the attempt and close the loggers."""
        record = self.record
        record.status = STATUS[ended]
        record.cost.total_seconds = time.perf_counter() - self.started
        record.provenance.finished_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        record.write(self.directory)
        if self.attempts is not None:
            self.attempts.end(record.status, record.reason, record.cost.updates)
        tracking.finish(self.loggers, record, self.directory)


@contextmanager
def recorded(
    record: Record, directory: Path, loggers: list[Any], attempts: Attempts | None = None
) -> Iterator[Ending]:
    """Write the run's record and close the loggers when the block ends, also when an error ends it.

    A pruned run ends without an error, like a finished one.

    Only the first rank writes the record. Another rank writes its error to a file in the directory, where the
    first rank reads it; on its own, the first rank would notice only a lost connection.

    Args:
        record: the run's record. Its status, reason, total seconds and time of the end are set here, all else
            by the block.
        directory: the run's directory.
        loggers: the open loggers; the block may add some.
        attempts: the attempts at the run, in which the end of the present one is noted. None on other ranks.

    Yields:
        The end of the run, which another thread may make.

    Raises:
        KeyboardInterrupt: the run was stopped by a person, or by a signal outside of training.
        Interrupted: a signal ended training, with a checkpoint.
        CutOff: the environment ended the run: memory, disk, a lost rank.
        GivenUp: the environment ended the run too often without a new checkpoint; it is recorded as failed.
        Exception: the block's error; for an error of another rank, a ZooError.
    """
    ending = Ending(record, directory, loggers, attempts)
    ended = Outcome.FAILED
    try:
        if attempts is not None and (given_up := attempts.give_up()):
            raise GivenUp(given_up)
        try:
            with noticing_signals(attempts.note_signal) if attempts is not None else nullcontext():
                yield ending
        finally:
            ending.take()
        ended = Outcome.FINISHED
    except Pruned as end:
        ended, record.reason = Outcome.PRUNED, str(end)
    except (Diverged, Unsound) as error:  # Unsound is raised by a validation; the protocol catches its own
        ended, record.reason = Outcome.DIVERGED, str(error)
        raise
    except GivenUp as error:
        record.reason = str(error)
        raise
    except (KeyboardInterrupt, SystemExit):  # Lightning turns KeyboardInterrupt into SystemExit
        if attempts is not None and (elsewhere := attempts.rank_error()) is not None:
            record.reason = elsewhere  # its launcher ends the other ranks by a signal
            raise ZooError(elsewhere) from None
        ended = Outcome.CUT_OFF
        if attempts is not None:
            attempts.end(INTERRUPTED, "it was interrupted", record.cost.updates)
        tracking.suspend(loggers, tracking.INTERRUPTED)
        raise KeyboardInterrupt from None
    except Interrupted as end:
        ended = Outcome.CUT_OFF
        if attempts is not None:
            attempts.end(INTERRUPTED, str(end), record.cost.updates)
        tracking.suspend(loggers, tracking.INTERRUPTED)
        raise
    except Exception as error:
        if not is_first_rank():
            _write_rank_error(error, directory)
            raise
        ended, explained = _after_error(error, record, directory, attempts)
        if ended is Outcome.REFUSED and attempts is not None:
            attempts.withdraw()
        if ended in SUSPENDED:
            tracking.suspend(loggers, SUSPENDED[ended])
        if explained is error:
            raise
        raise explained from error
    finally:
        if is_first_rank() and ended in STATUS:
            ending.write(ended)


def _after_error(
    error: Exception, record: Record, directory: Path, attempts: Attempts | None
) -> tuple[Outcome, Exception]:
    """Return the outcome of a run that an error has ended, and the error to raise in its place.

    Only the first rank calls this. For a failed run it sets the record's reason and writes the traceback to
    the directory.
    """
    cause = cut_off(error)
    is_lost = cause is not None and cause.startswith(LOST)
    elsewhere = _read_rank_error(directory) if is_lost else None
    given_up = None
    if cause is not None and elsewhere is None:
        given_up = _end(attempts, cause, record.cost.updates)
        if given_up is None:
            return Outcome.CUT_OFF, CutOff(cause)
    elif isinstance(error, ZooError) and not record.cost.updates and elsewhere is None:
        return Outcome.REFUSED, error
    record.reason = given_up or elsewhere or _sentence(error)
    write_atomic(directory / ERRORS, traceback.format_exc())
    if given_up is not None:
        return Outcome.FAILED, GivenUp(given_up)
    return Outcome.FAILED, error if elsewhere is None else ZooError(elsewhere)


def _end(attempts: Attempts | None, cause: str, updates: int | None) -> str | None:
    """Note that the attempt was cut off; return why the run now counts as failed, None if it does not."""
    if attempts is None:
        return None
    attempts.end(WAS_CUT_OFF, cause, updates)
    return attempts.give_up()


def _sentence(error: Exception) -> str:
    """Return the text of an error for the ``reason`` of a record."""
    return str(error) if isinstance(error, ZooError) else f"{type(error).__name__}: {error}"


def _write_rank_error(error: Exception, directory: Path) -> None:
    """Write this rank's error to the run's directory, unless the environment has caused it."""
    if cut_off(error) is None and directory.is_dir():
        with contextlib.suppress(FileNotFoundError):  # the first rank removes the directory of a refused run
            write_atomic(directory / RANK_ERROR, _sentence(error))


def _read_rank_error(directory: Path) -> str | None:
    """Return the error that another rank has written; None if none does within :data:`PATIENCE` seconds."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if (directory / RANK_ERROR).exists():
            return (directory / RANK_ERROR).read_text(encoding="utf-8")
        time.sleep(0.1)
    return None
