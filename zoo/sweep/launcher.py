"""Launchers start jobs: here as processes of this machine; :mod:`zoo.sweep.slurm` on a cluster."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, runtime_checkable

from zoo.config import compose_run, run_dir_override
from zoo.errors import MPS, ZooError
from zoo.processes import JOBS, child_environment
from zoo.sweep.fork_server import ForkServer

if TYPE_CHECKING:
    from zoo.sweep.mps import Service

LOG = "log.txt"
SLICE = "MIG"  # the name of a slice of a divided GPU begins with it


class Worker(Protocol):
    """A started job.

    Attributes:
        queued: whether it waits in the queue of a cluster.
        mps: whether it shares its GPU through MPS.
    """

    queued: bool
    mps: bool

    def poll(self) -> int | None:
        """Return the exit code, ``-N`` after signal ``N``; None while the job waits or runs."""

    def interrupt(self) -> None:
        """Ask the job to write a checkpoint and end."""

    def kill(self) -> None:
        """End the job and every process it started."""


class Launcher(Protocol):
    """Starts jobs.

    Attributes:
        lasting: whether its jobs go on when the sweep ends.
        parallel: default number of jobs at a time; None: the sweep's ``jobs``.
        pace: seconds between two checks of the jobs.
    """

    lasting: bool
    parallel: int | None

    @property
    def pace(self) -> float: ...

    def start(self, overrides: Sequence[str], directory: Path, threads: int) -> Worker | None:
        """Start a run, which prints to ``log.txt`` in its directory; None if there is no room yet.

        Args:
            overrides: the run's.
            directory: the run's.
            threads: threads of arithmetic for the run, which its processes on a machine share.
        """

    def attach(self, directory: Path) -> Worker | None:
        """Return the job that another sweep has started in a directory; None if there is none to follow."""


@runtime_checkable
class Batches(Launcher, Protocol):
    """A launcher that submits many jobs at once to the queue of a cluster; :meth:`attach` then finds each."""

    def submit(self, jobs: Sequence[tuple[Sequence[str], Path]], at_a_time: int) -> bool:
        """Submit runs to the queue of a cluster; return whether all are in it.

        Args:
            jobs: overrides and directory of each run.
            at_a_time: largest number of them that run at a time.
        """


class Local:
    """Starts jobs as processes of this machine, each with its own interpreter, session, log and GPUs.

    A job sees ``trainer.devices`` of the GPUs, through ``CUDA_VISIBLE_DEVICES``. A job with several GPUs has
    them to itself and waits until enough are free. Jobs with one GPU share GPUs if there are too few.

    Args:
        devices: the GPUs, as ``CUDA_VISIBLE_DEVICES`` names them; by default those that this process sees.
        jobs: number of jobs that run at a time, which their records store.
        forks: whether jobs without GPUs are forks of a process that has imported torch, which start sooner.

    Attributes:
        mps: the service through which jobs share GPUs (:mod:`zoo.sweep.mps`); None: they take turns.
    """

    lasting = False
    parallel: int | None = None
    pace = 0.2
    mps: Service | None = None

    def __init__(self, devices: Sequence[str] | None = None, jobs: int = 1, forks: bool = False) -> None:
        self.jobs, self.forks = jobs, forks
        self.devices = visible_devices() if devices is None else list(devices)
        self.running: list[tuple[Process, list[str]]] = []
        self.fork_servers: dict[int, ForkServer] = {}  # by the threads of their jobs

    def attach(self, directory: Path) -> Worker | None:
        return None  # local jobs end with their sweep, so there are none to follow

    def start(self, overrides: Sequence[str], directory: Path, threads: int) -> Worker | None:
        devices = self._assign_devices(overrides) if self.devices else []
        if devices is None:
            return None
        if threads > 1:
            threads = max(1, threads // (len(devices) or _processes(tuple(overrides))))
        if self.forks and not self.devices:
            environment = _environment(threads, jobs=self.jobs, quiet=True)
            server = self.fork_servers.get(threads)
            if server is None or not server.lives:
                server = self.fork_servers[threads] = ForkServer(environment)
            command = ["train", *_of_a_job(overrides), run_dir_override(directory)]
            return server.start(command, environment, directory / LOG)
        shared = self.mps.environment(devices, directory) if self.mps is not None and devices else {}
        with (directory / LOG).open("ab") as log:
            process = launch(overrides, directory, log, threads, devices=devices, jobs=self.jobs, more=shared)
        worker = Process(process, mps=MPS in shared)
        self.running.append((worker, devices))
        return worker

    def _assign_devices(self, overrides: Sequence[str]) -> list[str] | None:
        """Return the GPUs for a job (an empty list if it needs none), or None while they are not free.

        Raises:
            ZooError: the job needs several GPUs, and there are only slices, of which a process gets one.
        """
        count = requested_devices(tuple(overrides))
        if count == 0:
            return []
        whole = [d for d in self.devices if not d.startswith(SLICE)]
        if not whole and count > 1:
            raise ZooError(
                f"trainer.devices={count} needs whole GPUs, and all here are divided into slices (MIG), of "
                "which a job gets one; set trainer.devices=1, or disable MIG."
            )
        most = len(whole) or 1  # a job with several GPUs gets no slices
        if not 0 < count <= most:  # if these are too few, the run ends with an error
            count = most
        self.running = [(worker, devices) for worker, devices in self.running if worker.poll() is None]
        users = {d: [len(devices) for _, devices in self.running if d in devices] for d in self.devices}
        if count == 1:
            free = [d for d in self.devices if all(size == 1 for size in users[d])]
        else:
            free = [d for d in whole if not users[d]]
        return sorted(free, key=lambda d: len(users[d]))[:count] if len(free) >= count else None


@cache  # called many times for a waiting job
def requested_devices(overrides: tuple[str, ...]) -> int:
    """Return the number of GPUs that a run requests; -1 for all (``auto``, or a list of them)."""
    trainer = compose_run(overrides).trainer
    if trainer.accelerator == "cpu":
        return 0
    try:
        return int(trainer.devices)
    except (TypeError, ValueError):
        return -1


@cache
def _processes(overrides: tuple[str, ...]) -> int:
    """Return the number of processes of a run without GPUs on this machine; 1 if Lightning chooses it."""
    devices = str(compose_run(overrides).trainer.devices)
    return max(1, int(devices)) if devices.isdecimal() else 1


def has_several_processes(overrides: tuple[str, ...]) -> bool:
    """Return whether a run may have more than one process (``auto`` and a list of devices may)."""
    trainer = compose_run(overrides).trainer
    return str(trainer.devices) != "1" or str(trainer.get("num_nodes", 1)) != "1"


def visible_devices() -> list[str]:
    """Return the NVIDIA GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them.

    A divided GPU (MIG) is replaced by its slices. torch is not imported.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        names = [name.strip() for name in chosen.split(",")]
        ends = [i for i, name in enumerate(names) if name in ("", "-1")]  # CUDA stops reading here
        return names[: ends[0]] if ends else names
    if shutil.which("nvidia-smi"):
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            return _named(answer.stdout)
    return [str(i) for i in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]


def _named(listing: str) -> list[str]:
    """Return the devices that ``nvidia-smi -L`` lists: by number, or by UUID if a GPU is divided.

    >>> _named("GPU 0: A (UUID: GPU-x)\\n  MIG 1g.5gb Device 0: (UUID: MIG-y)\\nGPU 1: A (UUID: GPU-z)")
    ['MIG-y', 'GPU-z']
    """
    gpus: list[tuple[str, list[str]]] = []  # UUID of each GPU and of its slices
    for line in listing.splitlines():
        uuid = line.rpartition("UUID: ")[2].rstrip(") ")
        if line.startswith("GPU "):
            gpus.append((uuid, []))
        elif line.strip().startswith(SLICE) and gpus:
            gpus[-1][1].append(uuid)
    if not any(slices for _, slices in gpus):
        return [str(i) for i in range(len(gpus))]
    return [name for uuid, slices in gpus for name in slices or [uuid]]


class Process:
    """A job that is a local process, the leader of the process group of its ranks."""

    queued = False

    def __init__(self, process: subprocess.Popen[bytes], mps: bool = False) -> None:
        self.process, self.mps = process, mps

    def poll(self) -> int | None:
        return self.process.poll()

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGTERM)  # the run writes a checkpoint first

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
    more: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start one run in a new process.

    Args:
        overrides: the overrides of the run; its launcher is ignored.
        directory: the run's directory.
        log: the file for its output, which then shows no progress; None: the output of this process.
        threads: threads of arithmetic.
        rank: whether the new process is the rank that this process was started as, with its variables.
        devices: the GPUs that it sees; if empty, those that this process sees.
        jobs: number of jobs that run on this machine at a time, if it is known.
        more: variables of its environment, which win over the others.
    """
    environment = _environment(threads, rank, devices, jobs, quiet=log is not None) | dict(more or {})
    return subprocess.Popen(
        [sys.executable, "-m", "zoo", "train", *_of_a_job(overrides), run_dir_override(directory)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT if log else None,
        start_new_session=log is not None,  # Ctrl-C reaches only the sweep, which ends its jobs
    )


def append_to_log(directory: Path, sentence: str) -> None:
    """Append a sentence to a run's log, whose last line the sweep prints as the reason of an end."""
    with (directory / LOG).open("a", encoding="utf-8") as log:
        log.write(f"zoo: {sentence}\n")


def _of_a_job(overrides: Sequence[str]) -> list[str]:
    """Return the overrides of a run without those of its launcher."""
    return [o for o in overrides if not o.startswith(("launcher=", "hydra.launcher."))]


def _environment(
    threads: int | None,
    rank: bool = False,
    devices: Sequence[str] = (),
    jobs: int | None = None,
    quiet: bool = False,
) -> dict[str, str]:
    """Return the environment of a job; see :func:`launch`. A ``quiet`` one shows no progress."""
    environment = child_environment(rank)
    if threads:
        environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    if jobs:
        environment[JOBS] = str(jobs)
    if devices:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
    if quiet:
        environment["ZOO_QUIET"] = "1"  # the sweep shows progress, from progress.json
    return environment
