"""NVIDIA's multi-process service (MPS): jobs that share a GPU run on it at the same time, not in turns.

A control daemon, ``nvidia-cuda-mps-control``, starts a server through which all the jobs use the GPUs. A
process is a client of the daemon whose directory ``CUDA_MPS_PIPE_DIRECTORY`` names. The price is that a fatal
fault ends all clients on a GPU, and CUDA does not say whose it was. So a job that ended with an error of CUDA
is cut off, and its next attempt uses the GPU without the service, where only its own faults end it.

No share of a GPU's threads is set (``CUDA_MPS_ACTIVE_THREAD_PERCENTAGE``): a limit would leave idle what the
other jobs do not use while they start, validate or judge. A value of the user's reaches the jobs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import MPS, SHARED_FAULT, ZooError, tell
from zoo.locks import LOCK, is_locked, lock
from zoo.processes import ENDING, PATIENCE
from zoo.record import Attempts
from zoo.record.attempts import INTERRUPTED
from zoo.sweep.launcher import SLICE, Launcher, Local, requested_devices

PROGRAM = "nvidia-cuda-mps-control"
PIPES, LOGS, DEVICES = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY", "CUDA_VISIBLE_DEVICES"
DEFAULT = "/tmp/nvidia-mps"  # a daemon's directory where the variable does not name another
PREFIX = "zoo-mps-"  # of the directory of a sweep's own daemon
LONGEST = 60  # characters of a directory of sockets, whose paths may have 107
START = 5.0  # seconds within which a daemon that has been started answers


@dataclass(frozen=True)
class Service:
    """A control daemon that answers.

    Attributes:
        pipes: its directory.
        devices: the GPUs that it was started with, in this order; empty for a daemon that ran before.
    """

    pipes: Path
    devices: tuple[str, ...] = ()

    def environment(self, devices: Sequence[str], directory: Path) -> dict[str, str]:
        """Return the variables that make a job a client; none for one that a fault on its GPU has ended.

        A daemon counts GPUs by their places in the list that it was started with; UUIDs it keeps.

        Args:
            devices: the job's GPU, as the sweep names it.
            directory: the run's.
        """
        # A daemon that ran before: where its GPUs are in exclusive mode, they cannot be used without it.
        if not self.devices:
            return {PIPES: str(self.pipes), MPS: "1"}
        if _met_a_fault(directory):
            return {}
        places = [str(self.devices.index(d)) if d.isdecimal() else d for d in devices]
        return {PIPES: str(self.pipes), MPS: "1", DEVICES: ",".join(places)}


def _met_a_fault(directory: Path) -> bool:
    """Return whether a fault on its GPU has ended the last attempt at a run, interruptions left out."""
    ended = [attempt for attempt in Attempts(directory).attempts if attempt.end != INTERRUPTED]
    return bool(ended) and (ended[-1].reason or "").startswith(SHARED_FAULT)


@contextmanager
def shared_gpus(launcher: Launcher, jobs: Iterable[Sequence[str]]) -> Iterator[str]:
    """Run MPS for a sweep's jobs during the block, and yield a sentence on it.

    A daemon that runs already is used and left alone. Otherwise one is started, and ended after the block,
    however that ends.

    Args:
        launcher: the sweep's, whose jobs become clients.
        jobs: the overrides of each job.

    Raises:
        ZooError: the jobs do not share GPUs of this machine, or the service is missing or does not start.
    """
    local = check_sharing(launcher, jobs)
    running = Path(os.environ.get(PIPES) or DEFAULT)
    try:
        if _answers(running):
            local.mps = Service(running)
            yield f"MPS: jobs use the daemon that runs already ({running}), which stays."
            return
        _end_forsaken()
        with _own_daemon(local.devices) as local.mps:
            yield f"MPS: {local.jobs} jobs at a time share {len(local.devices)} GPUs."
    finally:
        local.mps = None


def check_sharing(launcher: Launcher, jobs: Iterable[Sequence[str]]) -> Local:
    """Return the launcher if its jobs can share GPUs.

    Raises:
        ZooError: they cannot.
    """
    if not isinstance(launcher, Local):
        raise ZooError(
            "--mps is for jobs that share a GPU of this machine, and those of Slurm run on others; leave it "
            "out."
        )
    if shutil.which(PROGRAM) is None:
        raise ZooError(f"--mps needs {PROGRAM}, a part of NVIDIA's driver; install it, or leave --mps out.")
    if not launcher.devices:
        raise ZooError("--mps shares GPUs, and there is none here; leave it out.")
    if any(device.startswith(SLICE) for device in launcher.devices):
        raise ZooError(
            "--mps shares whole GPUs, and here is one that is divided into slices (MIG), which jobs share "
            "without it; leave it out, or choose whole GPUs with CUDA_VISIBLE_DEVICES."
        )
    counts = {requested_devices(tuple(overrides)) for overrides in jobs}
    if counts - {0, 1}:
        raise ZooError(
            "--mps is for jobs of one GPU each, and a job with several has them to itself; set "
            "trainer.devices=1, or leave it out."
        )
    if counts == {0}:
        raise ZooError("--mps shares GPUs, and all jobs of this sweep run on the CPU; leave it out.")
    return launcher


@contextmanager
def _own_daemon(devices: Sequence[str]) -> Iterator[Service]:
    """Start a daemon for GPUs, in a directory that only this user can read, and end it after the block."""
    temporary = tempfile.gettempdir()
    place = temporary if len(temporary) < LONGEST else "/tmp"
    home = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))  # of mode 0700
    pipes, logs = home / "pipe", home / "log"
    try:
        with lock(home):
            for folder in (pipes, logs):
                folder.mkdir(mode=0o700)
            try:
                _start(pipes, logs, devices)
                yield Service(pipes, tuple(devices))
            finally:
                _end(home)
    finally:
        if not _answers(pipes):
            shutil.rmtree(home, ignore_errors=True)


def _start(pipes: Path, logs: Path, devices: Sequence[str]) -> None:
    """Start a daemon and wait until it answers.

    Raises:
        ZooError: it does not.
    """
    environment = os.environ | {PIPES: str(pipes), LOGS: str(logs), DEVICES: ",".join(devices)}
    said = logs / "start.log"  # not a pipe, which a daemon could keep open
    with said.open("wb") as output:
        started = subprocess.run(
            [PROGRAM, "-d"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C ends the sweep, and the sweep ends the daemon
            check=False,
        )
    deadline = time.monotonic() + START
    while started.returncode == 0 and time.monotonic() < deadline:
        if _answers(pipes):
            return
        time.sleep(0.1)
    reason = " ".join(said.read_text(errors="replace").split()) or f"exit code {started.returncode}"
    raise ZooError(f"The daemon of MPS did not start ({reason.rstrip('.')}); leave --mps out.")


def _ask(pipes: Path, question: str) -> bool:
    """Send a daemon a command; return whether it has answered in time."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        answer = subprocess.run(
            [PROGRAM],
            input=f"{question}\n".encode(),
            env=os.environ | {PIPES: str(pipes)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            timeout=PATIENCE,
            check=False,
        )
        return answer.returncode == 0
    return False


def _answers(pipes: Path) -> bool:
    """Return whether a daemon works in a directory."""
    return pipes.is_dir() and _ask(pipes, "get_default_active_thread_percentage")


def _end(home: Path) -> None:
    """End the daemon of a sweep. Signals take effect afterwards: a second Ctrl-C must not leave it behind."""
    pipes = home / "pipe"
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*ENDING, signal.SIGINT})
    try:
        if not _ask(pipes, "quit") and _answers(pipes):
            tell(f"The daemon of MPS did not end; end it by: echo quit | {PIPES}={pipes} {PROGRAM}")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_forsaken() -> None:
    """End the daemons of this user's sweeps that were killed, and remove their directories."""
    for place in {tempfile.gettempdir(), "/tmp"}:
        for home in Path(place).glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                mine = home.stat().st_uid == os.getuid() and (home / LOCK).exists()
                if mine and not is_locked(home):
                    _end(home)
                    shutil.rmtree(home, ignore_errors=True)
