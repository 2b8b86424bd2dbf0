"""A sweep's MPS: a fake daemon that records its calls, fake GPUs, and jobs that only print what they see."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from unittest.mock import Mock

import pytest
from forked import SWEEP, until
from forks import Fork
from torch import AcceleratorError

from zoo.cli import main
from zoo.config import compose_run
from zoo.errors import MPS, SHARED_FAULT, CutOff, cut_off
from zoo.record import Attempts, read
from zoo.running.run import run
from zoo.sweep import mps, plan_sweep
from zoo.sweep.job import Job
from zoo.sweep.launcher import Local
from zoo.sweep.mps import PROGRAM, Service
from zoo.training.module import TrainingModule

# Like NVIDIA's: -d leaves a process behind, a line of standard input is a command to it.
FAKE = """#!{python}
import json, os, pathlib, signal, subprocess, sys
pipes, logs = pathlib.Path(os.environ["CUDA_MPS_PIPE_DIRECTORY"]), os.environ.get("CUDA_MPS_LOG_DIRECTORY")
devices = os.environ.get("CUDA_VISIBLE_DEVICES")
daemon, modes = pipes / "daemon", [oct(p.stat().st_mode)[-3:] for p in (pipes.parent, pipes)]
said = sys.argv[1:] or sys.stdin.read().split()
with open("{calls}", "a") as file:
    call = dict(said=said, pipes=str(pipes), logs=logs, modes=modes, devices=devices)
    file.write(json.dumps(call) + "\\n")
if said == ["-d"]:
    if "{fails}":
        sys.exit("{fails}")
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    daemon.write_text(str(process.pid))
elif not daemon.exists():
    sys.exit("Cannot find MPS control daemon process")
elif said == ["quit"]:
    os.kill(int(daemon.read_text()), signal.SIGKILL)
    daemon.unlink()
"""


class Place:
    """A directory with a sweep, and a machine with a fake daemon and fake GPUs."""

    def __init__(self, root: Path, monkeypatch) -> None:
        self.root, self.calls_file, self.seen_file = root, root / "calls", root / "seen"
        self.monkeypatch, self.temporary = monkeypatch, root / "tmp"
        self.temporary.mkdir()
        (root / "mine.yaml").write_text(SWEEP)
        monkeypatch.setattr(tempfile, "tempdir", str(self.temporary))
        monkeypatch.setattr(mps, "LONGEST", 1000)
        monkeypatch.setattr(mps, "DEFAULT", str(root / "nvidia-mps"))
        monkeypatch.delenv("CUDA_MPS_PIPE_DIRECTORY", raising=False)
        monkeypatch.setenv("PATH", f"{root / 'bin'}:/usr/bin:/bin")
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-x")
        (root / "bin").mkdir()
        self.install()
        self.jobs(
            f"while [ $(wc -l < {self.seen_file}) -lt 2 ]; do sleep 0.1; done; exit 1"
        )  # both at a time

    def install(self, fails="") -> None:
        self.program(PROGRAM, FAKE.format(python=sys.executable, calls=self.calls_file, fails=fails))

    def program(self, name: str, text: str) -> None:
        """Put a program on the path of the machine."""
        program = self.root / "bin" / name
        program.write_text(text)
        program.chmod(0o755)

    def jobs(self, do: str) -> None:
        """Give the jobs something to do after they have written what they see."""
        stub = self.root / "job"
        sees = f'echo "$CUDA_VISIBLE_DEVICES $CUDA_MPS_PIPE_DIRECTORY $ZOO_MPS" >> {self.seen_file}'
        stub.write_text(f"#!/bin/sh\necho $$ >> {self.root / 'pids'}\n{sees}\n{do}\n")
        stub.chmod(0o755)
        self.stub = stub

    def sweep(self, *more: str) -> int:
        with self.monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(self.stub))
            return main(["sweep", str(self.root / "mine.yaml"), "-o", str(self.root / "runs"), *more])

    def end_jobs(self) -> None:
        """Kill the jobs that are left."""
        with contextlib.suppress(FileNotFoundError):
            for pid in (self.root / "pids").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)

    def calls(self):
        with contextlib.suppress(FileNotFoundError):
            return [json.loads(line) for line in self.calls_file.read_text().splitlines()]
        return []

    def seen(self):
        return [line.split() for line in self.seen_file.read_text().splitlines()]

    def left(self):
        """Return the directories of daemons."""
        return list(self.temporary.glob("zoo-mps-*"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    made = Place(tmp_path, monkeypatch)
    yield made
    made.end_jobs()
    for call in made.calls():
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((Path(call["pipes"]) / "daemon").read_text()), signal.SIGKILL)


ARGUMENTS = ("trainer=auto", "--jobs", "2", "--mps")


def test_jobs_are_clients_of_a_daemon_that_ends_with_their_sweep(place, capsys):
    assert place.sweep(*ARGUMENTS) == 2, "its jobs fail"
    calls = place.calls()
    started = next(call for call in calls if call["said"] == ["-d"])
    assert started["devices"] == "2,GPU-x"
    assert started["modes"] == ["700", "700"]
    assert len(started["pipes"]) - len(str(place.temporary)) < 30, "the path of a socket is short"
    assert started["logs"] == started["pipes"].replace("/pipe", "/log")
    assert sorted(place.seen()) == [["0", started["pipes"], "1"], ["GPU-x", started["pipes"], "1"]]
    assert [call["said"] for call in calls].count(["quit"]) == 1
    assert next(call["pipes"] for call in calls if call["said"] == ["quit"]) == started["pipes"]
    assert not place.left()
    assert "MPS: 2 jobs at a time share 2 GPUs." in capsys.readouterr().out


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2])
def test_the_daemon_ends_when_a_signal_ends_the_sweep(place, signum):
    place.jobs("exec sleep 60")
    sweep = Fork(lambda: place.sweep(*ARGUMENTS))
    until(lambda: place.seen_file.exists() and len(place.seen()) == 2)
    (home,) = place.left()
    pid = int((home / "pipe" / "daemon").read_text())
    sweep.send_signal(signum)
    assert sweep.wait() == 130
    assert not place.left()
    assert place.calls()[-2]["said"] == ["quit"]
    with pytest.raises(ProcessLookupError):
        until_gone(pid)


def until_gone(pid):
    """Wait until a process is gone (a zombie counts as gone), and raise ProcessLookupError."""

    def gone():
        with contextlib.suppress(FileNotFoundError):
            return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
        return True

    until(gone)
    raise ProcessLookupError


def test_the_daemon_of_a_killed_sweep_is_ended_by_the_next(place):
    place.jobs("exec sleep 60")
    sweep = Fork(lambda: place.sweep(*ARGUMENTS))
    until(lambda: place.seen_file.exists() and len(place.seen()) == 2)
    (forsaken,) = place.left()
    daemon = int((forsaken / "pipe" / "daemon").read_text())
    other = place.temporary / "zoo-mps-other"  # not locked yet: a sweep that starts now
    other.mkdir()
    sweep.kill()
    place.end_jobs()  # those of zoo would notice
    place.jobs("exit 1")
    place.sweep(*ARGUMENTS, "--retry-failed")
    assert place.left() == [other]
    with pytest.raises(ProcessLookupError):
        until_gone(daemon)


def test_a_daemon_that_runs_already_is_used_and_left_alone(place, capsys):
    theirs = place.root / "nvidia-mps"
    theirs.mkdir()
    (theirs / "daemon").touch()
    place.sweep(*ARGUMENTS)
    assert {call["said"][0] for call in place.calls()} == {"get_default_active_thread_percentage"}
    assert sorted(place.seen()) == [["2", str(theirs), "1"], ["GPU-x", str(theirs), "1"]]
    assert "the daemon that runs already" in capsys.readouterr().out
    assert (theirs / "daemon").exists()


def refused(place, capsys, *arguments):
    """Return the sentence with which a sweep is refused."""
    capsys.readouterr()
    assert place.sweep(*arguments) == 2
    error = capsys.readouterr().err.strip()
    if "did not start" not in error:  # a dry run refuses the same, save what only starting the daemon shows
        assert place.sweep(*arguments, "--dry-run") == 2
        assert capsys.readouterr().err.strip() == error
    assert error.startswith("zoo: ")
    assert "\n" not in error
    assert not place.seen_file.exists(), "no job starts"
    return error


def test_what_cannot_share_a_gpu_is_refused_in_a_sentence(place, capsys):
    cpu = ("trainer=cpu", *ARGUMENTS[1:])
    several = ("trainer=ddp", "trainer.accelerator=auto", "trainer.devices=2", *ARGUMENTS[1:])
    assert "run on the CPU" in refused(place, capsys, *cpu)
    assert "jobs of one GPU each" in refused(place, capsys, *several)
    assert "jobs of one GPU each" in refused(place, capsys, *ARGUMENTS, "trainer.devices=auto")
    for name in ("sbatch", "squeue"):  # so that this machine looks like a login node of Slurm
        place.program(name, "#!/bin/sh\nexit 1\n")
    assert "those of Slurm" in refused(place, capsys, *ARGUMENTS, "launcher=slurm")
    assert "launcher=slurm" in refused(place, capsys, *ARGUMENTS, "--submit"), "there is nothing to submit"
    assert not place.left()
    place.monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-a,GPU-x")
    assert "slices (MIG)" in refused(place, capsys, *ARGUMENTS)
    place.monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "there is none here" in refused(place, capsys, *ARGUMENTS)
    place.monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    (place.root / "bin" / PROGRAM).unlink()
    assert f"needs {PROGRAM}" in refused(place, capsys, *ARGUMENTS)


@pytest.mark.parametrize("fails", ["no permission", "-d does nothing"])
def test_a_daemon_that_does_not_start_is_told_in_a_sentence(place, capsys, fails):
    if fails == "no permission":
        place.install(fails)
    else:
        (place.root / "bin" / PROGRAM).write_text('#!/bin/sh\n[ "$1" = -d ]\n')
        place.monkeypatch.setattr(mps, "START", 0.3)
    assert "did not start" in refused(place, capsys, *ARGUMENTS)
    assert not place.left()


FAULT = "CUDA error: an illegal memory access was encountered"


def test_an_error_of_cuda_is_of_the_run_itself_unless_it_shares_its_gpu(monkeypatch):
    errors = [AcceleratorError(FAULT), RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")]
    assert [cut_off(error) for error in errors] == [None, None]
    assert "MPS" in cut_off(AcceleratorError("CUDA error: the MPS client has been terminated by the server"))
    monkeypatch.setenv(MPS, "1")
    assert all(cut_off(error).startswith(SHARED_FAULT) for error in errors)
    assert "device has failed" not in cut_off(RuntimeError("CUDA error: unspecified launch failure"))
    assert "memory" in cut_off(RuntimeError("CUDA out of memory.")), "that is no fault"
    assert cut_off(ValueError(FAULT)) is None


def test_a_job_that_a_fault_has_ended_resumes_without_the_service(tmp_path, monkeypatch):
    """Its own fault then fails it, and another one's does not reach it."""
    service, average = Service(Path("/p"), ("3", "5")), TrainingModule.average_weights
    small = ["model=realnvp", "data=moons", "data.train=50", "model.hidden=[4]", "logger=none", "trainer=cpu",
             "training.updates=6", "training.batch_size=8", "training.validations=2", "evaluation.samples=20",
             "evaluation.time_limit_seconds=0.01"]  # fmt: skip
    config = compose_run(small)

    def fault(self):
        if self.updates == 5:
            raise AcceleratorError(FAULT)
        average(self)

    monkeypatch.setattr("zoo.running.fit.check_shared_gpu", lambda: None)
    for name in ("guilty", "innocent"):
        directory = tmp_path / name
        assert service.environment(["5"], directory)["CUDA_VISIBLE_DEVICES"] == "1"
        with monkeypatch.context() as patch:
            patch.setenv(MPS, "1")
            patch.setattr(TrainingModule, "average_weights", fault)
            with pytest.raises(CutOff, match="another one on its GPU"):
                run(config, directory)
        assert not (directory / "record.json").exists()
        assert service.environment(["5"], directory) == {}
        assert MPS in Service(Path("/p")).environment(["5"], directory), "a daemon of the machine's stays"
    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "average_weights", fault)
        with pytest.raises(AcceleratorError):
            run(config, tmp_path / "guilty")
    record = run(config, tmp_path / "innocent")
    assert (record.status, record.stability.resumed_at) == ("finished", 3)
    assert read(tmp_path / "guilty").status == "failed"
    assert MPS in service.environment(["5"], tmp_path / "innocent"), "the next fault may be another's again"


def test_a_job_to_which_the_service_gives_no_gpu_does_not_train_on_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setenv(MPS, "1")
    with pytest.raises(CutOff, match="gives this job no GPU"):
        run(compose_run(["model=realnvp", "data=moons", "data.train=50", "logger=none"]), tmp_path)


@pytest.mark.parametrize(
    ("shared", "logged", "state"),
    [(True, FAULT, "cut off"), (True, "terminate called", "failed"), (False, FAULT, "failed")],
)
def test_an_aborted_process_is_cut_off_if_it_shared_a_gpu_and_met_a_fault(tmp_path, shared, logged, state):
    (tmp_path / "mine.yaml").write_text(SWEEP)
    planned = plan_sweep(str(tmp_path / "mine.yaml"), [], tmp_path / "runs").jobs[0]
    job = Job(list(planned.overrides), planned.identity, tmp_path / "job")
    job.directory.mkdir()
    Attempts(job.directory).begin()
    (job.directory / "log.txt").write_text(f"{logged}\nException raised from c10_cuda_check\n")
    job.worker = Mock(mps=shared)
    job.end(-signal.SIGABRT)
    assert job.state == state
    if state == "cut off":
        assert job.reason == f"{SHARED_FAULT}: {FAULT}; the same command resumes it"
        assert Service(Path("/p"), ("0",)).environment(["0"], job.directory) == {}


def test_a_job_without_a_gpu_of_the_sweep_is_no_client(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr("zoo.sweep.launcher.launch", lambda *a, more, **k: given.append(more))
    launcher = Local(["0"])
    launcher.mps = Service(Path("/p"), ("0",))
    assert not launcher.start(["trainer=cpu"], tmp_path, 1).mps
    launcher.running.clear()
    assert launcher.start([], tmp_path, 1).mps
    assert [MPS in more for more in given] == [False, True]
