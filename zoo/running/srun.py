"""Ends the ranks that srun has started if the first rank ends before they have a process group with it.

The first rank alone may give a run up, or refuse it. torchrun then ends the others, and a run that starts its
own ranks has not started them at that point. But srun may leave the others waiting for the first rank until
the job's time limit.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import tell
from zoo.ranks import world_size
from zoo.record import FIRST_ENDED, write_atomic

LOOK = 5.0  # a rank checks every so many seconds whether the first one has ended


def this_start() -> str | None:
    """Return a name that only this start of several ranks by srun has; None without srun.

    It includes Slurm's count of restarts, since a job that is put back into the queue keeps its number.
    """
    if "SLURM_STEP_ID" not in os.environ or int(os.environ.get("SLURM_NTASKS") or 1) == 1:
        return None
    names = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
    return ".".join(os.environ.get(name, "0") for name in names)


def say_that_the_first_has_ended(directory: Path) -> None:
    """Write a file in the run's directory that tells the other ranks of this start that the first has ended.

    If the file cannot be written, as on a full disk, the others wait for the job's time limit.
    """
    if (start := this_start()) is not None and directory.is_dir():
        with contextlib.suppress(OSError):
            write_atomic(directory / FIRST_ENDED, start)


def _last_ended(directory: Path) -> str | None:
    """Return the last start whose first rank has ended; None if there is none."""
    try:
        return (directory / FIRST_ENDED).read_text(encoding="utf-8")
    except OSError:
        return None


@contextmanager
def ending_with_the_first(directory: Path) -> Iterator[None]:
    """Within the block, end this process as soon as a file says that the first rank has ended.

    For the ranks other than the first, until the ranks have joined in a process group: from then on a lost
    rank is noticed by its connection. The exit code is 0, since the exit code of the first rank says how the
    run has ended.

    Args:
        directory: the run's directory.
    """
    start, over = this_start(), threading.Event()

    def watch() -> None:
        while not over.wait(LOOK) and world_size() == 1:
            if not directory.is_dir() or _last_ended(directory) == start:  # no directory: refused
                tell("the first process of this run has ended; its message says why.")
                os._exit(0)

    if start is not None:
        threading.Thread(target=watch, daemon=True, name="watch-first-rank").start()
    try:
        yield
    finally:
        over.set()
