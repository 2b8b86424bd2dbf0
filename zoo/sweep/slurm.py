"""Slurm as a sweep's launcher: jobs are submitted through submitit, found again by name, followed by squeue.

Nothing has to survive here. Slurm's queue itself says which jobs of a sweep wait or are at work, under names
that their directories have; submitit leaves a job's exit code beside the run. So a sweep that was killed
finds its jobs again, and two sweeps do not submit the same one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pickle
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from zoo.errors import CUT_OFF, STOPPED, ZooError
from zoo.processes import ENDING, is_first_rank
from zoo.sweep.launcher import LOG, launch

FOLDER = ".submitit"  # in a run's directory
GRACE = 30.0  # seconds that a shared file system may take to show what a job wrote last
SILENCE = 600.0  # seconds without an answer of Slurm's after which a sweep ends; its jobs go on
_UNREACHED = ("unable to contact slurm", "socket timed out", "connection refused", "zero bytes were")
# States that a job does not come back from; whatever else squeue says, it waits or is at work.
OVER = {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"}
OVER |= {"BOOT_FAIL", "DEADLINE", "REVOKED"}


class Slurm:
    """Submits jobs and follows them.

    Args:
        overrides: of any job of the sweep.
        every: seconds between two looks into the queue.

    Raises:
        ZooError: without submitit, or on a machine that cannot submit.
    """

    lasting = True

    def __init__(self, overrides: Sequence[str], every: float = 5.0) -> None:
        if shutil.which("sbatch") is None or shutil.which("squeue") is None:
            raise ZooError(
                "launcher=slurm needs sbatch and squeue; start the sweep on a login node of a cluster."
            )
        self.parallel: int | None = int(settings(overrides)["array_parallelism"])
        self.pace = min(1.0, every)
        self.queue = Queue(every)

    def start(self, overrides: Sequence[str], directory: Path, threads: int) -> Submitted | None:
        """Submit a run, unless that was done meanwhile; its threads are its own ``cpus_per_task``.

        Returns:
            None while Slurm does not answer: the job waits.

        Raises:
            ZooError: Slurm refuses the job, or has not answered for :data:`SILENCE`.
        """
        import submitit
        from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf

        if not self.queue.fresh():
            self._bear_with()
            return None
        folder = directory / FOLDER
        with (directory / f"{FOLDER}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another sweep may be about to submit it
            self.queue.look()
            if self.queue.ids is None:
                self._bear_with()
                return None
            if (found := self.attach(directory)) is not None:
                return found
            shutil.rmtree(folder, ignore_errors=True)  # of jobs that are over
            given = settings(overrides) | {"name": _name(directory)}
            requeues, cpus = int(given.pop("max_num_timeout")), given["cpus_per_task"]
            del given["submitit_folder"], given["_target_"]
            executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=requeues)
            try:
                executor.update_parameters(
                    **{k if hasattr(BaseQueueConf, k) else f"slurm_{k}": v for k, v in given.items()}
                )
                job = executor.submit(Train(list(overrides), directory, cpus, requeues))
            except (submitit.core.utils.FailedJobError, subprocess.CalledProcessError) as error:
                if any(text in str(error).lower() for text in _UNREACHED):
                    self.queue.silent()
                    self._bear_with()
                    return None
                raise ZooError(f"Slurm refuses a job: {_last(str(error))}") from None
        return Submitted(self.queue, directory, str(job.job_id))

    def _bear_with(self) -> None:
        """Go on without an answer, but not for ever."""
        if time.monotonic() - self.queue.answered > SILENCE:
            raise ZooError(
                f"Slurm has not answered for {SILENCE / 60:.0f} minutes; what is in its queue goes on, and "
                "the same command submits the rest once squeue works again."
            )

    def attach(self, directory: Path) -> Submitted | None:
        number = (self.queue.ids or {}).get(_name(directory)) if self.queue.fresh() else None
        return None if number is None else Submitted(self.queue, directory, number)


class Queue:
    """What Slurm says of this user's jobs, in one question for all of them.

    Attributes:
        states: of each job by its number; those that ended some minutes ago are not among them any more.
        ids: number of the job that waits or is at work by its name; None while Slurm does not answer.
        looks: how many answers there were.
        answered: when the last one came, or when the first was asked for; on the monotonic clock.
    """

    def __init__(self, every: float) -> None:
        self.every, self.pause, self.asked, self.looks = every, every, -1e9, 0
        self.answered = time.monotonic()
        self.states: dict[str, str] = {}
        self.ids: dict[str, str] | None = None

    def fresh(self) -> bool:
        """Ask again where the last answer is old, ever more rarely while none comes; whether there is one."""
        if time.monotonic() - self.asked > self.pause:
            self.look()
        return self.ids is not None

    def look(self) -> None:
        """Ask."""
        command = ["squeue", "--me", "--noheader", "--states=all", "--format=%A|%T|%j"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        self.asked = time.monotonic()
        if answer.returncode:
            self.silent()
            return
        rows = [line.split("|", 2) for line in answer.stdout.splitlines()]
        self.states = {number: state for number, state, _ in rows}
        self.ids = {name: number for number, state, name in rows if state not in OVER}
        self.looks += 1
        self.pause, self.answered = self.every, self.asked

    def silent(self) -> None:
        """No answer: the controller is busy or starts anew, and its jobs go on. Leave it alone for longer."""
        self.ids, self.pause = None, min(2 * self.pause, 60.0)


class Submitted:
    """A worker in Slurm's queue. It is not this process's to end: ``scancel`` does that."""

    queued = True

    def __init__(self, queue: Queue, directory: Path, number: str) -> None:
        self.queue, self.directory, self.number = queue, directory, number
        self.looks = queue.looks
        self.over_since: float | None = None

    def poll(self) -> int | None:
        """Its exit code; that of a run that was cut off where Slurm ended it and does not start it again."""
        if not self.queue.fresh() or self.looks == self.queue.looks:
            return None
        self.looks = self.queue.looks
        code = self._result()
        if code is not None:
            return code
        state = self.queue.states.get(self.number, "gone")
        self.queued = state in ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD")
        if state not in OVER and state != "gone":
            self.over_since = None
            return None
        if self.over_since is None:
            self.over_since = time.monotonic()
        if state not in ("CANCELLED", "TIMEOUT") and time.monotonic() - self.over_since < GRACE:
            return None
        _note(self.directory, f"Slurm's job {self.number} has ended ({state}) before its run did.")
        return CUT_OFF

    def _result(self) -> int | None:
        """What submitit has kept of the first rank."""
        with contextlib.suppress(OSError):  # makes a shared file system look again
            (self.directory / FOLDER).chmod((self.directory / FOLDER).stat().st_mode)
        try:
            outcome, value = pickle.loads(
                (self.directory / FOLDER / f"{self.number}_0_result.pkl").read_bytes()
            )
        except (OSError, EOFError):
            return None
        if outcome == "success":
            return int(value)
        _note(self.directory, f"Slurm's job {self.number} could not start its run: {_last(value)}")
        return CUT_OFF

    def interrupt(self) -> None:
        """Left to Slurm."""

    def kill(self) -> None:
        """Left to Slurm."""


@dataclass(frozen=True)
class Train:
    """What Slurm starts in each task of a job: a rank of a run, in a process of its own.

    When the job's time is almost over, or it is pre-empted, the run makes a checkpoint and ends, and the job
    goes back into the queue.

    Args:
        overrides: of the run.
        directory: the run's, which all nodes see.
        threads: of the arithmetic.
        requeues: how often the job may start again.
    """

    overrides: list[str]
    directory: Path
    threads: int | None
    requeues: int

    def __call__(self) -> int:
        """Train; returns the exit code. Of a job that will start again nothing returns."""
        process: subprocess.Popen[bytes] | None = None
        asked: list[int] = []

        def end(signum: int, frame: FrameType | None) -> None:
            asked.append(signum)
            if process is not None and process.poll() is None:
                process.terminate()

        for signum in ENDING:  # in place of submitit's, which would not wait for the checkpoint
            signal.signal(signum, end)
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / LOG).open("ab") as log:
            process = launch(self.overrides, self.directory, log, self.threads or 1, rank=True)
        if asked:
            process.terminate()
        code = process.wait()
        if not asked or (code >= 0 and code not in STOPPED):
            return code
        if not is_first_rank():
            os._exit(0)  # with another code KillOnBadExit ends the first rank before it has requeued the job
        if not self._requeue():
            return code
        os._exit(CUT_OFF)  # without a result: the job starts again, or Slurm knows why it does not

    def _requeue(self) -> bool:
        """Put the job back into the queue, unless Slurm has seen to it; returns whether that could be."""
        number, restarts = os.environ["SLURM_JOB_ID"], int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        ask = ["squeue", "--noheader", f"--jobs={number}", "--format=%T"]
        state = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()
        if state != "RUNNING":
            return True  # it was cancelled, or is on its way into the queue
        if restarts >= self.requeues:
            _note(self.directory, f"Slurm's job {number} was asked to end, after {restarts} restarts.")
            return False
        answer = subprocess.run(["scontrol", "requeue", number], capture_output=True, text=True, check=False)
        if answer.returncode:
            _note(self.directory, f"Slurm's job {number} does not start again: {_last(answer.stderr)}")
        return answer.returncode == 0


def without_accounting() -> None:
    """Let submitit learn its jobs' states from squeue, since many a cluster has no accounting to ask."""
    from submitit.slurm.slurm import SlurmInfoWatcher, SlurmJob

    class Watcher(SlurmInfoWatcher):
        def _make_command(self) -> list[str] | None:
            command = ["squeue", "--me", "--array", "--noheader", "--states=all", "--format=%i|%T"]
            return command if self._registered - self._finished else None

        def read_info(self, string: bytes | str) -> dict[str, dict[str, str]]:
            text = string if isinstance(string, str) else string.decode()
            rows = [line.partition("|") for line in text.splitlines()]
            return {number: {"JobID": number, "State": state} for number, _, state in rows}

    SlurmJob.watcher = Watcher(delay_s=30)


def inside() -> bool:
    """Whether submitit runs this process for a job of Slurm's."""
    return os.environ.get("SUBMITIT_EXECUTOR") == "slurm"


def is_meant(overrides: Sequence[str]) -> bool:
    """Whether the launcher of a run is Slurm, by this or another name."""
    return str(settings(overrides)["_target_"]).endswith(".SlurmLauncher")


def settings(overrides: Sequence[str]) -> dict[str, Any]:
    """``hydra.launcher`` of a run."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from zoo.config import compose_run

    config = compose_run(overrides)
    try:
        found = OmegaConf.to_container(config.hydra.launcher, resolve=True)
    except OmegaConfBaseException:
        raise ZooError(
            f"Slurm starts one task for each device; trainer.devices={config.trainer.devices} and "
            f"trainer.num_nodes={config.trainer.num_nodes} must be numbers."
        ) from None
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def _name(directory: Path) -> str:
    """A job's name in the queue: the run's, and which of its directories."""
    place = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:8]
    return f"{directory.name}@{place}"


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it does not say why."


def _note(directory: Path, sentence: str) -> None:
    """A last line in the run's log, where the sweep and a person look."""
    with (directory / LOG).open("a") as log:
        log.write(f"zoo: {sentence}\n")
