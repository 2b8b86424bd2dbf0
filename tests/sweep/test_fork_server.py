"""Jobs that are forks of one process, which ends with the sweep, and its jobs with it."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from forked import until

from zoo.config import run_dir_override
from zoo.sweep.fork_server import ForkedJob, ForkServer
from zoo.sweep.launcher import Local

COMMAND = """
import os, sys, time
import zoo.cli
print("imported")

def main(argv):
    print(argv, os.environ.get("COLOUR"), os.environ["ZOO_PARENT"], os.getpid(), flush=True)
    if argv[1:] == ["sleep"]:
        zoo.cli.exit_with_parent(0.05)
        time.sleep(60)
    return len(argv)

zoo.cli.main = main
"""


@pytest.fixture
def server(tmp_path):
    (tmp_path / "imitation.py").write_text(COMMAND)
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    server = ForkServer(os.environ | {"PYTHONPATH": path, "COLOUR": "red"}, ["imitation"])
    yield server
    server.process.kill()
    server.process.wait()


def begin(server, tmp_path, *arguments):
    """Start a job and return it with the words that it prints first."""
    job = server.start(["train", *arguments], os.environ | {"COLOUR": "blue"}, tmp_path / "log.txt")
    until(lambda: (tmp_path / "log.txt").exists() and (tmp_path / "log.txt").read_text().endswith("\n"))
    return job, (tmp_path / "log.txt").read_text().split()


def test_a_job_has_its_own_environment_log_and_exit_code(server, tmp_path):
    (tmp_path / "log.txt").write_text("before\n")
    job = server.start(["train", "a=1"], os.environ | {"COLOUR": "blue"}, tmp_path / "log.txt")
    until(lambda: job.poll() is not None)
    assert job.poll() == 2
    words = (tmp_path / "log.txt").read_text().split()
    assert words[:5] == ["before", "['train',", "'a=1']", "blue", str(server.process.pid)]


def test_a_job_is_asked_to_end_and_killed_by_its_own_signals(server, tmp_path):
    first, _ = begin(server, tmp_path, "sleep")
    second = server.start(["train", "sleep"], os.environ, tmp_path / "other.txt")
    assert first.poll() is None
    first.interrupt()
    until(lambda: first.poll() is not None)
    assert first.poll() == -signal.SIGTERM
    assert second.poll() is None
    second.kill()
    assert second.poll() == -signal.SIGKILL


def test_jobs_end_with_the_fork_server_and_are_cut_off(server, tmp_path):
    job, words = begin(server, tmp_path, "sleep")
    server.process.kill()
    until(lambda: job.poll() is not None)
    assert job.poll() == -signal.SIGKILL
    until(lambda: not alive(int(words[-1])))


def test_the_fork_server_ends_with_the_sweep(server):
    assert server.lives
    server.process.stdin.close()
    until(lambda: not server.lives)
    assert server.process.returncode == 0


def test_only_jobs_without_gpus_are_forks_if_they_are_wanted(monkeypatch, tmp_path):
    class Fake:
        lives = True

        def __init__(self, environment):
            self.environment = environment

        def start(self, arguments, environment, log):
            started.append((arguments, environment, log))
            return ForkedJob(self, 1)

    started = []
    monkeypatch.setattr("zoo.sweep.launcher.ForkServer", Fake)
    launcher = Local([], jobs=3, forks=True)
    launcher.start(["model=maf", "launcher=local"], tmp_path, 2)
    launcher.start(["model=gan"], tmp_path, 2)
    (arguments, environment, log), _ = started
    assert arguments == ["train", "model=maf", run_dir_override(tmp_path)]
    assert (environment["OMP_NUM_THREADS"], environment["ZOO_JOBS"], environment["ZOO_QUIET"]) == (
        "2",
        "3",
        "1",
    )
    assert log == tmp_path / "log.txt"
    assert list(launcher.fork_servers) == [2]
    monkeypatch.setattr("zoo.sweep.launcher.launch", lambda *args, **more: started.append("process"))
    Local(["0"], jobs=3, forks=True).start(["model=maf"], tmp_path, 2)
    Local([], jobs=3).start(["model=maf"], tmp_path, 2)
    assert started[2:] == ["process", "process"]


def alive(pid):
    """Return whether a process runs; one that waits to be reaped does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] != "Z"
    except OSError:
        return False
