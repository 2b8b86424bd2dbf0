"""How a run ends: exceptions become a status, and the record is written."""

from __future__ import annotations

import datetime
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from zoo.record import ERRORS, Attempts, RankError, Record, Status, write_atomic
from zoo.record.attempts import CUT_OFF as WAS_CUT_OFF
from zoo.record.attempts import INTERRUPTED
from zoo.running.srun import ending_with_the_first, say_that_the_first_has_ended
from zoo.tracking import logger as tracking
from zoo.training.distributed import lost_by

PATIENCE = 3.0  # seconds that the first rank waits for the error of another rank


class Outcome(Enum):
    """How a run ended.

    A run that was cut off has no record, since the same command resumes it. A run that was refused before the
    first update of an attempt has none either, since nothing was trained.
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
# The class of the error that is raised for an outcome; for any other outcome it is ZooError.
AS_ERROR: dict[Outcome, type[ZooError]] = {Outcome.DIVERGED: Diverged, Outcome.CUT_OFF: CutOff}

# Exit codes of a rank that a signal has asked to end: by Ctrl-C or SIGTERM, handled or not.
BY_SIGNAL = {130, 143, -signal.SIGINT, *(-signum for signum in ENDING)}


class Pruned(Exception):
    """The run was pruned by its search. The message says at which update."""


class GivenUp(ZooError):
    """The run was cut off so often without a new checkpoint that it counts as failed."""


class Ending:
    """Writes how a run has ended, once, although two threads may find out.

    One is the thread that trains, the other watches the other ranks.

    Args:
        record, directory, loggers, attempts: see :func:`recorded`.

    Attributes:
        trained: whether the attempt has made an update, or all updates were already made when it began. As
            long as this is false, a mistake that the user can correct refuses the attempt, and the run stays
            as it was.
    """

    def __init__(
        self, record: Record, directory: Path, loggers: list[Any], attempts: Attempts | None
    ) -> None:
        self.record, self.directory = record, directory
        self.loggers, self.attempts = loggers, attempts
        self.trained = False
        self.started = time.perf_counter()
        self._taken = threading.Lock()  # for the thread that writes the end; never released

    def take(self) -> None:
        """Let the calling thread write the end; if another one already does, wait until the process exits."""
        self._taken.acquire()

    def after_a_lost_rank(self, codes: Sequence[int]) -> int | None:
        """Write the end of a run whose first rank waits in vain for a failed rank; return the exit code.

        If the failed rank has left its error, the run ends by this error. Otherwise the run was interrupted
        if this process or the failed rank got a signal, and cut off if not.

        Args:
            codes: exit codes of the ranks that have ended, ``-N`` after signal ``N``.

        Returns:
            The exit code; None if the thread that trains is writing the end already.
        """
        if not self._taken.acquire(blocking=False):
            return None
        if self.attempts is None:  # the first rank is on another machine
            tell(f"{lost_by(codes)}.")
            return CUT_OFF
        if self.record.cost.updates is None:
            self.record.cost.updates = self.attempts.reached()
        error = self.attempts.rank_error()
        if error is None and (self.attempts.was_asked_to_end or BY_SIGNAL & set(codes)):
            self.attempts.end(INTERRUPTED, "it was interrupted", self.record.cost.updates)
            tell("interrupted; the same command goes on from where it stopped.")
            tracking.suspend(self.loggers, tracking.INTERRUPTED)
            return tracking.INTERRUPTED
        error = error or RankError(Outcome.CUT_OFF.value, f"{lost_by(codes)}.")
        outcome, reason = self.enter(Outcome(error.end), error.reason)
        if outcome is Outcome.CUT_OFF:
            tell(f"{reason.rstrip('.')}. The same command goes on from where it stopped.")
        else:
            kept = f" The record is in {self.directory}." if outcome in STATUS else ""
            tell(f"{reason.rstrip('.')}.{kept}")
        if outcome in STATUS:
            self.write(outcome)
        return SUSPENDED.get(outcome, REFUSED)

    def enter(self, outcome: Outcome, reason: str) -> tuple[Outcome, str]:
        """Enter how the attempt ends in the attempts, the loggers and the record, without writing the record.

        Args:
            outcome: how it ends.
            reason: why, in a sentence.

        Returns:
            Outcome and reason of the run. They are those of the attempt, unless the run was cut off too often
            without a new checkpoint: then it has failed.
        """
        if outcome is Outcome.CUT_OFF and self.attempts is not None:
            self.attempts.end(WAS_CUT_OFF, reason, self.record.cost.updates)
            if (given_up := self.attempts.give_up()) is not None:
                outcome, reason = Outcome.FAILED, given_up
        if outcome is Outcome.REFUSED and self.attempts is not None:
            self.attempts.withdraw()
        if outcome in SUSPENDED:
            tracking.suspend(self.loggers, SUSPENDED[outcome])
        else:
            self.record.reason = reason
        return outcome, reason

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
            watching = ending_with_the_first(directory)
            with watching if attempts is None else noticing_signals(attempts.note_signal):
                yield ending
        finally:
            ending.take()
        ended = Outcome.FINISHED
    except Pruned as end:
        ended, record.reason = Outcome.PRUNED, str(end)
    except GivenUp as error:
        record.reason = str(error)
        raise
    except (KeyboardInterrupt, SystemExit):  # Lightning turns KeyboardInterrupt into SystemExit
        if attempts is not None and (elsewhere := attempts.rank_error()) is not None:
            # the error of another rank made the launcher stop this one by a signal
            ended, reason = ending.enter(Outcome(elsewhere.end), elsewhere.reason)
            raise AS_ERROR.get(ended, ZooError)(reason) from None
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
        own = outcome_of(error, ending.trained)
        if not is_first_rank():
            if not is_loss(*own):  # a loss has its cause in another rank, which leaves its own error
                RankError(own[0].value, own[1]).leave(directory)
            raise
        elsewhere = _wait_for_rank_error(directory) if is_loss(*own) else None
        outcome, reason = own if elsewhere is None else (Outcome(elsewhere.end), elsewhere.reason)
        ended, reason = ending.enter(outcome, reason)
        if ended is Outcome.FAILED:
            write_atomic(directory / ERRORS, traceback.format_exc())
        if ended is not outcome:
            raise GivenUp(reason) from error
        if elsewhere is None and ended is not Outcome.CUT_OFF:
            raise
        raise AS_ERROR.get(ended, ZooError)(reason) from error
    finally:
        if is_first_rank():
            if ended in STATUS:
                ending.write(ended)
            if ended is not Outcome.FINISHED:
                say_that_the_first_has_ended(directory)


def outcome_of(error: Exception, trained: bool) -> tuple[Outcome, str]:
    """Return how an error of this process ends the run, and the error in a sentence.

    Args:
        error: the error.
        trained: whether the attempt has trained, see :class:`Ending`.
    """
    if isinstance(error, Diverged | Unsound):  # here Unsound comes from training: evaluation catches it
        return Outcome.DIVERGED, str(error)
    if (cause := cut_off(error)) is not None:
        return Outcome.CUT_OFF, cause
    if isinstance(error, ZooError):
        return Outcome.FAILED if trained else Outcome.REFUSED, str(error)
    return Outcome.FAILED, f"{type(error).__name__}: {error}"


def is_loss(outcome: Outcome, reason: str) -> bool:
    """Return whether a process ended only because another one was lost, whose error says more."""
    return outcome is Outcome.CUT_OFF and reason.startswith(LOST)


def _wait_for_rank_error(directory: Path) -> RankError | None:
    """Return the error that another rank has left; None if none does within :data:`PATIENCE` seconds."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if (error := RankError.left_in(directory)) is not None:
            return error
        time.sleep(0.1)
    return None
