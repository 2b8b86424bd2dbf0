"""The lock of a run's directory: one process holds it at a time, on any machine and file system.

A process first takes the kernel's lock (``flock``), which has no races and is released when the process ends.
But some file systems have no such lock (Lustre mounted with ``noflock``), and on others it works within one
machine only (Lustre with ``localflock``, BeeGFS by default). So the holder also creates an *owner file*
beside the lock. Its name ends with a number one higher than that of the last owner file, and only one process
can create a file of a name. The holder renews the file's time stamp every :data:`BEAT` seconds.

Another process takes over in three cases: the time stamp is :data:`FREE`, which marks a release; the kernel
shows that the owner has ended; or the time stamp is older than :data:`STALE` seconds.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from zoo.errors import CUT_OFF, tell
from zoo.processes import is_first_rank

LOCK = ".lock"
BEAT = 15.0  # seconds between two renewals of the owner's time stamp
STALE = 120.0  # seconds without a renewal after which the owner counts as gone
FREE = 0.0  # time stamp of an owner that has released the lock
PACE = 1.0  # seconds between two checks of whether another owner is gone
# Errors of flock on a file system that has no locks.
_ABSENT = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK)


@contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Hold the lock of a run's directory during the block; wait for it while another process has it.

    Only the first rank takes the lock. It is released even if the process is killed.
    """
    if not is_first_rank():
        yield
        return
    with exclusive(directory / LOCK):
        yield


@contextmanager
def exclusive(file: Path) -> Iterator[None]:
    """Hold a lock during the block; wait for it while another process has it.

    Args:
        file: the file of the lock; owner files are made beside it.
    """
    with file.open("w", encoding="utf-8") as stream:
        flocked = _flock(stream, fcntl.LOCK_EX)
        owner = _take(file, flocked)
        ended = threading.Event()
        heart = threading.Thread(target=_renew, args=(file, owner, ended), daemon=True, name="lock")
        heart.start()
        try:
            yield
        finally:
            ended.set()
            heart.join(BEAT)
            with contextlib.suppress(OSError):  # the directory of a refused run has been removed
                os.utime(owner.path(file), (FREE, FREE))  # works on a full disk too


def is_locked(directory: Path) -> bool:
    """Return whether a process holds the lock of a run's directory."""
    file = directory / LOCK
    try:
        with file.open("r", encoding="utf-8") as stream:
            flocked = _flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        owner = latest_owner(file)
    except FileNotFoundError:  # also if the directory is removed meanwhile
        return False
    except BlockingIOError:
        return True
    return owner is not None and not owner.is_gone(file, flocked)


def has_flock(directory: Path) -> bool:
    """Return whether a directory's file system has the kernel's lock, even if within one machine only."""
    with tempfile.NamedTemporaryFile(dir=directory, prefix=".flock.") as stream:
        return _flock(stream, fcntl.LOCK_EX)


@dataclass(frozen=True)
class Owner:
    """The content of an owner file: the process that holds a lock, or held it.

    Attributes:
        number: at the end of the file's name; the owner with the highest number counts.
        about: the process, as :func:`this_process` describes it. Empty while the file is being written.
        renewed: time stamp of the file in seconds, by the clock of the file system; :data:`FREE` after the
            release.
    """

    number: int
    about: dict[str, Any]
    renewed: float

    def path(self, file: Path) -> Path:
        """Return the path of this owner's file, beside the file of the lock."""
        return file.with_name(f"{file.name}.{self.number}")

    def is_gone(self, file: Path, flocked: bool) -> bool:
        """Return whether the owner has released the lock or has ended, so that another process may take over.

        Args:
            file: the file of the lock.
            flocked: whether this process has the kernel's lock. An owner on the same machine has then ended.
        """
        if self.renewed == FREE:
            return True
        here = this_process()
        if here["boot"] is not None and self.about.get("boot") == here["boot"]:
            if flocked:
                return True
            if self.about.get("namespace") == here["namespace"]:
                return _began(self.about["pid"]) != self.about["began"]
        if time.time() - self.renewed < STALE / 2:  # no need to ask the file system for its time
            return False
        return _clock(file.parent) - self.renewed > STALE


def _flock(stream: IO[Any], operation: int) -> bool:
    """Take the kernel's lock on an open file; return False if the file system has no such lock.

    Raises:
        BlockingIOError: another process holds it, and the operation does not wait.
    """
    try:
        fcntl.flock(stream, operation)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        _warn(error.strerror)
        return False
    return True


@cache  # warns once
def _warn(reason: str) -> None:
    tell(f"This file system has no locks ({reason}); files with a heartbeat take their place.")


def _take(file: Path, flocked: bool) -> Owner:
    """Wait until the last owner is gone, then create the next owner file; return its content."""
    number = 0  # the highest number known to be in use; the file system may show an outdated list of files
    while True:
        last = latest_owner(file, number)
        if last is not None and not last.is_gone(file, flocked):
            time.sleep(PACE)
            continue
        owner = Owner(max(number, 0 if last is None else last.number) + 1, this_process(), 0.0)
        try:
            with owner.path(file).open("x", encoding="utf-8") as stream:
                json.dump(owner.about, stream)
        except FileExistsError:
            number = owner.number
            continue
        except BaseException:  # the disk is full
            owner.path(file).unlink(missing_ok=True)
            raise
        others = [other for other in _numbers(file) if other != owner.number]
        for other in others:
            if other > owner.number:  # another process was first: the list of files was outdated
                owner.path(file).unlink(missing_ok=True)
                number = other
                break
            file.with_name(f"{file.name}.{other}").unlink(missing_ok=True)
        else:
            return owner


def latest_owner(file: Path, at_least: int = 0) -> Owner | None:
    """Return the owner with the highest number, or ``at_least`` if that is higher; None without a file."""
    number = max([at_least, *_numbers(file)])
    path = file.with_name(f"{file.name}.{number}")
    try:
        with path.open(encoding="utf-8") as stream:  # opening refreshes the time stamp
            renewed, text = os.fstat(stream.fileno()).st_mtime, stream.read()
    except FileNotFoundError:
        return None
    try:
        about = json.loads(text)
    except ValueError:
        about = {}
    return Owner(number, about if isinstance(about, dict) else {}, renewed)


def _numbers(file: Path) -> list[int]:
    """Return the numbers of the owner files of a lock."""
    names = (entry.name.removeprefix(f"{file.name}.") for entry in os.scandir(file.parent))
    return [int(name) for name in names if name.isdecimal()]


def _renew(file: Path, owner: Owner, ended: threading.Event) -> None:
    """Renew the time stamp of an owner file until the lock is released.

    Ends this process if another one has taken over the lock.
    """
    while not ended.wait(BEAT):
        with contextlib.suppress(OSError):
            if max(_numbers(file), default=owner.number) > owner.number and not ended.is_set():
                tell(
                    f"Another process has taken over {file.parent}, since this one has not renewed its lock "
                    f"for {STALE:.0f} s; it ends here."
                )
                os._exit(CUT_OFF)
            os.utime(owner.path(file))


def _clock(directory: Path) -> float:
    """Return the time by the clock of a directory's file system."""
    try:
        with tempfile.NamedTemporaryFile(dir=directory, prefix=".clock.") as stream:
            return os.fstat(stream.fileno()).st_mtime
    except OSError:
        return time.time()


def this_process() -> dict[str, Any]:
    """Return what identifies this process, as an owner file holds it.

    ``boot``, ``namespace``, ``pid`` and ``began`` tell it from all other processes of its machine; ``boot``
    is None where the kernel does not give them. ``host`` is for a person who reads the file.
    """
    boot: str | None = None
    namespace: str | None = None
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot = None
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "boot": boot,
        "namespace": namespace,
        "pid": pid,
        "began": _began(pid),
    }


def _began(pid: int) -> str | None:
    """Return the start time of a process of this machine, in clock ticks since boot; None if it has ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = status.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]
