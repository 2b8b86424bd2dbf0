"""What ``zoo doctor`` says about the locks of a file system."""

from __future__ import annotations

import errno
import os

from zoo.cli import doctor


def said(root):
    return {line.partition(" ")[0]: line for line in list(doctor.locks(root))[1:]}


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


def test_the_doctor_knows_the_file_system_of_a_directory(tmp_path):
    kind, options = doctor.file_system(tmp_path)
    assert kind != "unknown"
    assert all("lock" in option for option in options)
