"""The launcher for Slurm with fake commands in place of Slurm's; ``test_slurm.py`` uses the real ones."""

from __future__ import annotations

import io
import os
import pickle
import re
import signal
import time

import pytest
from rich.console import Console

from zoo.errors import CUT_OFF, ZooError
from zoo.processes import ENDING, child_environment
from zoo.record import Record
from zoo.sweep import run_sweep, slurm, slurm_queue, slurm_task
from zoo.sweep.slurm import FOLDER, Slurm, is_slurm, launcher_settings
from zoo.sweep.slurm_task import Task

pytest.importorskip("hydra_plugins.hydra_submitit_launcher")

JOB = ["model=maf", "data=moons", "launcher=slurm", "hydra.launcher.partition=gpu"]

COMMANDS = {
    "srun": "",
    "squeue": 'echo >> "$PLACE/squeue-calls"; test -e "$PLACE/down" && exit 1; cat "$PLACE/queue"',
    "sbatch": """
        test -e "$PLACE/unreached" && { echo "Unable to contact slurm controller" >&2; exit 1; }
        grep -q partition=nowhere "$1" && { echo "invalid partition specified: nowhere" >&2; exit 1; }
        number=$(($(wc -l < "$PLACE/queue") + 1))
        echo >> "$PLACE/sbatch-calls"
        name=$(sed -n "s/#SBATCH --job-name=//p" "$1" | tr -d "'")
        last=$(sed -n "s/#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p" "$1")
        if test -n "$last"; then
            for task in $(seq 0 "$last"); do echo "${number}_$task|PENDING|$name" >> "$PLACE/queue"; done
        else
            echo "$number|PENDING|$name" >> "$PLACE/queue"
        fi
        cp "$1" "$PLACE/$number.sh"
        echo "Submitted batch job $number"
    """,
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return a folder with the file ``queue`` of the fake commands and a run's directory."""
    (tmp_path / "bin").mkdir()
    for name, text in COMMANDS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("PLACE", str(tmp_path))
    (tmp_path / "queue").touch()
    (tmp_path / "run").mkdir()
    return tmp_path


def queue(place, *change):
    file = place / "queue"
    if change:
        file.write_text(file.read_text().replace(*change))
    return file.read_text().splitlines()


def test_a_job_is_submitted_once_and_found_again(place):
    job = Slurm(JOB, every=0).start(JOB, place / "run", 1)
    assert job.poll() is None
    assert job.queued
    script = (place / "1.sh").read_text()
    for option in ("--partition=gpu", "--cpus-per-task=4", "--signal=USR2@120", "--requeue", "--time=1440"):
        assert f"#SBATCH {option}" in script
    assert re.search(r"^srun .*--wait=0 ", script, re.M), "the first rank judges after the others have ended"
    other = Slurm(JOB, every=0)  # a second sweep, started later or at the same time
    assert other.attach(place / "elsewhere" / "run") is None, "the same run of another sweep is another job"
    assert (
        other.attach(place / "run").number == other.start(JOB, place / "run", 1).number == job.number == "1"
    )
    assert len(queue(place)) == 1
    queue(place, "PENDING", "RUNNING")
    assert job.poll() is None
    assert not job.queued


def test_a_job_ends_with_the_exit_code_of_its_run(place):
    job = Slurm(JOB, every=0).start(JOB, place / "run", 1)
    (place / "run" / FOLDER / "1_0_result.pkl").write_bytes(pickle.dumps(("success", 2)))
    assert job.poll() == 2


def test_a_job_that_slurm_ends_is_cut_off_and_submitted_again(place):
    launcher = Slurm(JOB, every=0)
    job = launcher.start(JOB, place / "run", 1)
    queue(place, "PENDING", "CANCELLED")
    assert job.poll() == CUT_OFF
    assert "Slurm's job 1 has ended (CANCELLED)" in (place / "run" / "log.txt").read_text()
    assert launcher.attach(place / "run") is None
    assert launcher.start(JOB, place / "run", 1).number == "2"


def test_a_job_counts_as_running_while_slurm_does_not_answer(place):
    launcher = Slurm(JOB, every=0)
    job = launcher.start(JOB, place / "run", 1)
    (place / "other").mkdir()
    (place / "down").touch()
    queue(place, "PENDING", "CANCELLED")
    assert job.poll() is None
    assert launcher.start(JOB, place / "other", 1) is None
    (place / "down").unlink()
    assert job.poll() == CUT_OFF
    assert launcher.start(JOB, place / "other", 1).number == "2"


def test_a_sweep_waits_for_slurm_and_gives_up_after_minutes(place, monkeypatch):
    launcher = Slurm(JOB, every=1.0)
    now = time.monotonic()
    monkeypatch.setattr(slurm.time, "monotonic", lambda: now)
    (place / "down").touch()
    queries = 0
    for second in range(600):
        now = launcher.queue.last_answer + second
        assert launcher.start(JOB, place / "run", 1) is None
        queries += launcher.queue.last_query == now
    assert 5 < queries < 20, "ever more rarely"
    now = launcher.queue.last_answer + 601
    with pytest.raises(ZooError, match="Slurm has not answered for 10 minutes"):
        launcher.start(JOB, place / "run", 1)
    (place / "down").unlink()
    (place / "unreached").touch()  # squeue has answered, sbatch does not
    now += 100
    assert launcher.start(JOB, place / "run", 1) is None
    (place / "unreached").unlink()
    now += 100
    assert launcher.start(JOB, place / "run", 1).number == "1"
    assert launcher.queue.pause == 1.0


def calls(place, command):
    file = place / f"{command}-calls"
    return len(file.read_text()) if file.exists() else 0


SWEEP = """
overrides: {model: maf, data: moons, logger: none, launcher: slurm}
grid: {seed: "range(0,100)"}
"""


def sweep(place, *extra, **settings):
    file = place / "many.yaml"
    file.write_text(SWEEP.replace('"range(0,100)"', str(list(range(100)))))
    console = Console(file=io.StringIO(), width=200)
    jobs = run_sweep(str(file), extra, out=place / "runs", console=console, **settings)[1]
    return jobs, console.file.getvalue()


def test_a_hundred_jobs_are_one_array_that_needs_no_sweep(place, monkeypatch):
    jobs, printed = sweep(place, submit=True, parallel=8)
    assert "Submitted 100 jobs. No sweep need run" in printed
    assert (calls(place, "sbatch"), len(queue(place))) == (1, 100)
    assert calls(place, "squeue") <= 3
    script = (place / "1.sh").read_text()
    assert "#SBATCH --array=0-99%8" in script
    assert re.search(r"^srun .*--wait=0 ", script, re.M)
    launcher = Slurm(JOB, every=0)  # of a later sweep
    job = launcher.attach(jobs[41].directory)
    assert launcher.queue.pause == slurm_queue.RARELY
    monkeypatch.setattr(slurm_queue, "RARELY", 0.0)
    launcher.queue.refresh()
    assert (job.number, job.queued) == ("1_41", True)
    assert launcher.attach(place / "elsewhere" / jobs[41].directory.name) is None
    queue(place, "1_41|PENDING", "1_41|RUNNING")
    assert job.poll() is None
    assert not job.queued
    (job.folder / "1_41_0_result.pkl").write_bytes(pickle.dumps(("success", 2)))
    assert job.poll() == 2
    queue(place, "1_7|PENDING", "1_7|CANCELLED")
    assert "Submitted 1 job (99 were there" in sweep(place, submit=True)[1]
    assert (calls(place, "sbatch"), len(queue(place))) == (2, 101), "only the one that was cancelled"


def test_jobs_of_different_shapes_are_different_arrays(place):
    (place / "runs").mkdir()
    memory = [f"hydra.launcher.mem_gb={size}" for size in (8, 8, 64, 64, 64)]
    jobs = [([*JOB, f"seed={i}", size], place / "runs" / str(i)) for i, size in enumerate(memory)]
    for _, directory in jobs:
        directory.mkdir()
    assert Slurm(JOB, every=0).submit(jobs, 4)
    assert [len([line for line in queue(place) if line.startswith(f"{n}_")]) for n in (1, 3)] == [2, 3]
    assert "--mem=64GB" in (place / "3.sh").read_text()


def test_a_sweep_follows_its_array_with_few_questions(place, monkeypatch):
    monkeypatch.setattr(Slurm, "pace", 0.01)

    def ended(job):
        """The run of a task finishes as soon as the sweep looks at it."""
        Record(job.directory.name, "maf", "flow", "moons", 0, "finished").write(job.directory)
        return 0

    monkeypatch.setattr(slurm.Submitted, "poll", ended)
    jobs, _ = sweep(place, parallel=40)
    assert {job.state for job in jobs} == {"finished"}
    assert calls(place, "sbatch") == 3, "40, 40 and 20"
    assert calls(place, "squeue") <= 6


ASYNC = """
overrides: {model: maf, data: moons, logger: none, launcher: slurm}
search: {mode: async, trials: 7, space: {training.lr: {low: 1e-4, high: 1e-1, log: true}}}
"""


def test_a_search_that_ends_finds_its_trials_in_the_queue_again(place, monkeypatch):
    pytest.importorskip("optuna")
    monkeypatch.setattr(Slurm, "pace", 0.01)
    (place / "search.yaml").write_text(ASYNC)

    def search():
        console = Console(file=io.StringIO(), width=200)
        jobs = run_sweep(str(place / "search.yaml"), out=place / "runs", console=console, parallel=3)[1]
        return jobs, console.file.getvalue()

    def interrupted(job):
        raise KeyboardInterrupt

    monkeypatch.setattr(slurm.Submitted, "poll", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search()
    assert len(queue(place)) == 3, "no more than --jobs, though Slurm would take them"

    def ended(job):
        """A trial's run finishes as soon as the sweep looks at it."""
        (job.directory / "curves.csv").write_text("updates,val/loss\n1,2.5\n")
        Record(job.directory.name, "maf", "flow", "moons", 0, "finished").write(job.directory)
        return 0

    monkeypatch.setattr(slurm.Submitted, "poll", ended)
    jobs, printed = search()
    assert [job.state for job in jobs] == ["finished"] * 7
    assert len(queue(place)) == 7, "the three that were in the queue are not submitted again"
    assert "Best of 7 trials: val/loss 2.5" in printed


def test_a_task_of_an_array_puts_itself_alone_back_into_the_queue(place, monkeypatch):
    for name, value in {"JOB_ID": "91", "ARRAY_JOB_ID": "91", "ARRAY_TASK_ID": "3"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    for name, text in {"squeue": "echo RUNNING", "scontrol": 'echo "$@" > "$PLACE/asked"'}.items():
        (place / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (place / "bin" / name).chmod(0o755)
    assert Task([], place / "run", 1, 3).requeue()
    assert (place / "asked").read_text() == "requeue 91_3\n"


def test_submitting_needs_a_queue_and_no_search(place):
    with pytest.raises(ZooError, match="it needs launcher=slurm"):
        sweep(place, "launcher=local", submit=True)


@pytest.mark.parametrize(("rank", "code"), [("1", 0), ("0", CUT_OFF)])
def test_only_the_first_rank_prints_that_a_job_was_cut_off(rank, code, tmp_path, monkeypatch):
    class Run:
        poll = terminate = lambda self: None

        def wait(self):
            os.kill(os.getpid(), signal.SIGUSR2)  # the job's time is nearly over
            return CUT_OFF

    def leave(code):
        raise SystemExit(code)

    kept = {signum: signal.getsignal(signum) for signum in ENDING}
    monkeypatch.setattr(slurm_task, "launch", lambda *_, **__: Run())
    monkeypatch.setattr(slurm_task.os, "_exit", leave)
    monkeypatch.setattr(Task, "requeue", lambda self: True)
    monkeypatch.setenv("SLURM_PROCID", rank)
    try:
        with pytest.raises(SystemExit) as end:
            Task([], tmp_path, 1, 3)()
    finally:
        for signum, handler in kept.items():
            signal.signal(signum, handler)
    assert end.value.code == code


def test_only_the_ranks_of_a_job_know_their_task(monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    assert not {"SLURM_PROCID", "SLURM_NTASKS"} & child_environment().keys(), "a sweep inside an allocation"
    assert child_environment(rank=True)["SLURM_PROCID"] == "1"


def test_mistakes_are_errors_of_one_sentence(place, monkeypatch):
    nowhere = [*JOB, "hydra.launcher.partition=nowhere"]
    with pytest.raises(ZooError, match=r"Slurm refuses a job: .*invalid partition specified: nowhere"):
        Slurm(nowhere).start(nowhere, place / "run", 1)
    with pytest.raises(ZooError, match=r"trainer\.devices=auto and trainer\.num_nodes=1 must be numbers"):
        launcher_settings([*JOB, "trainer.devices=auto"])
    assert not is_slurm(["launcher=submitit_local"])
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ZooError, match="login node"):
        Slurm(JOB)
