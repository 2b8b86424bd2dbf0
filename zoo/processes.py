"""Processes: which rank this one is, whose child it is, which directory it holds. Imports no torch."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARENT = "ZOO_PARENT"  # the process that started this one
JOBS = "ZOO_JOBS"  # how many jobs of a sweep are at work on this machine at a time
LOCK = ".lock"
PATIENCE = 20.0  # seconds that a process gets to end itself before it is killed

# Left by a launcher in the environment, these would make a job believe that it is one rank of another job.
RANK_VARIABLES = {
    *("LOCAL_RANK", "RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID", "PL_GLOBAL_SEED", "PL_SEED_WORKERS"),
    *("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE"),
}
# What asks a process to end: a person or Slurm by the first; before a job's time is over Slurm by the second.
ENDING = (signal.SIGTERM, signal.SIGUSR2)


def is_first_rank() -> bool:
    """Whether this process is the one that writes: rank 0, before a process group exists too."""
    if "RANK" in os.environ:  # torchrun
        return int(os.environ["RANK"]) == 0
    places = ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return all(int(os.environ.get(name, "0")) == 0 for name in places)


def child_environment(rank: bool = False) -> dict[str, str]:
    """The environment of a job that knows whose child it is; with this process's rank only where asked."""
    inherited = {k: v for k, v in os.environ.items() if rank or k not in RANK_VARIABLES}
    return inherited | {PARENT: str(os.getpid())}


def stop_on_signals() -> None:
    """Let SIGTERM end this process as Ctrl-C does: with what it has kept, and with its own children ended."""
    if threading.current_thread() is threading.main_thread():
        for signum in ENDING:
            signal.signal(signum, _interrupt)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def follow_parent(every: float = 0.5) -> None:
    """End this process when the one that started it is gone, however that died (kill -9 tells nobody).

    So no job outlives its sweep and no rank its job: what was not saved is made again from the last
    checkpoint by the same command. A process that a person started, or a cluster, follows nobody.
    """
    starter = os.environ.pop(PARENT, None)
    os.environ[PARENT] = str(os.getpid())  # of the processes that this one will start: its ranks
    if starter is None and "TORCHELASTIC_RUN_ID" in os.environ:
        starter = str(os.getppid())  # torchrun's agent
    if starter is None or int(starter) == os.getpid():  # the second: its own word, of a command before
        return
    parent = int(starter)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(PATIENCE)  # it may hang in a collective that nobody else joins
        os._exit(130)

    threading.Thread(target=watch, daemon=True, name="follow-parent").start()


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Hold a run's directory: a second process that trains the same run waits, then finds it done."""
    if not is_first_rank():
        yield  # a rank of the process that holds it
        return
    with (directory / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the system lets go of it when the process ends, however it ends
        yield


def is_held(directory: Path) -> bool:
    """Whether a process is at work in a run's directory."""
    try:
        with (directory / LOCK).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
