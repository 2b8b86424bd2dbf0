"""What ``zoo doctor`` says about the locks of a file system."""

from __future__ import annotations

import errno
import os

import pytest

from zoo.cli import doctor, main


def said(root):
    return {line.partition(" ")[0]: line for line in doctor.locks(root)[0][1:]}


def test_the_doctor_tests_the_lock_from_two_processes(tmp_path):
    lines = said(tmp_path)
    assert "ok" in lines["flock"]
    assert "ok" in lines["zoo's"]
    assert not list(tmp_path.iterdir())


def test_the_doctor_says_when_a_file_system_has_no_locks_or_lets_two_processes_in(tmp_path, monkeypatch):
    def absent(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", absent)
    monkeypatch.setattr(doctor, "QUESTION", "print(False)")
    lines = said(tmp_path)
    assert "absent" in lines["flock"]
    assert "broken" in lines["zoo's"]


@pytest.fixture
def only_locks(monkeypatch):
    """Leave out the slow parts, which have no say in the exit code."""
    for part in ("devices", "data_sets", "weights", "versions"):
        monkeypatch.setattr(doctor, part, lambda *_: {})


def test_the_exit_code_says_whether_the_lock_works(only_locks, tmp_path, monkeypatch, capsys):
    assert main(["doctor", "--root", str(tmp_path)]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(doctor, "QUESTION", "print(False)")
        assert main(["doctor", "--root", str(tmp_path)]) == 2
    assert "broken" in capsys.readouterr().out

    def refused(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(doctor, "lock", refused)
    assert main(["doctor", "--root", str(tmp_path)]) == 2
    assert "unknown" in capsys.readouterr().out


@pytest.mark.parametrize("root", ["missing", "file"])
def test_a_root_that_is_no_directory_is_refused(tmp_path, capsys, root):
    (tmp_path / "file").touch()
    assert main(["doctor", "--root", str(tmp_path / root)]) == 2
    printed = capsys.readouterr()
    assert f"There is no directory {tmp_path / root}; make it" in printed.err
    assert not printed.out


def test_the_doctor_knows_the_file_system_of_a_directory(tmp_path):
    kind, options = doctor.file_system(tmp_path)
    assert kind != "unknown"
    assert all("lock" in option for option in options)
