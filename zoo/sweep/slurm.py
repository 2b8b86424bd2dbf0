"""Slurm as a sweep's launcher: jobs are submitted with submitit and followed with squeue.

Several jobs are submitted as one array, by one call of sbatch for up to :data:`ARRAY` of them.

A sweep stores no list of its jobs; it finds them in Slurm's queue by their names. The name of a single job
contains a hash of its run's directory. The name of an array is that of a folder beside the runs, whose
``manifest.json`` lists the run of each task. submitit stores each job's exit code in a file. So a sweep that
was killed finds its jobs again, two sweeps do not submit the same job, and jobs go on without a sweep
(``zoo sweep --submit``).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from zoo.config.overrides import split
from zoo.errors import CUT_OFF, ZooError
from zoo.locks import exclusive
from zoo.record.files import write_atomic
from zoo.sweep.launcher import append_to_log
from zoo.sweep.slurm_queue import OVER, Queue, last_line
from zoo.sweep.slurm_task import Task

FOLDER = ".submitit"  # submitit's files, in a run's directory or beside the runs of an array
MANIFEST = "manifest.json"  # names of the runs' directories, in the order of the array's tasks
ARRAY = 1000  # largest number of tasks of an array: below Slurm's default MaxArraySize
KEPT = 7 * 86400.0  # seconds after which the files of an array that has left the queue are removed
GRACE = 30.0  # seconds within which a shared file system shows the last files of a job to this machine
SILENCE = 600.0  # seconds without an answer from Slurm after which a sweep ends; its jobs go on
# Option of srun: do not end a rank because others have ended, as some sites let srun do after some seconds.
# The first rank evaluates alone, after the others have ended.
WAIT = "--wait=0"
# What sbatch prints when Slurm's controller does not answer.
_UNREACHED = ("unable to contact slurm", "socket timed out", "connection refused", "zero bytes were")


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
    """The launcher that submits jobs to Slurm and follows them in its queue.

    Args:
        overrides: the overrides of any job of the sweep.
        every: seconds between two calls of squeue.

    Raises:
        ZooError: this machine cannot submit jobs, or their time limit is too short.
    """

    lasting = True

    @property
    def pace(self) -> float:
        """Seconds between two checks of the jobs: a sixth of those between two calls of squeue, at most 5."""
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
        """Submit a run, unless it is in the queue already, and return its job.

        Args:
            overrides: the run's.
            directory: the run's.
            threads: not used; ``hydra.launcher.cpus_per_task`` sets the threads of a job.

        Returns:
            The job; None while Slurm does not answer.

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
            shutil.rmtree(folder, ignore_errors=True)  # the files of earlier jobs
            settings = launcher_settings(overrides) | {"name": _job_name(directory)}
            numbers = self._sbatch(settings, folder, [(overrides, directory)])
        return None if numbers is None else Submitted(self.queue, directory, numbers[0], folder)

    def submit(self, jobs: Sequence[tuple[Sequence[str], Path]], at_a_time: int) -> bool:
        """Submit as arrays those of the runs that are not in the queue.

        Args:
            jobs: overrides and directory of each run; the directories have one parent.
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
            raise ZooError(f"Slurm refuses {what}: {last_line(str(error))}") from None
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
        """Return the index of each run's task in an array, by the name of the run's directory."""
        if folder not in self.manifests:
            try:
                names = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            except FileNotFoundError:  # an array of other runs
                names = []
            self.manifests[folder] = {name: str(index) for index, name in enumerate(names)}
        return self.manifests[folder]

    def _shape(self, overrides: Sequence[str]) -> str:
        """Return the launcher's settings for a run as JSON; runs with equal settings can be one array."""
        return _settings_text(
            tuple(o for o in overrides if not split(o)[0].startswith(("seed", "training.", "evaluation.")))
        )

    def _remove_old(self, place: Path) -> None:
        """Remove the files of arrays that are older than :data:`KEPT` and no longer in the queue."""
        for manifest in place.glob(f"*/{MANIFEST}"):
            old = time.time() - manifest.stat().st_mtime > KEPT
            if old and manifest.parent.name not in self.queue.arrays:
                shutil.rmtree(manifest.parent, ignore_errors=True)

    def _raise_if_silent(self) -> None:
        """Raise ZooError if Slurm has not answered for :data:`SILENCE` seconds."""
        if time.monotonic() - self.queue.last_answer > SILENCE:
            raise ZooError(
                f"Slurm has not answered for {SILENCE / 60:.0f} minutes; the jobs in its queue go on, and "
                "the same command submits the rest once squeue works again."
            )


class Submitted:
    """A submitted job, which outlives the sweep: only ``scancel`` ends it, :meth:`kill` does nothing.

    Args:
        queue: Slurm's queue.
        directory: the run's.
        number: of the job; ``ARRAY_TASK`` for a task of an array.
        folder: where submitit stores the job's exit code.
    """

    queued = True
    mps = False

    def __init__(self, queue: Queue, directory: Path, number: str, folder: Path) -> None:
        self.queue, self.directory, self.number, self.folder = queue, directory, number, folder
        self.answers = queue.answers
        self.over_since: float | None = None

    def poll(self) -> int | None:
        """Return the run's exit code, :data:`CUT_OFF` if Slurm has ended the job, None before."""
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
        append_to_log(self.directory, f"Slurm's job {self.number} has ended ({state}) before its run did.")
        return CUT_OFF

    def _exit_code(self) -> int | None:
        """Return the first rank's exit code, which submitit has stored in a file; None before."""
        with contextlib.suppress(OSError):  # so that a shared file system reads the folder anew
            self.folder.chmod(self.folder.stat().st_mode)
        try:
            outcome, value = pickle.loads((self.folder / f"{self.number}_0_result.pkl").read_bytes())
        except (OSError, EOFError):
            return None
        if outcome == "success":
            return int(value)
        append_to_log(
            self.directory, f"Slurm's job {self.number} could not start its run: {last_line(value)}"
        )
        return CUT_OFF

    def interrupt(self) -> None:
        pass

    def kill(self) -> None:
        pass


def prepare_multirun() -> None:
    """Prepare submitit for the jobs of ``zoo train -m``, which Hydra's launcher submits.

    submitit then reads the states of jobs from squeue in place of sacct, since many clusters have no
    accounting database. srun gets :data:`WAIT` as a variable of the environment, since Hydra's launcher
    passes it no options.
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
    """Return the launcher's settings for a run as JSON."""
    return json.dumps(launcher_settings(overrides), sort_keys=True)


def _job_name(directory: Path) -> str:
    """Return a job's name in the queue: the run's id and a hash of its directory."""
    place = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:8]
    return f"{directory.name}@{place}"
