"""A killed process, a full disk or a second sweep: the results are those of an undisturbed sweep."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from forked import (
    SWEEP,
    Forked,
    during_update,
    killed,
    once_under_way,
    results,
    run_small_sweep,
    terminated,
    until,
)

from zoo.config import compose_run
from zoo.errors import ZooError
from zoo.locks import is_locked, lock
from zoo.record import read
from zoo.running.run import run
from zoo.sweep import plan_sweep


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    place = tmp_path_factory.mktemp("undisturbed")
    jobs, _ = run_small_sweep(place)
    assert [job.state for job in jobs] == ["finished", "finished"]
    return results(place)


def out_of_memory(directory):
    """Raise a real MemoryError in an update of the training."""
    during_update(25, lambda: bytearray(2**62))


def full_disk(directory):
    """After the first checkpoint, limit the size of files, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = (100, resource.RLIM_INFINITY)
    once_under_way(directory, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits))


@pytest.mark.parametrize(
    "disturb", [killed, out_of_memory, terminated, pytest.param(full_disk, marks=pytest.mark.slow)]
)
def test_a_disturbed_worker_is_cut_off_and_resumed_bit_for_bit(tmp_path, undisturbed, disturb):
    launcher = Forked(lambda directory: disturb(directory) if "realnvp" in directory.name else None)
    jobs, output = run_small_sweep(tmp_path, launcher)
    assert [job.state for job in jobs] == ["cut off", "finished"], output
    assert "the same command resumes it" in output
    finished = next((tmp_path / "runs").glob("maf*/record.json")).stat().st_mtime_ns
    jobs, output = run_small_sweep(tmp_path)
    assert "2 jobs, 1 done, 1 left" in output
    assert [job.state for job in jobs] == ["finished", "finished"]
    resumed = read(jobs[0].directory).stability.resumed_at
    assert resumed == 25 if disturb is terminated else resumed % 10 == 0 < resumed
    assert (jobs[1].directory / "record.json").stat().st_mtime_ns == finished, "the finished run is untouched"
    assert results(tmp_path) == undisturbed


# Python runs this file at its start: the first rank of a run aborts as soon as there is a checkpoint.
ABORTING = """
import os, sys, threading, time
from pathlib import Path

def abort():
    while not list(Path("runs").glob("*/*/checkpoints/last.ckpt")):
        time.sleep(0.01)
    os.abort()

if os.environ.get("ABORT") and "train" in sys.orig_argv and "LOCAL_RANK" not in os.environ:
    threading.Thread(target=abort, daemon=True).start()
"""


@pytest.mark.slow
def test_a_job_of_two_ranks_whose_first_aborts_is_resumed_by_the_same_command(tmp_path):
    two = SWEEP.replace("trainer: cpu", "trainer: ddp\n  trainer.accelerator: cpu\n  trainer.devices: 2")
    (tmp_path / "mine.yaml").write_text(two.replace("realnvp, maf", "maf"))
    (tmp_path / "sitecustomize.py").write_text(ABORTING)
    command = [sys.executable, "-m", "zoo", "sweep", "mine.yaml"]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    first = subprocess.run(
        command, cwd=tmp_path, env={**environment, "ABORT": "1"}, capture_output=True, text=True, check=False
    )
    assert first.returncode == 2
    assert "cut off" in first.stdout
    assert "SIGABRT" in first.stdout
    (directory,) = (tmp_path / "runs/mine").glob("maf*")
    assert not (directory / "record.json").exists()
    second = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert second.returncode == 0
    record = read(directory)
    assert (record.status, record.stability.resumed_at > 0) == ("finished", True)
    ends = [entry["end"] for entry in json.loads((directory / "attempts.json").read_text())]
    assert ends == ["killed", "finished"]


def sweep_in_process(place):
    """Start the sweep in a new process."""
    process = multiprocessing.get_context("fork").Process(target=run_small_sweep, args=(place, Forked()))
    process.start()
    return process


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_sweep_leaves_no_process_and_loses_nothing(tmp_path, undisturbed, signum):
    process = sweep_in_process(tmp_path)
    until(lambda: list((tmp_path / "runs").glob("*/checkpoints/last.ckpt")))
    os.kill(process.pid, signum)
    process.join()
    (directory,) = (path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    until(lambda: not is_locked(directory))  # after SIGKILL the worker ends by itself
    assert not (directory / "record.json").exists()
    run_small_sweep(tmp_path)
    assert results(tmp_path) == undisturbed


@pytest.mark.slow
def test_two_sweeps_of_one_directory_share_its_jobs(tmp_path, undisturbed):
    (tmp_path / "mine.yaml").write_text(SWEEP)
    other = sweep_in_process(tmp_path)
    jobs, _ = run_small_sweep(tmp_path)
    other.join()
    assert other.exitcode == 0
    assert [job.state for job in jobs] == ["finished", "finished"]
    assert results(tmp_path) == undisturbed


def test_a_failed_job_is_repeated_only_on_request(tmp_path):
    (tmp_path / "mine.yaml").write_text(SWEEP.replace("model: [realnvp, maf]", "model: [realnvp]"))
    failing = Forked(lambda directory: during_update(3, lambda: [].pop()))
    jobs, _ = run_small_sweep(tmp_path, failing)
    assert jobs[0].state == "failed"
    record = jobs[0].directory / "record.json"
    before = record.stat().st_mtime_ns
    jobs, output = run_small_sweep(tmp_path)
    assert "1 done, 0 left" in output
    assert record.stat().st_mtime_ns == before
    jobs, output = run_small_sweep(tmp_path, failing, retry_failed=True)
    assert "0 done, 1 left" in output
    assert jobs[0].state == "failed"
    assert record.stat().st_mtime_ns > before


def test_a_job_with_a_slip_is_refused_and_the_others_are_made(tmp_path):
    (tmp_path / "mine.yaml").write_text(SWEEP + "when: {model=maf: {model.hidden: oops}}\n")
    for _ in range(2):  # it is refused each time, and never taken for a failed model
        jobs, output = run_small_sweep(tmp_path)
        assert [job.state for job in jobs] == ["finished", "refused"]
        assert "refused in" in output
        assert "model.hidden must be a list of whole numbers, each at least 1; got 'oops'." in output
        assert [path.name for path in (tmp_path / "runs").iterdir() if path.is_dir()] == [
            jobs[0].identity.run_id
        ]


def test_a_sweep_says_what_is_done_and_makes_it_again_on_request(tmp_path):
    (tmp_path / "mine.yaml").write_text(SWEEP.replace("model: [realnvp, maf]", "model: [realnvp]"))
    jobs, output = run_small_sweep(tmp_path)
    assert "already done" not in output
    record = jobs[0].directory / "record.json"
    before = read(jobs[0].directory).provenance.finished_at
    jobs, output = run_small_sweep(tmp_path)
    assert "All jobs are already done, nothing was trained for them." in output
    assert f"The last one ended on {before[:10]} at {before[11:16]} (UTC). --again makes" in output
    old = record.stat().st_mtime_ns
    jobs, output = run_small_sweep(tmp_path, again=True)
    assert "0 done, 1 left" in output
    assert jobs[0].state == "finished"
    assert record.stat().st_mtime_ns > old


def test_a_job_that_failed_elsewhere_is_not_repeated(tmp_path, monkeypatch):
    """Two sweeps start the same job at once; the second waits for the first and accepts its failure."""
    (tmp_path / "mine.yaml").write_text(SWEEP)

    def fail(*_):
        raise ZooError("oops")

    monkeypatch.setattr("zoo.running.run.judge_run", fail)
    job = plan_sweep(str(tmp_path / "mine.yaml"), [], tmp_path / "runs").jobs[0]
    config = compose_run(job.overrides)
    with pytest.raises(ZooError, match="oops"):
        run(config, job.directory)
    record = job.directory / "record.json"
    first = record.read_bytes()
    record.unlink()
    with ThreadPoolExecutor(1) as pool:
        with lock(job.directory):
            second = pool.submit(run, config, job.directory)
            time.sleep(0.5)  # it waits for the lock
            record.write_bytes(first)
        with pytest.raises(ZooError, match="oops"):
            second.result()
    assert record.read_bytes() == first
    with pytest.raises(ZooError, match="oops"):
        run(config, job.directory)  # a later command runs the job again
    assert record.read_bytes() != first


def contents(directory):
    """Return the contents of all files of a run but those of its lock."""
    files = (file for file in directory.rglob("*") if file.is_file() and not file.name.startswith(".lock"))
    return {file: file.read_bytes() for file in files}


def test_a_directory_is_not_overwritten_by_a_run_with_other_settings(tmp_path):
    (tmp_path / "mine.yaml").write_text(SWEEP)
    jobs, _ = run_small_sweep(tmp_path, Forked(lambda d: terminated(d) if "realnvp" in d.name else None))
    assert [job.state for job in jobs] == ["cut off", "finished"]
    for job in jobs:
        before = contents(job.directory)
        for other, name in (("seed=1", "seed"), ("training.lr=0.5", r"training\.lr")):
            sentence = rf"holds a run with other settings \(another {name}\); leave out hydra\.run\.dir"
            with pytest.raises(ZooError, match=sentence):
                run(compose_run([*job.overrides, other]), job.directory)
        assert contents(job.directory) == before


@pytest.mark.slow
def test_an_interrupted_sweep_leaves_a_checkpoint_of_each_job(tmp_path):
    (tmp_path / "mine.yaml").write_text(SWEEP.replace("updates: 50", "updates: 100000"))
    command = [sys.executable, "-m", "zoo", "sweep", "mine.yaml", "--jobs", "2", "-o", "runs"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)

    def both_train():
        progress = list((tmp_path / "runs").glob("*/progress.json"))
        return len(progress) == 2 and all(json.loads(f.read_text())["updates"] > 10 for f in progress)

    try:
        until(both_train, 180)  # on a busy machine new processes need most of a minute to start
        process.send_signal(signal.SIGINT)
        process.wait()
    finally:
        process.kill()  # its jobs would train for hours
    assert len(list((tmp_path / "runs").glob("*/checkpoints/last.ckpt"))) == 2
