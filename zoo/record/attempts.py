"""The attempts at a run: where and when each began, how far it came and why it ended.

A run that its environment cuts off is resumed by the same command. A run that is cut off at the same place
each time would be resumed without end. So a run that is cut off :data:`LIMIT` times without a new checkpoint
counts as failed, and its record gives these attempts as the reason.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from zoo.record.files import ATTEMPTS, CHECKPOINTS, LAST, PROGRESS, RANK_ERROR, write_atomic

LIMIT = 3  # attempts without a new checkpoint after which a run counts as failed
CUT_OFF, INTERRUPTED, KILLED, FAILED = "cut off", "interrupted", "killed", "failed"
_NO_REASON = "it was killed, or its machine was lost"
_ASKED = "a signal asked it to end"


@dataclass(frozen=True)
class RankError:
    """The error that has ended a rank other than the first.

    Attributes:
        end: how the run ends because of it: ``diverged``, ``failed``, ``cut off`` or ``refused``.
        reason: the error, in a sentence.
    """

    end: str
    reason: str

    def leave(self, directory: Path) -> None:
        """Write this error to the run's directory, where the first rank looks for it.

        Do nothing if there is no directory, or if the disk is full.
        """
        if directory.is_dir():
            with contextlib.suppress(OSError):  # the disk is full, or the directory is gone
                write_atomic(directory / RANK_ERROR, json.dumps(asdict(self)) + "\n")

    @classmethod
    def left_in(cls, directory: Path) -> RankError | None:
        """Return the error that a rank has left in the run's directory; None if there is none."""
        try:
            return cls(**json.loads((directory / RANK_ERROR).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


@dataclass
class Attempt:
    """One process, or group of processes, that worked on a run.

    Attributes:
        host: name of the first rank's machine.
        started_at: time in UTC, ISO 8601.
        slurm_job: number of its job in Slurm's queue; None outside Slurm.
        checkpoint: time stamp (ns) of the checkpoint that it resumed from; None without one.
        ended_at: time in UTC, ISO 8601; None while it runs.
        end: ``cut off`` by its environment, ``interrupted`` by a person or a signal, ``killed`` before it
            could write why, ``refused`` because of an error of another rank, or the status of the run's
            record; None while it runs.
        reason: why it ended, in a sentence.
        updates: number of updates reached.
    """

    host: str
    started_at: str
    slurm_job: str | None = None
    checkpoint: int | None = None
    ended_at: str | None = None
    end: str | None = None
    reason: str | None = None
    updates: int | None = None

    def __str__(self) -> str:
        """Return start, machine, last update and reason of the end as one phrase."""
        how_far = "" if self.updates is None else f" at update {self.updates}"
        reason = (self.reason or self.end or "").rstrip(".")
        return f"{self.started_at[:16].replace('T', ' ')} on {self.host}{how_far}: {reason}"


class Attempts:
    """The attempts at the run in a directory, as ``attempts.json`` stores them.

    The caller holds the lock of the directory. A damaged file counts as empty.

    Args:
        directory: the run's.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.attempts = _read(directory / ATTEMPTS)
        self._before: bytes | None = None
        self._lock = threading.RLock()  # a signal is noted by another thread

    def begin(self, anew: bool = False) -> None:
        """Add an attempt that begins now.

        Args:
            anew: whether the run is made anew; its earlier attempts are then removed.
        """
        self.close()
        file = self.directory / ATTEMPTS
        self._before = file.read_bytes() if file.exists() else None
        (self.directory / RANK_ERROR).unlink(missing_ok=True)
        if anew:
            self.attempts = []
        self.attempts.append(
            Attempt(socket.gethostname(), _now(), os.environ.get("SLURM_JOB_ID"), _checkpoint(self.directory))
        )
        self.write()

    def withdraw(self) -> None:
        """Leave out the attempt that has begun, since the run is refused."""
        (self.directory / RANK_ERROR).unlink(missing_ok=True)
        if self._before is None:
            (self.directory / ATTEMPTS).unlink(missing_ok=True)
        else:
            write_atomic(self.directory / ATTEMPTS, self._before)

    def close(self, end: str = KILLED, reason: str = _NO_REASON) -> bool:
        """Enter the end of the last attempt if it has none, because its process was killed.

        If another rank has left an error, that error has ended the first rank, and is entered in place of
        ``end`` and ``reason``.

        Args:
            end: how it ended, see :class:`Attempt`.
            reason: why, in a sentence.

        Returns:
            Whether the attempt had no end yet.
        """
        with self._lock:
            if not self.is_open:
                return False
            error = self.rank_error()
            if error is not None:
                end, reason = error.end, error.reason
            elif self.attempts[-1].end is not None:
                return False
            self.end(end, reason, self.reached())
        return True

    def note_signal(self) -> None:
        """Enter that the attempt was asked to end, in case it is killed before it can end by itself."""
        with self._lock:
            if self.attempts and self.attempts[-1].end is None:
                self.end(INTERRUPTED, _ASKED, self.reached())

    @property
    def is_open(self) -> bool:
        """Whether the last attempt has no end, or only a note that a signal asked it to end."""
        if not self.attempts:
            return False
        return self.attempts[-1].end is None or self.was_asked_to_end

    @property
    def was_asked_to_end(self) -> bool:
        """Whether all that is known of the last attempt's end is that a signal asked for it."""
        return bool(self.attempts) and (self.attempts[-1].end, self.attempts[-1].reason) == (
            INTERRUPTED,
            _ASKED,
        )

    def rank_error(self) -> RankError | None:
        """Return the error by which another rank has ended the open attempt; None if none has left one."""
        return RankError.left_in(self.directory) if self.is_open else None

    def reached(self) -> int | None:
        """Return the number of updates that the run has reported; None before the first report."""
        return _progress(self.directory)

    def end(self, end: str, reason: str | None, updates: int | None) -> None:
        """Enter how, why and at which update the last attempt has ended. On a full disk the file stays."""
        with self._lock:
            last = self.attempts[-1]
            last.end, last.reason, last.updates, last.ended_at = end, reason, updates, _now()
            with contextlib.suppress(OSError):
                self.write()

    def give_up(self) -> str | None:
        """Return why the run counts as failed; None if it does not.

        It does after :data:`LIMIT` attempts that were cut off without a new checkpoint. The last attempt is
        then entered as failed, so that the next command starts to count anew.
        """
        vain = self.in_vain()
        if len(vain) < LIMIT:
            return None
        history = "; ".join(map(str, vain[-LIMIT:]))
        last = self.attempts[-1]
        self.end(FAILED, last.reason, last.updates)
        return f"This run was cut off {len(vain)} times without a new checkpoint: {history}."

    def in_vain(self) -> list[Attempt]:
        """Return the last attempts in a row that were cut off or killed and left no new checkpoint.

        Attempts that a person or a signal has interrupted are left out: that is no fault of the run.
        """
        now, vain = _checkpoint(self.directory), list[Attempt]()
        for attempt in reversed(self.attempts):
            if attempt.end in (INTERRUPTED, None):
                continue
            if attempt.end not in (CUT_OFF, KILLED) or attempt.checkpoint != now:
                break
            vain.append(attempt)
        return vain[::-1]

    def write(self) -> None:
        """Write the file, whole or not at all."""
        content = json.dumps([asdict(attempt) for attempt in self.attempts], indent=1)
        write_atomic(self.directory / ATTEMPTS, content + "\n")


def _read(file: Path) -> list[Attempt]:
    """Return the attempts in a file; none if it does not exist or is damaged."""
    names = {field.name for field in fields(Attempt)}
    try:
        content: Sequence[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        return [Attempt(**{k: v for k, v in entry.items() if k in names}) for entry in content]
    except (OSError, ValueError, TypeError, AttributeError):
        return []


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _checkpoint(directory: Path) -> int | None:
    """Return the time stamp (ns) of the last checkpoint; None without one."""
    try:
        return (directory / CHECKPOINTS / LAST).stat().st_mtime_ns
    except OSError:
        return None


def _progress(directory: Path) -> int | None:
    """Return the number of updates in ``progress.json``; None without the file."""
    try:
        return int(json.loads((directory / PROGRESS).read_text(encoding="utf-8"))["updates"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
