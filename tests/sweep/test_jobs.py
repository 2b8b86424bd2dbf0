"""Jobs of a sweep: how they start, wait, end and are shown."""

from __future__ import annotations

import errno
import io
import re
import signal
from unittest.mock import Mock

import pytest
from forked import SWEEP, run_small_sweep
from rich.console import Console

from zoo.errors import STOPPED, ZooError
from zoo.locks import lock
from zoo.record import Attempts, RankError, read
from zoo.record.plan import Planned, read_plan
from zoo.sweep import plan_sweep, run_sweep
from zoo.sweep.display import make_display
from zoo.sweep.job import Job
from zoo.sweep.launcher import Local


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    place = tmp_path_factory.mktemp("plan")
    (place / "mine.yaml").write_text(SWEEP)
    return plan_sweep(str(place / "mine.yaml"), [], place / "runs")


@pytest.fixture
def job(plan, tmp_path):
    planned = plan.jobs[0]
    directory = tmp_path / planned.identity.run_id
    directory.mkdir()
    return Job(list(planned.overrides), planned.identity, directory)


@pytest.mark.parametrize("code", [-signal.SIGKILL, -signal.SIGTERM, *STOPPED])
def test_a_job_stopped_from_outside_is_cut_off_without_a_record(job, code):
    (job.directory / "log.txt").write_text("zoo: The disk is full.\n")
    job.end(int(code))
    assert job.state == "cut off"
    assert not job.ended
    assert (signal.Signals(-code).name if code < 0 else "The disk is full; the same command") in job.reason
    assert not (job.directory / "record.json").exists()


def test_a_job_that_was_refused_leaves_nothing(job):
    class Launcher:
        def start(self, overrides, directory, threads):
            (directory / "log.txt").write_text("zoo: training.lr must be a number.\n")

    job.directory.rmdir()
    job.start(Launcher(), 1)
    job.end(2)
    assert (job.state, job.reason) == ("refused", "training.lr must be a number.")
    assert job.ended
    assert not job.directory.exists()


@pytest.mark.parametrize("code", [-signal.SIGSEGV, 1])
def test_a_job_that_crashed_has_failed_and_gets_a_record(job, code):
    (job.directory / "log.txt").write_text("Traceback\nzoo: It cannot be.\n\n")
    job.end(int(code))
    assert job.state == "failed"
    assert "SIGSEGV" in job.reason or code > 0
    assert job.reason.endswith("It cannot be.")
    record = read(job.directory)
    assert (record.status, record.reason, record.run_id) == ("failed", job.reason, job.identity.run_id)
    assert record.provenance.config_hash == job.identity.config_hash
    assert record.provenance.config_hash_without_seed == job.identity.config_hash_without_seed
    assert record.provenance.config == job.identity.config


WATCHDOG = "[rank0]:[E ProcessGroupNCCL.cpp:1941] [Rank 0] Process group watchdog thread terminated\n"


@pytest.mark.parametrize(
    ("more", "log", "state"),
    [
        (["trainer=ddp", "trainer.devices=2"], "", "cut off"),  # another rank may be the cause
        ([], WATCHDOG + "terminate called\n", "cut off"),
        ([], "free(): invalid pointer\n", "failed"),
    ],
)
def test_an_aborted_process_is_cut_off_if_it_has_lost_another(job, more, log, state):
    job.overrides += more
    (job.directory / "log.txt").write_text(log)
    job.end(-signal.SIGABRT)
    assert job.state == state
    assert "SIGABRT" in job.reason
    assert (job.directory / "record.json").exists() == (state == "failed")


@pytest.mark.parametrize("code", [-signal.SIGABRT, -signal.SIGKILL, 75, 130])
@pytest.mark.parametrize("end", ["failed", "diverged", "cut off", "refused"])
def test_a_job_whose_other_rank_has_left_an_error_ends_by_it(job, code, end):
    job.overrides += ["trainer=ddp", "trainer.devices=2"]
    Attempts(job.directory).begin()
    RankError(end, "ValueError: a bug on rank one").leave(job.directory)
    (job.directory / "log.txt").write_text(WATCHDOG)
    job.end(int(code))
    more = "; the same command resumes it" if end == "cut off" else ""
    assert (job.state, job.reason) == (end, f"ValueError: a bug on rank one{more}")
    if end in ("failed", "diverged"):
        assert (read(job.directory).status, read(job.directory).reason) == (end, job.reason)
    else:
        assert not (job.directory / "record.json").exists()
    (attempt,) = Attempts(job.directory).attempts
    assert (attempt.end, attempt.reason) == (end, "ValueError: a bug on rank one")


def test_a_rank_error_of_an_attempt_that_has_ended_counts_no_more(job):
    attempts = Attempts(job.directory)
    attempts.begin()
    attempts.end("interrupted", "it was interrupted", 3)
    RankError("failed", "ValueError: a bug on rank one").leave(job.directory)
    job.end(130)
    assert job.state == "cut off"


def test_a_job_that_is_killed_three_times_without_a_new_checkpoint_has_failed(job):
    for _ in range(3):
        assert not job.ended
        Attempts(job.directory).begin()
        job.end(-signal.SIGKILL)
    assert job.state == "failed"
    assert job.reason.count("killed by SIGKILL") == 3
    assert (read(job.directory).status, read(job.directory).reason) == ("failed", job.reason)
    attempts = Attempts(job.directory)
    attempts.begin()
    assert attempts.give_up() is None, "a repetition on request counts anew"


def test_a_job_that_its_sweep_has_to_kill_is_not_counted(job):
    for _ in range(4):
        Attempts(job.directory).begin()
        job.interrupted()
    assert Attempts(job.directory).in_vain() == []


@pytest.mark.parametrize("has_flock", [True, False])
def test_a_job_that_another_process_works_on_gets_no_record(job, monkeypatch, has_flock):
    if not has_flock:
        error = OSError(errno.ENOSYS, "Function not implemented")
        monkeypatch.setattr("fcntl.flock", Mock(side_effect=error))
    with lock(job.directory):
        job.end(1)
    assert job.state == "failed"
    assert not (job.directory / "record.json").exists()


def test_the_record_of_a_job_wins_over_its_exit_code(job):
    job.end(1)
    other = type(job)(job.overrides, job.identity, job.directory)
    other.end(-signal.SIGKILL)
    assert (other.state, other.reason) == ("failed", "exit code 1")


def test_a_retried_job_ignores_its_failed_record(job):
    job.end(1)
    assert not job.adopt_record(retry_failed=True)
    assert not job.adopt_record(), "the same record does not count later either"
    (job.directory / "record.json").unlink()
    job.end(3)
    assert job.adopt_record()
    assert job.reason == "exit code 3"


def test_a_damaged_record_does_not_count(job):
    (job.directory / "record.json").write_text("{")
    assert not job.adopt_record()


def test_a_terminal_shows_the_reason_of_a_failure_unchanged(plan):
    output = io.StringIO()
    with make_display(plan, Console(file=output, width=200, force_terminal=True)) as display:
        job = plan.jobs[0]
        job.state, job.reason = "failed", "cannot read the prior in [/data/prior.npz] of [blue]"
        display.ended(job)
        display.update()
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output.getvalue())
    assert "cannot read the prior in [/data/prior.npz] of [blue]" in text


def test_a_job_without_room_waits_and_is_not_overtaken(tmp_path):
    attempts, started = [], []

    class Over:
        queued = False
        mps = False

        def poll(self):
            return 75

    class Narrow(Local):
        pace = 0.01

        def start(self, overrides, directory, threads):
            attempts.append(directory.name)
            if len(attempts) % 3:
                return None
            started.append(directory.name)
            return Over()

    jobs, _ = run_small_sweep(tmp_path, launcher=Narrow([]), parallel=2)
    first, second = (job.directory.name for job in jobs)
    assert attempts == [first] * 3 + [second] * 3
    assert started == [first, second]
    assert [job.state for job in jobs] == ["cut off", "cut off"]


def test_cores_are_shared_out_among_the_jobs_unless_the_sweep_sets_threads(tmp_path, monkeypatch):
    started_with = []

    class Counting(Local):
        def start(self, overrides, directory, threads):
            started_with.append(threads)
            raise OSError("no room")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("zoo.sweep.loop.usable_cores", lambda: 8)
    for name, line in {"shared": "jobs: 2", "fixed": "jobs: 2\nthreads: 1"}.items():
        (tmp_path / f"{name}.yaml").write_text(f"{line}\n" + SWEEP)
        run_sweep(f"{name}.yaml", launcher=Counting(), console=Console(file=io.StringIO()))
    assert started_with == [4, 4, 1, 1]


def test_a_sweep_leaves_the_names_of_its_runs_in_its_directory(tmp_path, monkeypatch):
    planned = []

    class Reading(Local):
        def start(self, overrides, directory, threads):
            planned.append((directory.name, read_plan(directory.parent)))
            raise OSError("no room")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.yaml").write_text(SWEEP)
    console = Console(file=io.StringIO())
    run_sweep("one.yaml", dry_run=True, console=console)
    assert not (tmp_path / "runs").exists()
    run_sweep("one.yaml", launcher=Reading(), console=console)
    names = tuple(name for name, _ in planned)
    assert len(names) > 1
    assert {plan for _, plan in planned} == {Planned(names, len(names))}


def test_a_launcher_that_a_sweep_cannot_use_is_refused(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    with pytest.raises(ZooError, match="launcher=local or launcher=slurm; got joblib"):
        run_sweep("quickstart", ["launcher=joblib"], out=tmp_path, console=Console(file=io.StringIO()))
    assert not list(tmp_path.iterdir())
