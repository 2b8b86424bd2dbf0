"""Who starts jobs, and how: as processes of this machine. :mod:`zoo.sweep.slurm` does it on a cluster."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import IO, Protocol

from zoo.config import compose_run, run_dir_override
from zoo.processes import JOBS, child_environment

LOG = "log.txt"


class Worker(Protocol):
    """A job that was started.

    Attributes:
        queued: whether it still waits for its turn elsewhere.
    """

    queued: bool

    def poll(self) -> int | None:
        """Its exit code, -N where signal N ended it; None while it is at work."""

    def interrupt(self) -> None:
        """Ask it to end and keep what it has."""

    def kill(self) -> None:
        """End it with everything that it started."""


class Launcher(Protocol):
    """Starts jobs.

    Attributes:
        lasting: whether its jobs go on when the sweep ends.
        parallel: jobs at a time where nobody asks for a number; None: what the sweep's file says.
        pace: seconds between two looks at its jobs.
    """

    lasting: bool
    parallel: int | None
    pace: float

    def start(self, overrides: Sequence[str], directory: Path, threads: int) -> Worker | None:
        """Start a run in a directory; what it prints goes to ``log.txt`` there. None: not yet, ask again."""

    def attach(self, directory: Path) -> Worker | None:
        """The job that another sweep has started in a directory, where this one can follow it."""


class Local:
    """Processes of this machine, each with an interpreter, a session, a log and GPUs of its own.

    A job sees ``trainer.devices`` of the GPUs, through ``CUDA_VISIBLE_DEVICES``. A job of several has them to
    itself and waits until so many are free; jobs of one share them where there are more jobs than GPUs.

    Args:
        devices: the GPUs, as ``CUDA_VISIBLE_DEVICES`` names them; those that this process sees by default.
        jobs: how many share this machine at a time, which their records tell.
    """

    lasting = False
    parallel: int | None = None
    pace = 0.2

    def __init__(self, devices: Sequence[str] | None = None, jobs: int = 1) -> None:
        self.jobs = jobs
        self.devices = visible_devices() if devices is None else list(devices)
        self.at_work: list[tuple[Process, list[str]]] = []

    def attach(self, directory: Path) -> Worker | None:
        return None  # they end with the sweep that started them

    def start(self, overrides: Sequence[str], directory: Path, threads: int) -> Worker | None:
        devices = self._share(overrides) if self.devices else []
        if devices is None:
            return None
        with (directory / LOG).open("ab") as log:
            worker = Process(launch(overrides, directory, log, threads, devices=devices, jobs=self.jobs))
        self.at_work.append((worker, devices))
        return worker

    def _share(self, overrides: Sequence[str]) -> list[str] | None:
        """The GPUs of a job, none for one that asks for none; None while they are not free."""
        count = _devices_asked(tuple(overrides))
        if count == 0:
            return []
        if not 0 < count <= len(self.devices):  # where it is too many, the run says so
            count = len(self.devices)
        self.at_work = [(worker, devices) for worker, devices in self.at_work if worker.poll() is None]
        users = {d: [len(devices) for _, devices in self.at_work if d in devices] for d in self.devices}
        if count == 1:
            free = [d for d in self.devices if all(size == 1 for size in users[d])]
        else:
            free = [d for d in self.devices if not users[d]]
        return sorted(free, key=lambda d: len(users[d]))[:count] if len(free) >= count else None


@cache  # a job that waits is asked about again and again
def _devices_asked(overrides: tuple[str, ...]) -> int:
    """How many GPUs a run asks for; -1 for all there are (auto, or a list of them)."""
    trainer = compose_run(overrides).trainer
    if trainer.accelerator == "cpu":
        return 0
    try:
        return int(trainer.devices)
    except (TypeError, ValueError):
        return -1


def visible_devices() -> list[str]:
    """NVIDIA's GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them; without torch."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        names = [name.strip() for name in chosen.split(",")]
        ends = [i for i, name in enumerate(names) if name in ("", "-1")]  # CUDA reads no further
        return names[: ends[0]] if ends else names
    if shutil.which("nvidia-smi"):
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            return [str(i) for i in range(sum(x.startswith("GPU ") for x in answer.stdout.splitlines()))]
    return [str(i) for i in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]


class Process:
    """A worker that is a local process, and the leader of its ranks' process group."""

    queued = False

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def poll(self) -> int | None:
        return self.process.poll()

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGTERM)  # which makes a checkpoint first

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def launch(
    overrides: Sequence[str],
    directory: Path,
    log: IO[bytes] | None = None,
    threads: int | None = None,
    rank: bool = False,
    devices: Sequence[str] = (),
    jobs: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start one run in a fresh process; it never shares an interpreter, a device or a process group.

    Args:
        overrides: of the run; who launches it is left out.
        directory: the run's.
        log: where its output goes, which then brings no progress; None: to this process's own.
        threads: of its arithmetic.
        rank: whether it is the rank of a run that this process was started as.
        devices: the GPUs that it sees; without any, those that this process sees.
        jobs: how many are at work on this machine at a time, where that is known.
    """
    overrides = [o for o in overrides if not o.startswith(("launcher=", "hydra.launcher."))]
    environment = child_environment(rank)
    if threads:
        environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    if jobs:
        environment[JOBS] = str(jobs)
    if devices:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
    if log is not None:
        environment["ZOO_QUIET"] = "1"  # the sweep shows progress, from progress.json
    return subprocess.Popen(
        [sys.executable, "-m", "zoo", "train", *overrides, run_dir_override(directory)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT if log else None,
        start_new_session=log is not None,  # Ctrl-C reaches the sweep alone, which then asks its jobs to end
    )
