"""The lock of a directory, in which one process works at a time, on whatever machine and file system.

The kernel's lock (``flock``) comes first: it is free of races, and released when its process ends. Some file
systems have none (Lustre mounted with ``noflock``), and on others it holds within one machine only (Lustre
with ``localflock``, BeeGFS by default). So the holder also creates an *owner file* beside the lock, with a
number one higher than the last, and renews its time stamp. Only one process can create a file of that number.
Another process takes over when the time stamp says that it was released, when the kernel knows that the owner
has ended, or when the time stamp has not been renewed for :data:`STALE` seconds.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from zoo.errors import CUT_OFF
from zoo.processes import is_first_rank

LOCK = ".lock"
BEAT = 15.0  # seconds between two renewals of the owner's time stamp
STALE = 120.0  # seconds without a renewal after which the owner counts as gone
FREE = 0.0  # time stamp of an owner that has released the lock
PACE = 1.0  # seconds between two looks at another owner
_ABSENT = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK)


@contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Lock a run's directory; another process that wants to train the same run waits here.

    Only the first rank takes the lock. It is released when the process ends, however that happens.
    """
    if not is_first_rank():
        yield
        return
    with exclusive(directory / LOCK):
        yield


@contextmanager
def exclusive(file: Path) -> Iterator[None]:
    """Hold the lock of this name; wait until no other process does."""
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
            with contextlib.suppress(OSError):  # its directory is gone, as that of a refused run
                os.utime(owner.path(file), (FREE, FREE))  # which a full disk allows, too


def is_locked(directory: Path) -> bool:
    """Return whether a process is at work in a run's directory."""
    file = directory / LOCK
    try:
        with file.open("r", encoding="utf-8") as stream:
            flocked = _flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    owner = _latest(file)
    return owner is not None and not owner.is_gone(file, flocked)


def has_flock(directory: Path) -> bool:
    """Return whether the file system of a directory has locks of the kernel, of one machine at least."""
    with tempfile.NamedTemporaryFile(dir=directory, prefix=".flock.") as stream:
        return _flock(stream, fcntl.LOCK_EX)


@dataclass(frozen=True)
class Owner:
    """Who holds, or held, a lock.

    Attributes:
        number: of the owner file; the highest one counts.
        about: its content: ``host``, and ``boot``, ``namespace``, ``pid`` and ``began``, by which a process
            is known on one machine. Empty while the file is being written.
        renewed: its time stamp, by the clock of the file system, in seconds; :data:`FREE` after its release.
    """

    number: int
    about: dict[str, Any]
    renewed: float

    def path(self, file: Path) -> Path:
        """Return the owner file of a lock."""
        return file.with_name(f"{file.name}.{self.number}")

    def is_gone(self, file: Path, flocked: bool) -> bool:
        """Return whether another process may take over.

        Args:
            file: the lock.
            flocked: whether the asking process has the kernel's lock; the owner is gone then if it was a
                process of the same machine.
        """
        if self.renewed == FREE:
            return True
        here = this_process()
        if here["boot"] is not None and self.about.get("boot") == here["boot"]:
            if flocked:
                return True
            if self.about.get("namespace") == here["namespace"]:
                return _began(self.about["pid"]) != self.about["began"]
        if time.time() - self.renewed < STALE / 2:  # without a look at the file system's clock
            return False
        return _clock(file.parent) - self.renewed > STALE


def _flock(stream: IO[Any], operation: int) -> bool:
    """Take the kernel's lock; return False if the file system has none.

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


@cache  # once
def _warn(reason: str) -> None:
    print(
        f"zoo: This file system has no locks ({reason}); files with a heartbeat take their place.",
        file=sys.stderr,
    )


def _take(file: Path, flocked: bool) -> Owner:
    """Create the next owner file as soon as its last owner is gone."""
    number = 0  # known to be taken, even if the file system still shows an older list of files
    while True:
        last = _latest(file, number)
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
            if other > owner.number:  # this process saw an old list
                owner.path(file).unlink(missing_ok=True)
                number = other
                break
            file.with_name(f"{file.name}.{other}").unlink(missing_ok=True)
        else:
            return owner


def _latest(file: Path, at_least: int = 0) -> Owner | None:
    """Return the owner of the highest number; None if there never was one."""
    number = max([at_least, *_numbers(file)])
    path = file.with_name(f"{file.name}.{number}")
    try:
        with path.open(encoding="utf-8") as stream:  # opening makes a network's file system look again
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
    """Renew the owner's time stamp until the lock is released; end the process if another has taken it."""
    while not ended.wait(BEAT):
        with contextlib.suppress(OSError):
            if max(_numbers(file), default=owner.number) > owner.number and not ended.is_set():
                print(
                    f"zoo: Another process has taken over {file.parent}, since this one has not renewed its "
                    f"lock for {STALE:.0f} s; it ends here.",
                    file=sys.stderr,
                    flush=True,
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
    """Return what an owner file says about this process."""
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
    """Return when a process of this machine began, in ticks since the start of the machine; None if gone."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = status.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]
