"""Slurm as a sweep's launcher: jobs are submitted with submitit and followed with squeue.

Several jobs are one array: one call of sbatch for up to :data:`ARRAY` of them. The sweep keeps no list of its
jobs. Slurm's queue has those that wait or run: a single job's name contains a hash of its run's directory; an
array's is that of a folder beside the runs, where ``manifest.json`` has the directory of each task. submitit
stores a job's exit code. So a sweep that was killed finds its jobs again, two sweeps do not submit the same
job, and jobs need no sweep that follows them (``zoo sweep --submit``).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from zoo.config.overrides import split
from zoo.errors import CUT_OFF, STOPPED, ZooError
from zoo.locks import exclusive
from zoo.processes import ENDING, is_first_rank
from zoo.record.files import write_atomic
from zoo.sweep.launcher import LOG, launch

FOLDER = ".submitit"  # in a run's directory, or beside the runs of an array
MANIFEST = "manifest.json"  # names of the runs' directories, in the order of the array's tasks
ARRAY = 1000  # largest number of tasks of an array: below Slurm's default MaxArraySize
MANY = 50  # jobs in the queue from which on it is asked every RARELY seconds
RARELY = 30.0
KEPT = 7 * 86400.0  # seconds that the files of an array that has left the queue are kept
GRACE = 30.0  # seconds until a shared file system shows what a job wrote last
SILENCE = 600.0  # seconds without an answer from Slurm after which a sweep ends; its jobs go on
# Option of srun: the first rank judges alone after the others have ended. A site may let srun end it some
# seconds later; 0 is never.
WAIT = "--wait=0"
_UNREACHED = ("unable to contact slurm", "socket timed out", "connection refused", "zero bytes were")
# States that a job does not leave again. In every other state that squeue reports, it waits or runs.
OVER = {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"}
OVER |= {"BOOT_FAIL", "DEADLINE", "REVOKED"}


def check_time_limit(minutes: int, delay: int) -> None:
    """Raise :class:`ZooError` if a job would be signalled to stop, and requeued, as soon as it starts.

    Args:
        minutes: the time limit of a job.
        delay: seconds before this limit at which Slurm sends the signal.
    """
    if 60 * minutes <= delay:
        raise ZooError(
            f"hydra.launcher.timeout_min={minutes} leaves no time before the signal that comes {delay} s "
            "earlier; raise it, or lower hydra.launcher.signal_delay_s."
        )


class Slurm:
    """Submits jobs and follows them.

    Args:
        overrides: the overrides of any job of the sweep.
        every: seconds between two queries of the queue.

    Raises:
        ZooError: this machine cannot submit jobs, or their time limit is too short.
    """

    lasting = True

    @property
    def pace(self) -> float:
        """Seconds between two looks at the files of the jobs: a sixth of those between two queries."""
        return min(5.0, self.queue.pause / 6 if self.queue.pause > 1 else self.queue.pause)

    def __init__(self, overrides: Sequence[str], every: float = 5.0) -> None:
        if shutil.which("sbatch") is None or shutil.which("squeue") is None:
            raise ZooError(
                "launcher=slurm needs sbatch and squeue; start the sweep on a login node of a cluster."
            )
        settings = launcher_settings(overrides)
        check_time_limit(int(settings["timeout_min"]), int(settings["signal_delay_s"]))
        self.parallel: int | None = int(settings["array_parallelism"])
        self.queue = Queue(every)
        self.manifests: dict[Path, dict[str, str]] = {}

    def start(self, overrides: Sequence[str], directory: Path, threads: int) -> Submitted | None:
        """Submit a run, unless another sweep has; ``cpus_per_task`` takes the place of ``threads``.

        Returns:
            The submitted job; None while Slurm does not answer.

        Raises:
            ZooError: Slurm refuses the job, or has not answered for :data:`SILENCE` seconds.
        """
        if not self.queue.refresh_if_old():
            self._raise_if_silent()
            return None
        folder = directory / FOLDER
        with exclusive(directory / f"{FOLDER}.lock"):  # another sweep may be about to submit it
            self.queue.refresh()
            if self.queue.ids is None:
                self._raise_if_silent()
                return None
            if (submitted := self.attach(directory)) is not None:
                return submitted
            shutil.rmtree(folder, ignore_errors=True)  # of earlier jobs
            settings = launcher_settings(overrides) | {"name": _job_name(directory)}
            numbers = self._sbatch(settings, folder, [(overrides, directory)])
        return None if numbers is None else Submitted(self.queue, directory, numbers[0], folder)

    def submit(self, jobs: Sequence[tuple[Sequence[str], Path]], at_a_time: int) -> bool:
        """Submit runs that lie beside each other as arrays, those that are not in the queue.

        Args:
            jobs: overrides and directory of each run.
            at_a_time: largest number of an array's tasks that run at a time.

        Returns:
            Whether all are submitted; False while Slurm does not answer.

        Raises:
            ZooError: Slurm refuses an array, or has not answered for :data:`SILENCE` seconds.
        """
        place = jobs[0][1].parent / FOLDER
        place.mkdir(parents=True, exist_ok=True)
        with exclusive(place / ".lock"):  # another sweep may be about to submit them
            self.queue.refresh()
            if self.queue.ids is None:
                self._raise_if_silent()
                return False
            self._remove_old(place)
            shapes: dict[str, list[tuple[Sequence[str], Path]]] = {}
            for overrides, directory in jobs:
                if self.attach(directory) is None:
                    shapes.setdefault(self._shape(overrides), []).append((overrides, directory))
            for shape, group in shapes.items():
                for first in range(0, len(group), ARRAY):
                    part = group[first : first + ARRAY]
                    if not self._submit_array(json.loads(shape), place, part, at_a_time):
                        return False
        return True

    def _submit_array(
        self,
        settings: dict[str, Any],
        place: Path,
        jobs: Sequence[tuple[Sequence[str], Path]],
        at_a_time: int,
    ) -> bool:
        """Submit runs with the same settings as one array; return whether Slurm has answered."""
        if len(jobs) == 1:
            return self.start(*jobs[0], 1) is not None
        names = [directory.name for _, directory in jobs]
        mark = hashlib.sha256(f"{place.resolve()} {time.time_ns()} {names}".encode()).hexdigest()[:12]
        folder = place / f"{place.parent.name}-array@{mark}"
        folder.mkdir()
        write_atomic(folder / MANIFEST, json.dumps(names))
        settings |= {"name": folder.name, "array_parallelism": at_a_time}
        numbers = self._sbatch(settings, folder, jobs)
        if numbers is not None:
            self.queue.add_array(folder.name, numbers)
        return numbers is not None

    def _sbatch(
        self, settings: dict[str, Any], folder: Path, jobs: Sequence[tuple[Sequence[str], Path]]
    ) -> list[str] | None:
        """Submit one job, or several as an array; return their numbers, None if Slurm does not answer."""
        import submitit
        from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf

        requeues, cpus = int(settings.pop("max_num_timeout")), settings["cpus_per_task"]
        del settings["submitit_folder"], settings["_target_"]
        settings["srun_args"] = [WAIT, *(settings.get("srun_args") or ())]
        executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=requeues)
        try:
            executor.update_parameters(
                **{k if hasattr(BaseQueueConf, k) else f"slurm_{k}": v for k, v in settings.items()}
            )
            with executor.batch() if len(jobs) > 1 else contextlib.nullcontext():
                submitted = [
                    executor.submit(Task(list(overrides), directory, cpus, requeues))
                    for overrides, directory in jobs
                ]
        except (submitit.core.utils.FailedJobError, subprocess.CalledProcessError) as error:
            if any(text in str(error).lower() for text in _UNREACHED):
                self.queue.back_off()
                self._raise_if_silent()
                return None
            what = "a job" if len(jobs) == 1 else f"an array of {len(jobs)} jobs"
            raise ZooError(f"Slurm refuses {what}: {_last_line(str(error))}") from None
        return [str(job.job_id) for job in submitted]

    def attach(self, directory: Path) -> Submitted | None:
        """Return the job in Slurm's queue that trains the run in a directory, if there is one."""
        if not self.queue.refresh_if_old() or self.queue.ids is None:
            return None
        if (number := self.queue.ids.get(_job_name(directory))) is not None:
            return Submitted(self.queue, directory, number, directory / FOLDER)
        for name, numbers in self.queue.arrays.items():
            folder = directory.parent / FOLDER / name
            number = numbers.get(self._manifest(folder).get(directory.name, ""))
            if number is not None:
                return Submitted(self.queue, directory, number, folder)
        return None

    def _manifest(self, folder: Path) -> Mapping[str, str]:
        """Return the number of the task of each run of an array, by the name of its directory."""
        if folder not in self.manifests:
            try:
                names = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            except FileNotFoundError:  # an array of other runs
                names = []
            self.manifests[folder] = {name: str(index) for index, name in enumerate(names)}
        return self.manifests[folder]

    def _shape(self, overrides: Sequence[str]) -> str:
        """Return the settings of the launcher for a run as text; runs that share them can be one array."""
        return _settings_text(
            tuple(o for o in overrides if not split(o)[0].startswith(("seed", "training.", "evaluation.")))
        )

    def _remove_old(self, place: Path) -> None:
        """Remove the files of arrays that have left the queue long ago."""
        for manifest in place.glob(f"*/{MANIFEST}"):
            old = time.time() - manifest.stat().st_mtime > KEPT
            if old and manifest.parent.name not in self.queue.arrays:
                shutil.rmtree(manifest.parent, ignore_errors=True)

    def _raise_if_silent(self) -> None:
        """Raise ZooError if Slurm has not answered for :data:`SILENCE` seconds."""
        if time.monotonic() - self.queue.last_answer > SILENCE:
            raise ZooError(
                f"Slurm has not answered for {SILENCE / 60:.0f} minutes; what is in its queue goes on, and "
                "the same command submits the rest once squeue works again."
            )


class Queue:
    """This user's jobs in Slurm's queue, from one query for all of them.

    Attributes:
        states: state of each job by its number, ``ARRAY_TASK`` for a task of an array. Slurm forgets a job
            some minutes after its end.
        ids: number of each waiting or running job by its name; None while Slurm does not answer.
        arrays: those of the waiting or running tasks of each array, by its name and the task.
        answers: number of answers so far.
        last_answer: time of the last answer, at first of the queue's creation; on the monotonic clock.
        last_query: time of the last query, on the same clock.
        pause: seconds until the next query.
    """

    def __init__(self, every: float) -> None:
        self.every, self.pause, self.last_query, self.answers = every, every, -1e9, 0
        self.last_answer = time.monotonic()
        self.states: dict[str, str] = {}
        self.ids: dict[str, str] | None = None
        self.arrays: dict[str, dict[str, str]] = {}

    def refresh_if_old(self) -> bool:
        """Query Slurm if the last answer is old; return whether the queue is known."""
        if time.monotonic() - self.last_query > self.pause:
            self.refresh()
        return self.ids is not None

    def refresh(self) -> None:
        """Query Slurm now."""
        command = ["squeue", "--me", "--array", "--noheader", "--states=all", "--format=%i|%T|%j"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        self.last_query = time.monotonic()
        if answer.returncode:
            self.back_off()
            return
        rows = [line.split("|", 2) for line in answer.stdout.splitlines()]
        self.states = {number: state for number, state, _ in rows}
        self.ids, self.arrays = {}, {}
        for number, state, name in rows:
            if state not in OVER:
                self._enter(name, number)
        self.answers += 1
        many = len(self.ids) + sum(map(len, self.arrays.values())) > MANY
        self.pause, self.last_answer = max(self.every, RARELY if many else 0.0), self.last_query

    def add_array(self, name: str, numbers: Sequence[str]) -> None:
        """Add an array that was submitted after the last answer."""
        for number in numbers:
            self._enter(name, number)
            self.states[number] = "PENDING"

    def _enter(self, name: str, number: str) -> None:
        assert self.ids is not None
        _, is_task, task = number.partition("_")
        if is_task:
            self.arrays.setdefault(name, {})[task] = number
        else:
            self.ids[name] = number

    def back_off(self) -> None:
        """Forget the queue and double the pause, to a minute at most: Slurm's controller does not answer."""
        self.ids, self.pause = None, min(2 * self.pause, 60.0)


class Submitted:
    """A job in Slurm's queue. Only ``scancel`` ends it; :meth:`interrupt` and :meth:`kill` do nothing."""

    queued = True

    def __init__(self, queue: Queue, directory: Path, number: str, folder: Path) -> None:
        self.queue, self.directory, self.number, self.folder = queue, directory, number, folder
        self.answers = queue.answers
        self.over_since: float | None = None

    def poll(self) -> int | None:
        """Return the run's exit code; :data:`CUT_OFF` if Slurm ended the job for good; None before."""
        if not self.queue.refresh_if_old() or self.answers == self.queue.answers:
            return None
        self.answers = self.queue.answers
        code = self._exit_code()
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
        _log(self.directory, f"Slurm's job {self.number} has ended ({state}) before its run did.")
        return CUT_OFF

    def _exit_code(self) -> int | None:
        """Return the exit code of the first rank, which submitit has stored; None if there is none."""
        with contextlib.suppress(OSError):  # makes a shared file system refresh the folder
            self.folder.chmod(self.folder.stat().st_mode)
        try:
            outcome, value = pickle.loads((self.folder / f"{self.number}_0_result.pkl").read_bytes())
        except (OSError, EOFError):
            return None
        if outcome == "success":
            return int(value)
        _log(self.directory, f"Slurm's job {self.number} could not start its run: {_last_line(value)}")
        return CUT_OFF

    def interrupt(self) -> None:
        pass

    def kill(self) -> None:
        pass


@dataclass(frozen=True)
class Task:
    """The function that Slurm runs in each task of a job: one rank of a run, in a separate process.

    When the job's time is almost over, or the job is pre-empted, the run writes a checkpoint and ends, and
    the job goes back into the queue.

    Args:
        overrides: the overrides of the run.
        directory: the run's directory, which all nodes see.
        threads: threads of arithmetic.
        requeues: how often the job may start again.
    """

    overrides: list[str]
    directory: Path
    threads: int | None
    requeues: int

    def __call__(self) -> int:
        """Train and return the exit code. If the job will start again, exit instead of returning."""
        process: subprocess.Popen[bytes] | None = None
        received: list[int] = []

        def terminate(signum: int, frame: FrameType | None) -> None:
            received.append(signum)
            if process is not None and process.poll() is None:
                process.terminate()

        for signum in ENDING:  # in place of submitit's handler, which would not wait for the checkpoint
            signal.signal(signum, terminate)
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / LOG).open("ab") as log:
            process = launch(self.overrides, self.directory, log, self.threads or 1, rank=True)
        if received:
            process.terminate()
        code = process.wait()
        if not received or (code >= 0 and code not in STOPPED):
            return code
        if not is_first_rank():
            os._exit(0)  # another code would end the first rank (KillOnBadExit) before it requeues the job
        if not self.requeue():
            return code
        os._exit(CUT_OFF)  # no result is stored: the job starts again, or Slurm knows why it does not

    def requeue(self) -> bool:
        """Put the job back into the queue, unless Slurm does; return whether it will be in the queue."""
        number, restarts = _own_number(), int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        query = ["squeue", "--noheader", f"--jobs={number}", "--format=%T"]
        for pause in (
            0.0,
            2.0,
            4.0,
        ):  # a controller that pre-empts many jobs may not answer
            time.sleep(pause)
            answer = subprocess.run(query, capture_output=True, text=True, check=False)
            if answer.returncode == 0:
                break
        if answer.returncode == 0 and answer.stdout.strip() != "RUNNING":
            return True  # it was cancelled, or is on its way into the queue
        if restarts >= self.requeues:
            _log(self.directory, f"Slurm's job {number} was ended by a signal, after {restarts} restarts.")
            return False
        answer = subprocess.run(["scontrol", "requeue", number], capture_output=True, text=True, check=False)
        if answer.returncode:
            _log(self.directory, f"Slurm's job {number} does not start again: {_last_line(answer.stderr)}")
        return answer.returncode == 0


def prepare_multirun() -> None:
    """Make submitit ask squeue for the states of its jobs: many clusters have no accounting database.

    Hydra's launcher passes no options to srun, so :data:`WAIT` becomes a variable of the environment.
    """
    from submitit.slurm.slurm import SlurmInfoWatcher, SlurmJob

    os.environ["SLURM_WAIT"] = WAIT.partition("=")[2]

    class Watcher(SlurmInfoWatcher):
        def _make_command(self) -> list[str] | None:
            command = ["squeue", "--me", "--array", "--noheader", "--states=all", "--format=%i|%T"]
            return command if self._registered - self._finished else None

        def read_info(self, string: bytes | str) -> dict[str, dict[str, str]]:
            text = string if isinstance(string, str) else string.decode()
            rows = [line.partition("|") for line in text.splitlines()]
            return {number: {"JobID": number, "State": state} for number, _, state in rows}

    SlurmJob.watcher = Watcher(delay_s=30)


def in_slurm_job() -> bool:
    """Return whether submitit runs this process in a job of Slurm."""
    return os.environ.get("SUBMITIT_EXECUTOR") == "slurm"


def is_slurm(overrides: Sequence[str]) -> bool:
    """Return whether the launcher of a run is Slurm, whatever the name of its configuration."""
    return str(launcher_settings(overrides)["_target_"]).endswith(".SlurmLauncher")


def launcher_settings(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the settings ``hydra.launcher`` of a run.

    Raises:
        ZooError: the number of devices or nodes is not a number.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from zoo.config import compose_run

    config = compose_run(overrides)
    try:
        settings = OmegaConf.to_container(config.hydra.launcher, resolve=True)
    except OmegaConfBaseException:
        raise ZooError(
            f"Slurm starts one task for each device; trainer.devices={config.trainer.devices} and "
            f"trainer.num_nodes={config.trainer.num_nodes} must be numbers."
        ) from None
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}


@cache
def _settings_text(overrides: tuple[str, ...]) -> str:
    return json.dumps(launcher_settings(overrides), sort_keys=True)


def _own_number() -> str:
    """Return the number of this job: of its task in an array, whose own number would mean all tasks."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else os.environ["SLURM_JOB_ID"]


def _job_name(directory: Path) -> str:
    """Return a job's name in the queue: the run's id and a hash of its directory."""
    place = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:8]
    return f"{directory.name}@{place}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it does not say why."


def _log(directory: Path, sentence: str) -> None:
    """Append a sentence to the run's log, whose last line the sweep shows."""
    with (directory / LOG).open("a", encoding="utf-8") as log:
        log.write(f"zoo: {sentence}\n")
