"""One job of a sweep: its state, its progress, and how it ended."""

from __future__ import annotations

import json
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.config import Identity
from zoo.errors import REFUSED, SHARED_FAULT, STOPPED, ZooError, cut_off, is_shared_fault
from zoo.locks import is_locked
from zoo.record import (
    PROGRESS,
    RECORD,
    STATUSES,
    Attempts,
    Provenance,
    RankError,
    Record,
    Status,
    clear,
    read,
)
from zoo.record.attempts import INTERRUPTED, KILLED
from zoo.sweep.launcher import LOG, Launcher, Worker, has_several_processes

REFUSED_STATE = "refused"
# Signals by which the operating system ends a process that has made a fault. The same run would crash again.
CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE}
# Words in the log of a rank that NCCL's watchdog has ended by SIGABRT because another rank was lost.
_WATCHDOG = ("ProcessGroupNCCL", "Watchdog", "DistBackendError")


@dataclass
class Job:
    """One run of a sweep.

    Attributes:
        overrides: the overrides of ``zoo train``.
        worker: its process or Slurm job while it runs.
        state: ``waiting``, ``starting``, ``queued``, a phase of the run, ``elsewhere`` (another process is at
            work in its directory), ``cut off``, ``refused`` (a mistake that showed before its first update;
            it has no record), or the status of its record.
        reason: why it did not finish.
        started: time of the start, on the monotonic clock; 0 before.
        seconds: since the start.
        finished_at: when the run of its record ended, in UTC, ISO 8601.
        retried_record: time stamp (ns) of a failed record that is to be made again, if there is one.
        created: whether this process made the run's directory.
        progress: the latest content of the run's ``progress.json``.
        expected: seconds that the sweep's file expects it to take; None if it says nothing.
    """

    overrides: list[str]
    identity: Identity
    directory: Path
    worker: Worker | None = None
    state: str = "waiting"
    reason: str = ""
    started: float = 0.0
    seconds: float = 0.0
    finished_at: str | None = None
    retried_record: int | None = None
    created: bool = False
    progress: dict[str, Any] = field(default_factory=dict)
    expected: float | None = None

    @property
    def ended(self) -> bool:
        """Whether the run needs no more work from this sweep."""
        return self.state in STATUSES or self.state == REFUSED_STATE

    @property
    def is_trial(self) -> bool:
        """Whether it is a trial of a search that may prune it."""
        return any(override.startswith("search.trial=") for override in self.overrides)

    @property
    def is_running(self) -> bool:
        """Whether this sweep or another process is at work on the run."""
        return self.worker is not None or self.state == "elsewhere"

    @property
    def training_left(self) -> float | None:
        """Seconds until training ends, at its pace so far; None before it begins."""
        left = self.progress.get("seconds_left")
        return None if left is None else float(left)

    def record(self) -> Record | None:
        """Return the run's record; None if it does not exist, is damaged or is to be made again."""
        try:
            if self.retried_record == (self.directory / RECORD).stat().st_mtime_ns:
                return None
            return read(self.directory)
        except (OSError, ZooError):
            return None

    def adopt_record(self, retry_failed: bool = False) -> bool:
        """Take state and reason from the record, if there is one; return whether there is one.

        Args:
            retry_failed: ignore the record of a failed run from now on.
        """
        record = self.record()
        if record is None or (record.status == "pruned" and not self.is_trial):
            return False  # outside of the search that has pruned it, a run goes on
        if record.status == "failed" and retry_failed:
            self.retried_record = (self.directory / RECORD).stat().st_mtime_ns
            return False
        self.state, self.reason = record.status, record.reason or ""
        self.finished_at = record.provenance.finished_at
        return True

    def forget(self) -> None:
        """Remove the results and checkpoints of the run, unless a process is at work on it."""
        if not is_locked(self.directory):
            clear(self.directory)

    def start(self, launcher: Launcher, threads: int) -> bool:
        """Start the job; return False if the launcher has no room for it yet."""
        self.prepare()
        return self.follow(launcher.start(self.overrides, self.directory, threads))

    def prepare(self) -> None:
        """Make the run's directory, and remove the progress of an earlier attempt from it."""
        self.created = self.created or not self.directory.exists()
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / PROGRESS).unlink(missing_ok=True)

    def follow(self, worker: Worker | None) -> bool:
        """Watch a worker from now on; return whether there is one."""
        self.worker = worker
        if worker is not None:
            self.state, self.started = "starting", time.monotonic()
        return worker is not None

    def refresh(self) -> None:
        """Update state, progress and seconds from the run's files."""
        if self.started:
            self.seconds = time.monotonic() - self.started
        if self.worker is not None and self.worker.queued:
            self.state = "queued"
        try:
            self.progress = json.loads((self.directory / PROGRESS).read_text(encoding="utf-8"))
            if self.worker is not None:
                self.state = "queued" if self.worker.queued else self.progress["phase"]
        except (OSError, ValueError, KeyError):
            pass

    def end(self, code: int) -> None:
        """Set the state of a job whose process has ended.

        A job that was stopped from outside is ``cut off`` and has no record. If that has happened too often
        without a new checkpoint (:mod:`zoo.record.attempts`), it has failed. A refused job leaves no files. A
        job that has crashed before it wrote a record has failed. If the error of another rank has ended the
        first rank, the job ends by that error. This method writes the record of a failed job that has none.

        Args:
            code: the exit code, ``-N`` after signal ``N``.
        """
        mps = self.worker is not None and self.worker.mps
        self.worker = None
        if self.adopt_record():
            return
        if code != REFUSED and (error := self._rank_error()) is not None:
            self._end_by(error)
            return
        last = _last_line(self.directory / LOG)
        faulty = self._shared_fault() if mps and code == -signal.SIGABRT else ""
        if (code < 0 and -code not in CRASHES) or code in STOPPED or faulty or self._was_aborted(code):
            what = f"killed by {signal.Signals(-code).name}" if code < 0 else last or "stopped"
            self._stop(f"{SHARED_FAULT}: {faulty}" if faulty else what)
            return
        if code == REFUSED:
            self._refuse(last or "a mistake in its settings")
            return
        crash = f"The process crashed with {signal.Signals(-code).name}" if code < 0 else ""
        self._fail(": ".join(filter(None, (crash, last))) or f"exit code {code}")

    def _end_by(self, error: RankError) -> None:
        """Set the state of a job whose first rank was ended by the error of another rank."""
        status = next((status for status in STATUSES if status == error.end), None)
        if status is not None:
            self._enter_end(KILLED, error.reason)
            self._fail(error.reason, status)
        elif error.end == REFUSED_STATE:
            self._enter_end(KILLED, error.reason)
            self._refuse(error.reason)
        else:
            self._stop(error.reason)

    def _stop(self, what: str) -> None:
        """Set the state of a job that was stopped from outside: ``cut off``, or ``failed`` if too often."""
        given_up = self._enter_end(KILLED, what)
        if given_up is None:
            self.state, self.reason = "cut off", f"{what.rstrip('.')}; the same command resumes it"
        else:
            self._fail(given_up)

    def _refuse(self, reason: str) -> None:
        """Set the state of a job that was refused, and remove its directory if the job has made it."""
        self.state, self.reason = REFUSED_STATE, reason
        if self.created and not is_locked(self.directory):
            shutil.rmtree(self.directory, ignore_errors=True)

    def interrupted(self) -> None:
        """Enter in the run's attempts that its sweep has ended the job, which is no fault of the run."""
        self._enter_end(INTERRUPTED, "its sweep was ended")

    def _rank_error(self) -> RankError | None:
        """Return the error by which another rank has ended the run.

        Returns None if no rank has left one, or if another process is at work on the run.
        """
        return None if is_locked(self.directory) else Attempts(self.directory).rank_error()

    def _was_aborted(self, code: int) -> bool:
        """Return whether a rank was ended by SIGABRT because another was lost, as NCCL's watchdog does.

        A run of several processes counts as such even if its log does not say so.
        """
        if code != -signal.SIGABRT:
            return False
        logged = any(word in line for line in _last_lines(self.directory / LOG, 100) for word in _WATCHDOG)
        return logged or has_several_processes(tuple(self.overrides))

    def _shared_fault(self) -> str:
        """Return the line of the log with an error of CUDA, which may be another job's; empty without one.

        A thread of CUDA's libraries that meets a fault ends the process by SIGABRT.
        """
        lines = _last_lines(self.directory / LOG, 100)
        return next((line.strip() for line in lines if is_shared_fault(line, mps=True)), "")

    def _enter_end(self, end: str, reason: str) -> str | None:
        """Enter the end of an attempt whose process was killed, and return why the run now counts as failed.

        If another rank has left an error, it is entered in place of ``end`` and ``reason``. Returns None if
        the run does not count as failed, or if another process is at work on it.
        """
        if is_locked(self.directory):
            return None
        attempts = Attempts(self.directory)
        return attempts.give_up() if attempts.close(end, reason) else None

    def _fail(self, reason: str, status: Status = "failed") -> None:
        """Set the state to a status, and write the record of the run, since its process could not."""
        self.state, self.reason = status, reason
        if is_locked(self.directory):
            return  # another process works in the directory and will write the record
        identity = self.identity
        record = Record(
            identity.run_id, identity.model, "unknown", identity.data, identity.seed, status, self.reason,
            provenance=Provenance(config=identity.config, **identity.hashes),
        )  # fmt: skip
        try:
            record.write(self.directory)
        except OSError as error:
            self.cut_off(error)

    def cut_off(self, error: OSError) -> None:
        """Set the state of a job that the machine has no room for."""
        self.state, self.reason = "cut off", cut_off(error) or str(error)


def _last_line(log: Path) -> str:
    """Return the last line of a log that is not empty, without the ``zoo:`` of an error message."""
    lines = _last_lines(log, 1)
    return lines[-1].removeprefix("zoo: ") if lines else ""


def _last_lines(log: Path, count: int) -> list[str]:
    """Return the last lines of a log that are not empty."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:]
