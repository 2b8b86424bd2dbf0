"""How a run ends: exceptions become a status, and the record is written."""

from __future__ import annotations

import contextlib
import datetime
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

from zoo.errors import CUT_OFF, LOST, REFUSED, CutOff, Diverged, Interrupted, Unsound, ZooError, cut_off
from zoo.processes import is_first_rank
from zoo.record import ERRORS, Attempts, Record, Status, write_atomic
from zoo.record.attempts import CUT_OFF as WAS_CUT_OFF
from zoo.record.attempts import INTERRUPTED
from zoo.tracking import logger as tracking

RANK_ERROR = ".rank-error"  # in a run's directory: why a rank other than the first ended
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


class Pruned(Exception):
    """The run was pruned by its search. The message says at which update."""


class GivenUp(ZooError):
    """The run was cut off so often without a new checkpoint that it counts as failed."""


@contextmanager
def recorded(
    record: Record, directory: Path, loggers: list[Any], attempts: Attempts | None = None
) -> Iterator[None]:
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

    Raises:
        KeyboardInterrupt: the run was stopped by a person, or by a signal outside of training.
        Interrupted: a signal ended training, with a checkpoint.
        CutOff: the environment ended the run: memory, disk, a lost rank.
        GivenUp: the environment ended the run too often without a new checkpoint; it is recorded as failed.
        Exception: the block's error; for an error of another rank, a ZooError.
    """
    started = time.perf_counter()
    ended = Outcome.FAILED
    try:
        if attempts is not None and (given_up := attempts.give_up()):
            raise GivenUp(given_up)
        yield
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
            record.status = STATUS[ended]
            record.cost.total_seconds = time.perf_counter() - started
            record.provenance.finished_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            record.write(directory)
            if attempts is not None:
                attempts.end(record.status, record.reason, record.cost.updates)
            tracking.finish(loggers, record, directory)


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
