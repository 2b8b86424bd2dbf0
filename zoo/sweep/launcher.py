"""Who starts jobs, and how: as processes of this machine. :mod:`zoo.sweep.slurm` does it on a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol

from zoo.config import run_dir_override
from zoo.processes import child_environment

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

    def start(self, overrides: Sequence[str], directory: Path, threads: int) -> Worker:
        """Start a run in a directory; what it prints goes to ``log.txt`` there."""

    def attach(self, directory: Path) -> Worker | None:
        """The job that another sweep has started in a directory, where this one can follow it."""


class Local:
    """Processes of this machine, each with an interpreter, a session and a log of its own."""

    lasting = False
    parallel: int | None = None
    pace = 0.2

    def attach(self, directory: Path) -> Worker | None:
        return None  # they end with the sweep that started them

    def start(self, overrides: Sequence[str], directory: Path, threads: int) -> Worker:
        with (directory / LOG).open("ab") as log:
            return Process(launch(overrides, directory, log, threads))


class Process:
    """A worker that is a local process, and the leader of its ranks' process group."""

    queued = False

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def poll(self) -> int | None:
        return self.process.poll()

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

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
) -> subprocess.Popen[bytes]:
    """Start one run in a fresh process; it never shares an interpreter, a device or a process group.

    Args:
        overrides: of the run; who launches it is left out.
        directory: the run's.
        log: where its output goes, which then brings no progress; None: to this process's own.
        threads: of its arithmetic.
        rank: whether it is the rank of a run that this process was started as.
    """
    overrides = [o for o in overrides if not o.startswith(("launcher=", "hydra.launcher."))]
    environment = child_environment(rank)
    if threads:
        environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
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
