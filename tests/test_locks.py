"""A directory has one process at work, on file systems without locks and with locks of one machine, too."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import time

import pytest
from forks import Fork

from zoo import locks
from zoo.errors import CUT_OFF
from zoo.locks import exclusive, is_locked, lock


def without_flock(*_):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def of_one_machine(*_):
    """Stand in for ``flock`` on another machine, where this one's locks are not seen."""


def ask(directory, flock, boot=None):
    """Return whether another process, perhaps on another machine, finds the directory locked."""

    def other():
        locks.fcntl.flock = flock
        here = locks.this_process()
        locks.this_process = lambda: here | ({} if boot is None else {"boot": boot})
        return int(is_locked(directory))

    code = Fork(other).wait()
    assert code in (0, 1)
    return bool(code)


def hold_and_die(directory, boot=None):
    """Take the lock in another process, perhaps of another machine, that is then killed."""

    def other():
        here = locks.this_process()
        locks.this_process = lambda: here | ({} if boot is None else {"boot": boot})
        with lock(directory):
            os.kill(os.getpid(), signal.SIGKILL)

    assert Fork(other).wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("flock", "boot"),
    [
        (locks.fcntl.flock, None),
        (without_flock, None),
        (without_flock, "another"),
        (of_one_machine, "another"),
    ],
    ids=["one machine", "no locks", "no locks, two machines", "locks of one machine"],
)
def test_another_process_finds_a_directory_locked_until_it_is_released(tmp_path, monkeypatch, flock, boot):
    assert not ask(tmp_path, flock, boot)
    if flock is without_flock:
        monkeypatch.setattr("fcntl.flock", flock)
    for _ in range(2):
        with lock(tmp_path):
            assert ask(tmp_path, flock, boot)
        assert not ask(tmp_path, flock, boot)


@pytest.mark.parametrize("flock", [None, without_flock])
def test_a_killed_process_of_this_machine_leaves_no_lock(tmp_path, monkeypatch, flock):
    if flock is not None:
        monkeypatch.setattr("fcntl.flock", flock)
    hold_and_die(tmp_path)
    assert not is_locked(tmp_path)
    with lock(tmp_path):
        assert is_locked(tmp_path)


def test_a_process_of_another_machine_counts_as_gone_when_its_heart_has_stopped(tmp_path):
    hold_and_die(tmp_path, boot="another")
    assert is_locked(tmp_path)
    owner = tmp_path / f"{locks.LOCK}.1"
    for age, locked in [(locks.STALE - 10, True), (locks.STALE + 10, False)]:
        os.utime(owner, (time.time() - age,) * 2)
        assert is_locked(tmp_path) == locked
    with lock(tmp_path):
        assert is_locked(tmp_path)
    assert not owner.exists(), "it has been replaced by that of the next number"


def test_a_wrong_clock_does_not_end_a_lock(tmp_path, monkeypatch):
    hold_and_die(tmp_path, boot="another")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 10 * locks.STALE)
    assert is_locked(tmp_path), "the clock of the file system counts"


def test_processes_that_want_one_lock_have_it_one_after_another(tmp_path, monkeypatch):
    monkeypatch.setattr("fcntl.flock", without_flock)
    monkeypatch.setattr(locks, "PACE", 0.005)
    count = tmp_path / "count"
    count.write_text("0")

    def add():
        for _ in range(10):
            with exclusive(tmp_path / "it"):
                before = int(count.read_text())
                time.sleep(0.001)
                count.write_text(str(before + 1))
        return 0

    assert [worker.wait() for worker in [Fork(add) for _ in range(4)]] == [0] * 4
    assert count.read_text() == "40"
    assert len(list(tmp_path.glob("it.*"))) == 1


def test_the_time_stamp_is_renewed_and_a_process_that_lost_its_lock_ends(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(locks, "BEAT", 0.01)

    def work():
        with lock(tmp_path):
            owner = tmp_path / f"{locks.LOCK}.1"
            os.utime(owner, (1, 1))
            while owner.stat().st_mtime < 2:
                time.sleep(0.005)
            (tmp_path / f"{locks.LOCK}.2").write_text("{}")
            time.sleep(10)
        return 0

    assert Fork(work).wait() == CUT_OFF
    assert "Another process has taken over" in capfd.readouterr().err


def test_other_errors_of_the_file_system_are_raised(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("fcntl.flock", broken)
    with pytest.raises(OSError, match="Input/output error"), lock(tmp_path):
        pass


def test_a_directory_that_is_removed_during_the_look_is_not_locked(tmp_path, monkeypatch):
    place = tmp_path / "run"
    place.mkdir()
    with lock(place):
        pass

    def removed(file, at_least=0):
        shutil.rmtree(place)
        return latest(file, at_least)

    latest = locks.latest_owner
    monkeypatch.setattr(locks, "latest_owner", removed)
    assert not locks.is_locked(place)
