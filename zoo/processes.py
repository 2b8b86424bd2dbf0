"""Processes: their ranks and parents, the signals that stop them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PARENT = "ZOO_PARENT"  # environment variable: id of the process that started this one
JOBS = "ZOO_JOBS"  # environment variable: number of jobs of a sweep that run on this machine at a time
PATIENCE = 20.0  # seconds that a process has to end by itself before it is killed

# Variables that a launcher sets for its ranks. A new job must not inherit them.
RANK_VARIABLES = {
    *("LOCAL_RANK", "RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID", "PL_GLOBAL_SEED", "PL_SEED_WORKERS"),
    *("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE"),
}
_command: list[str] = []
# Signals that ask a process to end: SIGTERM, and SIGUSR2, which Slurm sends before a job's time is over.
ENDING = (signal.SIGTERM, signal.SIGUSR2)


def is_first_rank() -> bool:
    """Return whether this process is rank 0, the one that writes files.

    It reads the environment, so it works before a process group exists.
    """
    if "RANK" in os.environ:  # torchrun
        return int(os.environ["RANK"]) == 0
    places = ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return all(int(os.environ.get(name, "0")) == 0 for name in places)


def usable_cores(groups: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """Return the number of cores that this process may use, at least 1.

    Affinity limits them (``taskset``, a cpuset, Slurm), and so does the quota of each control group around
    the process (containers).

    Args:
        groups: where the control groups are mounted.
        membership: file that names the process's groups.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    try:
        named = [line.split(":", 2) for line in membership.read_text(encoding="utf-8").splitlines()]
    except OSError:
        named = []
    for _, controllers, name in named:
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = groups / controllers if controllers else groups  # version 1 has a tree for each controller
        place = top / name.lstrip("/")
        for group in (place, *place.parents):
            cores = min(cores, _quota(group))
            if group == top:
                break
    return max(1, cores)


def _quota(group: Path) -> int:
    """Return the cores that a control group may use, rounded up; a large number without a limit."""
    try:
        if (group / "cpu.max").exists():
            limit, period = (group / "cpu.max").read_text(encoding="utf-8").split()
        else:
            limit = (group / "cpu.cfs_quota_us").read_text(encoding="utf-8").strip()
            period = (group / "cpu.cfs_period_us").read_text(encoding="utf-8").strip()
        return -(-int(limit) // int(period)) if int(limit) > 0 else 2**30
    except (OSError, ValueError):  # no such limit; "max" is none
        return 2**30


def remember_command(arguments: Sequence[str]) -> None:
    """Keep the arguments of zoo with which the other processes of this job are started."""
    _command[:] = [sys.executable, "-m", "zoo", *arguments]


def this_command() -> list[str]:
    """Return the command that starts another process like this one, which may be a fork or a script."""
    return list(_command) or [sys.executable, *sys.orig_argv[1:]]


def child_environment(rank: bool = False) -> dict[str, str]:
    """Return the environment for a child process.

    Args:
        rank: whether the child is a rank of the same job and inherits the variables of its rank.
    """
    inherited = {k: v for k, v in os.environ.items() if rank or k not in RANK_VARIABLES}
    return inherited | {PARENT: str(os.getpid())}


def stop_on_signals() -> None:
    """Handle SIGTERM and SIGUSR2 like Ctrl-C: save a checkpoint, end the children, exit."""
    if threading.current_thread() is threading.main_thread():
        for signum in ENDING:
            signal.signal(signum, _interrupt)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def noticing_signals(notice: Callable[[], None]) -> Iterator[None]:
    """Call a function in a thread when this process is asked to end during the block.

    A handler of Python's own runs between two operations of the main thread, which may wait for another rank
    in an operation that does not end. Handlers are called as well; a signal without one is not noticed. Does
    nothing in another thread than the main one.

    Args:
        notice: the function; it may be called several times.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def read() -> None:
        while 0 not in (received := os.read(reader, 64)):
            if {signal.SIGINT, *ENDING} & set(received):
                notice()

    thread = threading.Thread(target=read, daemon=True, name="notice-signals")
    earlier = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(earlier)
        os.write(writer, bytes(1))  # not by closing it: a forked child may have it open
        thread.join()
        os.close(writer)
        os.close(reader)


def _forget_pipe() -> None:
    """Leave the signals of a forked child to the child: its parent reads the pipe."""
    with contextlib.suppress(ValueError):  # in another thread than the main one
        signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_forget_pipe)


def exit_with_parent(every: float = 0.5) -> None:
    """Watch the process that started this one, and exit when it disappears, even after SIGKILL.

    So no job outlives its sweep and no rank outlives its job. A process that was started by a person or by
    a cluster has no parent to watch.

    Args:
        every: seconds between two checks.
    """
    starter = os.environ.pop(PARENT, None)
    os.environ[PARENT] = str(os.getpid())  # for the ranks that this process will start
    if starter is None and "TORCHELASTIC_RUN_ID" in os.environ:
        starter = str(os.getppid())  # torchrun's agent
    if starter is None or int(starter) == os.getpid():  # set by an earlier command in this process
        return
    parent = int(starter)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(PATIENCE)  # it may hang in a collective operation that no other rank joins
        os._exit(130)

    threading.Thread(target=watch, daemon=True, name="exit-with-parent").start()
