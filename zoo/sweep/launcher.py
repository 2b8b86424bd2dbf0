"""Who starts jobs: a process of this machine. Another launcher offers the same ``start``."""

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
    """A job that was started."""

    def poll(self) -> int | None:
        """Its exit code, -N where signal N ended it; None while it is at work."""

    def interrupt(self) -> None:
        """Ask it to end and keep what it has."""

    def kill(self) -> None:
        """End it with everything that it started."""


class Launcher(Protocol):
    """Starts jobs."""

    def start(self, overrides: Sequence[str], directory: Path, threads: int) -> Worker:
        """Start a run in a directory; what it prints goes to ``log.txt`` there."""


class Local:
    """Processes of this machine, each with an interpreter, a session and a log of its own."""

    def start(self, overrides: Sequence[str], directory: Path, threads: int) -> Worker:
        with (directory / LOG).open("ab") as log:
            return Process(launch(overrides, directory, log, threads))


class Process:
    """A worker that is a local process, and the leader of its ranks' process group."""

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
    overrides: Sequence[str], directory: Path, log: IO[bytes] | None = None, threads: int | None = None
) -> subprocess.Popen[bytes]:
    """Start one run in a fresh process; it never shares an interpreter, a device or a process group.

    Args:
        overrides: of the run.
        directory: the run's.
        log: where its output goes, which then brings no progress; None: to this process's own.
        threads: of its arithmetic.
    """
    environment = child_environment()
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
