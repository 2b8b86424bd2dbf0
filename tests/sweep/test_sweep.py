"""Sweeps survive: whatever is killed, filled up or started twice, the table is that of an undisturbed sweep.

Workers are forked, which spares each of them the import of torch; ``test_cli.py`` has the same paths with
real commands.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import multiprocessing
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from rich.console import Console

from zoo import sweep
from zoo.cli import main
from zoo.config import check_choices, compose_run, run_dir_override
from zoo.errors import ZooError
from zoo.processes import PARENT, is_locked, lock
from zoo.record import read
from zoo.running.provenance import provenance
from zoo.running.run import run
from zoo.running.spec import RunSpec
from zoo.sweep import objective, plan_sweep
from zoo.sweep.display import make_display
from zoo.sweep.launcher import Local
from zoo.sweep.run import _close as account_for
from zoo.sweep.search import Search

SWEEP = """
overrides:
  data: moons
  data.train: 200
  data.val: 40
  data.test: 40
  logger: none
  trainer: cpu
  model.hidden: [8]
  training.updates: 100
  training.batch_size: 16
  training.validations: 10
  evaluation.samples: 20
  evaluation.latency_repeats: 1
  evaluation.throughput_repeats: 1
  evaluation.throughput_batches: [4]
  evaluation.time_limit_seconds: 0.01
grid: {model: [realnvp, maf], seed: [0]}
"""


class Forked(Local):
    """A launcher whose workers are forks of this process; ``disturb`` may do harm to the first of a run."""

    def __init__(self, disturb=None):
        self.disturb, self.workers = disturb, []

    def start(self, overrides, directory, threads):
        parent, pid = os.getpid(), os.fork()
        if pid == 0:
            os.setsid()
            os.environ[PARENT] = str(parent)
            os.environ["ZOO_QUIET"] = "1"
            code = 1
            with contextlib.suppress(BaseException):
                log = os.open(directory / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(log, 1), os.dup2(log, 2)
                sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
                torch.set_num_threads(1)
                if self.disturb is not None:
                    self.disturb(directory)
                code = main(["train", *overrides, run_dir_override(directory)])
                sys.stderr.flush()
            os._exit(code)
        self.workers.append(Fork(pid))
        return self.workers[-1]


class Fork:
    queued = False

    def __init__(self, pid):
        self.pid, self.code = pid, None

    def poll(self):
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def interrupt(self):
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self):
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def run_sweep(place, launcher=None, **settings):
    """Run the sweep in ``place``; its jobs and what it printed."""
    printed = io.StringIO()
    file = place / "mine.yaml"
    if not file.exists():
        place.mkdir(exist_ok=True)
        file.write_text(SWEEP)
    console = Console(file=printed, width=200)
    _, jobs = sweep.run_sweep(
        str(file), out=place / "runs", console=console, launcher=launcher or Forked(), **settings
    )
    return jobs, printed.getvalue()


def result(place):
    """All that a sweep's records and checkpoints say and that does not depend on the clock."""
    found = {}
    for file in sorted((place / "runs").glob("*/record.json")):
        record = json.loads(file.read_text())
        for clocked in ("sampling", "stability"):
            record.pop(clocked)
        record["cost"] = {
            k: record["cost"][k] for k in ("parameters", "updates", "images_seen", "batch_size")
        }
        record["provenance"] = {
            k: v
            for k, v in record["provenance"].items()
            if k not in ("finished_at", "git_commit", "hardware")
        }
        weights = torch.load(file.parent / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        rows = [line.split(",") for line in (file.parent / "curves.csv").read_text().splitlines()]
        clock = [i for i, name in enumerate(rows[0]) if name.endswith("_seconds")]
        curves = [[v for i, v in enumerate(row) if i not in clock] for row in rows]
        found[record["run_id"]] = record, {k: v.tolist() for k, v in weights.items()}, curves
    return found


def when_under_way(directory, act):
    """In a thread of a worker: ``act()`` once it has a checkpoint."""
    import threading

    def wait():
        while not (directory / "checkpoints/last.ckpt").exists():
            time.sleep(0.002)
        act()

    threading.Thread(target=wait, daemon=True).start()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    place = tmp_path_factory.mktemp("undisturbed")
    jobs, _ = run_sweep(place)
    assert [job.state for job in jobs] == ["finished", "finished"]
    return result(place)


def killed(directory):
    when_under_way(directory, lambda: os.kill(os.getpid(), signal.SIGKILL))


def out_of_memory(directory):
    """What a real shortage raises, at an update of the training."""
    from zoo.training.module import TrainingModule

    average = TrainingModule.average_weights

    def full(self):
        if self.updates == 25:
            bytearray(2**62)  # MemoryError
        average(self)

    TrainingModule.average_weights = full


def full_disk(directory):
    """No file can grow past a small size once a checkpoint is there, as on a disk that is full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = (100, resource.RLIM_INFINITY)
    when_under_way(directory, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits))


def asked_to_end(directory):
    """In the middle of an update, between two validations."""
    from zoo.training.module import TrainingModule

    average = TrainingModule.average_weights

    def ask(self):
        if self.updates == 25:
            os.kill(os.getpid(), signal.SIGTERM)
        average(self)

    TrainingModule.average_weights = ask


@pytest.mark.parametrize(
    "disturb",
    [
        killed,
        out_of_memory,
        asked_to_end,
        pytest.param(full_disk, marks=pytest.mark.slow),
    ],
)
def test_a_disturbed_worker_is_cut_off_and_resumed_bit_for_bit(tmp_path, undisturbed, disturb):
    first = Forked(lambda directory: disturb(directory) if "realnvp" in directory.name else None)
    jobs, printed = run_sweep(tmp_path, first)
    assert [job.state for job in jobs] == ["cut off", "finished"], printed
    assert "the same command resumes it" in printed
    finished = next((tmp_path / "runs").glob("maf*/record.json")).stat().st_mtime_ns
    jobs, printed = run_sweep(tmp_path)
    assert "2 jobs, 1 done, 1 left" in printed
    assert [job.state for job in jobs] == ["finished", "finished"]
    resumed = read(jobs[0].directory).stability.resumed_at
    assert resumed == 25 if disturb is asked_to_end else resumed % 10 == 0 < resumed
    assert (jobs[1].directory / "record.json").stat().st_mtime_ns == finished, "it was not touched"
    assert result(tmp_path) == undisturbed


def swept(place, disturb=None):
    """A sweep in a process of its own."""
    process = multiprocessing.get_context("fork").Process(target=run_sweep, args=(place, Forked(disturb)))
    process.start()
    return process


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_sweep_leaves_no_process_and_loses_nothing(tmp_path, undisturbed, signum):
    process = swept(tmp_path)
    until(lambda: list((tmp_path / "runs").glob("*/checkpoints/last.ckpt")))
    os.kill(process.pid, signum)
    process.join()
    (worked,) = (tmp_path / "runs").iterdir()
    until(lambda: not is_locked(worked))  # its worker, which the sweep could not end, ends by itself
    assert not (worked / "record.json").exists()
    run_sweep(tmp_path)
    assert result(tmp_path) == undisturbed


@pytest.mark.slow
def test_two_sweeps_of_one_directory_share_its_jobs(tmp_path, undisturbed):
    (tmp_path / "mine.yaml").write_text(SWEEP)
    other = swept(tmp_path)
    started = Forked()
    jobs, _ = run_sweep(tmp_path, started)
    other.join()
    assert other.exitcode == 0
    assert [job.state for job in jobs] == ["finished", "finished"]
    assert result(tmp_path) == undisturbed


def test_a_launcher_that_a_sweep_cannot_use_is_refused(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    with pytest.raises(ZooError, match="launcher=local or launcher=slurm; got joblib"):
        sweep.run_sweep("quickstart", ["launcher=joblib"], out=tmp_path, console=Console(file=io.StringIO()))
    assert not list(tmp_path.iterdir())


def test_a_failed_job_is_tried_again_only_when_asked(tmp_path):
    (tmp_path / "mine.yaml").write_text(SWEEP.replace("model: [realnvp, maf]", "model: [realnvp]"))
    (tmp_path / "mine.yaml").open("a").write("when: {model=realnvp: {model.hidden: oops}}\n")
    jobs, _ = run_sweep(tmp_path)
    assert jobs[0].state == "failed"
    record = jobs[0].directory / "record.json"
    before = record.stat().st_mtime_ns
    jobs, printed = run_sweep(tmp_path)
    assert "1 done, 0 left" in printed
    assert record.stat().st_mtime_ns == before
    jobs, printed = run_sweep(tmp_path, retry_failed=True)
    assert "0 done, 1 left" in printed
    assert jobs[0].state == "failed"
    assert record.stat().st_mtime_ns > before


def test_a_terminal_shows_reasons_as_they_are(tmp_path):
    (tmp_path / "mine.yaml").write_text(SWEEP)
    found = plan_sweep(str(tmp_path / "mine.yaml"), [], tmp_path / "runs")
    printed = io.StringIO()
    with make_display(found, Console(file=printed, width=200, force_terminal=True)) as shown:
        job = found.jobs[0]
        job.state, job.reason = "failed", "cannot read the prior in [/data/prior.npz] of [blue]"
        shown.ended(job)
        shown.update()
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", printed.getvalue())
    assert "cannot read the prior in [/data/prior.npz] of [blue]" in text


@pytest.mark.parametrize(("code", "state"), [(-signal.SIGKILL, "cut off"), (-signal.SIGSEGV, "failed")])
def test_a_job_that_crashes_has_failed_and_one_that_is_killed_has_not(tmp_path, code, state):
    (tmp_path / "mine.yaml").write_text(SWEEP)
    job = plan_sweep(str(tmp_path / "mine.yaml"), [], tmp_path / "runs").jobs[0]
    job.directory.mkdir(parents=True)
    account_for(job, code)
    assert job.state == state
    assert signal.Signals(-code).name in job.reason
    assert (job.directory / "record.json").exists() == (state == "failed")


def test_what_another_process_tried_meanwhile_is_not_tried_again(tmp_path):
    """Two sweeps start the same job at once; the second waits for the first, whose failure stands."""
    (tmp_path / "mine.yaml").write_text(SWEEP.replace("[8]", "oops"))
    job = plan_sweep(str(tmp_path / "mine.yaml"), [], tmp_path / "runs").jobs[0]
    config = compose_run(job.overrides)
    with pytest.raises(ZooError, match="oops"):
        run(config, job.directory)
    record = job.directory / "record.json"
    told = record.read_bytes()
    record.unlink()
    with ThreadPoolExecutor(1) as pool:
        with lock(job.directory):
            second = pool.submit(run, config, job.directory)
            time.sleep(0.5)  # it waits
            record.write_bytes(told)
        with pytest.raises(ZooError, match="oops"):
            second.result()
    assert record.read_bytes() == told
    with pytest.raises(ZooError, match="oops"):
        run(config, job.directory)  # a later one tries again
    assert record.read_bytes() != told


def test_a_directory_keeps_the_run_that_it_holds(tmp_path):
    (tmp_path / "mine.yaml").write_text(SWEEP)
    jobs, _ = run_sweep(tmp_path, Forked(lambda d: asked_to_end(d) if "realnvp" in d.name else None))
    states = [job.state for job in jobs]
    assert states == ["cut off", "finished"]
    for job in jobs:
        kept = {file: file.read_bytes() for file in job.directory.rglob("*") if file.is_file()}
        for other in ("seed=1", "training.lr=0.5"):
            with pytest.raises(ZooError, match=r"holds a run with other settings; leave out hydra\.run\.dir"):
                run(compose_run([*job.overrides, other]), job.directory)
        assert {file: file.read_bytes() for file in job.directory.rglob("*") if file.is_file()} == kept


@pytest.mark.slow
def test_an_interrupted_sweep_leaves_a_checkpoint_of_each_job_at_hand(tmp_path):
    (tmp_path / "mine.yaml").write_text(SWEEP.replace("updates: 100", "updates: 100000"))
    command = [sys.executable, "-m", "zoo", "sweep", "mine.yaml", "--jobs", "2", "-o", "runs"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)

    def under_way():
        progress = list((tmp_path / "runs").glob("*/progress.json"))
        return len(progress) == 2 and all(json.loads(f.read_text())["updates"] > 10 for f in progress)

    until(under_way)
    process.send_signal(signal.SIGINT)
    process.wait()
    assert len(list((tmp_path / "runs").glob("*/checkpoints/last.ckpt"))) == 2


SEARCH = """
search:
  trials: 5
  batch: 2
  seed: 3
  space:
    training.lr: {low: 1e-4, high: 1e-1, log: true}
    model.hidden: {choices: [[4], [8, 8]]}
"""


@pytest.mark.slow
def test_a_search_goes_on_where_it_was_cut_off(tmp_path):
    pytest.importorskip("optuna")
    text = SWEEP.replace("model: [realnvp, maf]", "model: [realnvp]") + SEARCH
    for place in ("whole", "cut"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "mine.yaml").write_text(text)
    whole, printed = run_sweep(tmp_path / "whole", parallel=2)
    assert "5 jobs" in printed
    assert len(whole) == 5
    assert "Best of 5 trials: val/loss" in printed
    best = min(objective(job.directory) for job in whole)
    assert f"val/loss {best:.6g}" in printed

    cut, printed = run_sweep(tmp_path / "cut", Forked(killed))
    assert [job.state for job in cut] == ["cut off", "cut off"]
    assert "waits for trials that were cut off" in printed
    run_sweep(tmp_path / "cut")
    assert result(tmp_path / "cut") == result(tmp_path / "whole")
    ran = Forked()
    run_sweep(tmp_path / "cut", ran)
    assert not ran.workers, "every trial has been made"
    _, printed = run_sweep(tmp_path / "cut", dry_run=True)
    assert "5 jobs, 5 done, 0 left" in printed


def test_a_search_learns_and_asks_the_same_again(tmp_path):
    pytest.importorskip("optuna")

    def make(directory, **more):
        settings = {"trials": 40, "batch": 4, "space": {"x": {"low": -10.0, "high": 10.0}}} | more
        return Search(settings, ["model=maf"], directory)

    def play(search):
        while not search.done:
            search.tell([(trial, (trial["x"] - 3) ** 2) for trial in search.ask()])
        return search

    search = play(make(tmp_path / "a"))
    late, early = search.told[20:], search.told[:8]
    assert sum(v for _, v in late) / 20 < sum(v for _, v in early) / 8
    assert search.best[1] < 1
    assert play(make(tmp_path / "b")).told == search.told
    half = make(tmp_path / "a")  # resumed: what was proposed is on the disk
    half.tell(search.told[:8])
    assert half.ask() == [trial for trial, _ in search.told[8:12]]
    assert play(make(tmp_path / "c", seed=1)).told != search.told


def test_a_search_keeps_away_from_what_diverges(tmp_path):
    pytest.importorskip("optuna")
    space = {"x": {"low": 0.0, "high": 10.0}}
    search = Search({"trials": 60, "batch": 4, "space": space}, ["model=maf"], tmp_path)
    while not search.done:  # a tenth of the space is sound
        search.tell([(t, 1 - t["x"] if t["x"] < 1 else math.inf) for t in search.ask()])
    late = [value for _, value in search.told[30:]]
    assert sum(map(math.isfinite, late)) > len(late) / 3


def refused(search):
    """The sentence by which a sweep with this search is refused, before anything runs."""
    Path("mine.yaml").write_text(f"overrides: {{data: moons}}\nsearch: {search}\n")
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed):
        assert main(["sweep", "mine.yaml"]) == 2
    assert not Path("runs").exists()
    assert printed.getvalue().count("\n") == 1
    return printed.getvalue()


@pytest.mark.parametrize(
    ("search", "word"),
    [
        ("", "trials"), ("{}", "trials"), ("{space: SPACE}", "trials"),
        ("{trials: abc, space: SPACE}", "trials"), ("{trials: 0, space: SPACE}", "trials"),
        ("{trials: 2.5, space: SPACE}", "trials"), ("{trials: true, space: SPACE}", "trials"),
        ("{trials: 2, batch: 0, space: SPACE}", "batch"), ("{trials: 2, seed: x, space: SPACE}", "seed"),
        ("{trials: 2, sampler: magic, space: SPACE}", "tpe or random"),
        ("{trails: 2, space: SPACE}", "did you mean trials"), ("{3: 2, space: SPACE}", "'3'"),
        ("{trials: 2}", "space"), ("{trials: 2, space: {}}", "space"),
        ("{trials: 2, space: [seed]}", "space"),
        ("{trials: 2, space: {3: {choices: [1]}}}", "space"),
        ("{trials: 2, space: {training.lrr: {choices: [1]}}}", "did you mean training.lr"),
        ("{trials: 2, space: {model: {choices: [maf, mfa]}}}", "did you mean maf"),  # not the first choice
    ],
)  # fmt: skip
def test_what_is_no_search_is_refused_before_anything_runs(workdir, search, word):
    assert word in refused(search.replace("SPACE", "{seed: {low: 0, high: 9}}"))


@pytest.mark.parametrize(
    ("axis", "rule"),
    [
        ("5", "`low` and `high`"), ("{low: 1}", "`low` and `high`"),
        ("{low: 0.1, high: 1, stp: 1}", "perhaps `log` or `step`"), ("{choices: [1], low: 1}", "alone"),
        ("{choices: []}", "as its `choices`"), ("{choices: 3}", "as its `choices`"),
        ("{choices: [2020-01-01]}", "as its `choices`"),
        ("{low: 0.1, high: 0.01}", "not below"), ("{low: a, high: 1}", "numbers"),
        ("{low: .nan, high: 1}", "numbers"), ("{low: 0.1, high: .inf}", "numbers"),
        ("{low: false, high: true}", "numbers"), ("{low: 0.1, high: 1, log: yess}", "`log: false`"),
        ("{low: 0, high: 1, log: true}", "above 0"), ("{low: -1e-3, high: 1, log: true}", "above 0"),
        ("{low: 0.1, high: 1, step: 0}", "above 0"), ("{low: 0.1, high: 1, step: a}", "above 0"),
        ("{low: 0.1, high: 1, step: 0.1, log: true}", "not both"),
    ],
)  # fmt: skip
def test_what_is_no_axis_of_a_search_is_refused(workdir, axis, rule):
    sentence = refused(f"{{trials: 2, space: {{seed: {{low: 0, high: 9}}, training.lr: {axis}}}}}")
    assert "The axis training.lr of a search must have" in sentence
    assert rule in sentence


def test_a_search_with_every_key_given_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("search: {trials: 2, space: {training.lr: {low: 1e-3, high: 1}}}\n")
    assert main(["sweep", "mine.yaml", "training.lr=0.1"]) == 2
    assert "nothing is left to search" in capsys.readouterr().err


def test_a_step_that_is_no_whole_number_makes_a_range_of_fractions(tmp_path):
    pytest.importorskip("optuna")
    space = {"x": {"low": 0, "high": 1, "step": 0.25}, "n": {"low": 0, "high": 10, "step": 5}}
    search = Search({"trials": 12, "batch": 12, "sampler": "random", "space": space}, [], tmp_path)
    trials = search.ask()
    assert {trial["x"] for trial in trials} <= {0, 0.25, 0.5, 0.75, 1}
    assert any(0 < trial["x"] < 1 for trial in trials)
    assert {trial["n"] for trial in trials} <= {0, 5, 10}
    assert all(isinstance(trial["n"], int) for trial in trials)


def test_the_plan_names_each_run_once(tmp_path):
    (tmp_path / "mine.yaml").write_text(SWEEP + "list: [{model: realnvp, seed: 0}, {model: maf, seed: 1}]\n")
    found = plan_sweep(str(tmp_path / "mine.yaml"), [], tmp_path / "runs")
    assert len(found.jobs) == found.size == 3
    assert [job.identity.run_id[:8] for job in found.jobs] == ["realnvp-", "maf-moon", "maf-moon"]
    assert [job.identity.seed for job in found.jobs] == [0, 0, 1]  # where each was named first
    jobs, printed = run_sweep(tmp_path, dry_run=True)
    assert "3 jobs, 0 done, 3 left" in printed
    assert not (tmp_path / "runs").exists()
    assert len(jobs) == 3


def test_a_sweep_says_how_many_threads_a_job_has(tmp_path, monkeypatch):
    given = []

    class Counting(Local):
        def start(self, overrides, directory, threads):
            given.append(threads)
            raise OSError("no room")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    for name, line in {"shared": "jobs: 2", "fixed": "jobs: 2\nthreads: 1"}.items():
        (tmp_path / f"{name}.yaml").write_text(f"{line}\n" + SWEEP)
        sweep.run_sweep(f"{name}.yaml", launcher=Counting(), console=Console(file=io.StringIO()))
    assert given == [4, 4, 1, 1]
    (tmp_path / "wrong.yaml").write_text("threads: many\n" + SWEEP)
    with pytest.raises(ZooError, match="threads"):
        sweep.run_sweep("wrong.yaml")


@pytest.mark.parametrize(
    "line",
    ["jobs: many", "jobs: -3", "threads: 0", "- model=vae", "grid: [1, 2]", "list: {model: vae}",
     "overrides: [a]", "blocks: 3", "variants: [1]", "when: {model=gan: 3}", "search: 5",
     "grid: {seed: [0]}\nblocks: [{grid: {seed: [1]}}]"],
)  # fmt: skip
def test_what_is_no_sweep_is_refused_in_a_sentence(tmp_path, capsys, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(line + "\n")
    assert main(["sweep", "mine.yaml", "--dry-run"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["sweep", "quickstart", "--dry-run", "--jobs", "0"]) == 2


def test_a_condition_that_meets_no_job_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whens = ["model=mfa: {training.lr: 0.1}", "model=maf: {training.lr: 0.1}", "data=moons: {}", "seed=7: {}"]
    Path("mine.yaml").write_text(SWEEP + "when:\n  " + "\n  ".join(whens) + "\n")
    assert main(["sweep", "mine.yaml", "--dry-run", "seed=7"]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note:")]
    assert told == ["note: no job meets the condition 'model=mfa' of 'when'."]
    assert main(["sweep", "mine.yaml", "--dry-run", "model=realnvp"]) == 0  # maf is left out on purpose
    assert "model=maf" not in capsys.readouterr().out.partition("Sweep")[0]


def test_the_plan_can_be_pasted(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(SWEEP.replace("[8]", "[8, 8]"))
    assert main(["sweep", "mine.yaml", "--dry-run"]) == 0
    (line, _) = [text for text in capsys.readouterr().out.splitlines() if "zoo train" in text]
    given = shlex.split(line)[3:]
    assert "model.hidden=[8, 8]" in given
    assert compose_run(given).model.hidden == [8, 8]
    lists = "training.augment=[translation,cutout]"
    assert main(["sweep", "quickstart", "--dry-run", "model=gan", lists]) == 0
    assert f"'{lists}'" in capsys.readouterr().out  # no markup of a terminal


def test_a_truncated_curve_is_mended(tmp_path):
    import zoo
    from zoo.training.callbacks import Curves
    from zoo.training.likelihood import MaximumLikelihood

    curves = Curves(Path(tmp_path))
    rule = MaximumLikelihood(zoo.build("maf", zoo.DataSpec((2,))), updates=50, batch_size=4)
    rule.updates = 20

    class Trainer:
        is_global_zero = True

    curves.file.write_text("updates,train/loss\n10,1.5\n20,1.25\n3")  # the last row was to be 30,...
    curves.on_fit_start(Trainer(), rule)
    lines = curves.file.read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["updates", "10", "20"]


DOCS = (Path(__file__).resolve().parents[2] / "docs/sweeps.md").read_text()
LINES = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", DOCS, re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.parametrize("line", LINES)
def test_the_commands_of_the_documentation_mean_something(line, workdir):
    """Sweeps are planned, runs composed; ``test_multirun.py`` runs their like."""
    _, verb, *arguments = shlex.split(line)
    overrides = [a for a in arguments if "=" in a]
    if "launcher=slurm" in overrides:
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    if verb == "sweep":
        if arguments[0] == "search":
            pytest.importorskip("optuna")
        _, jobs = sweep.run_sweep(arguments[0], overrides, dry_run=True, console=Console(file=io.StringIO()))
        assert jobs
    elif "-m" in arguments:
        check_choices(overrides)
        compose_run([o.partition(",")[0] for o in overrides if "joblib" not in o and "submitit" not in o])
    else:
        compose_run(overrides)


def test_the_yaml_of_the_documentation_is_a_sweep(tmp_path):
    for block in re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL):
        (tmp_path / "mine.yaml").write_text(block)
        assert plan_sweep(str(tmp_path / "mine.yaml"), [], tmp_path).size > 1


@pytest.fixture
def on_gpus(tmp_path, monkeypatch):
    """Start jobs that do nothing but show which GPUs they see, and beside how many; ends them all."""
    stub = tmp_path / "stub"
    stub.write_text('#!/bin/sh\necho "sees ${CUDA_VISIBLE_DEVICES-all} of ${ZOO_JOBS-}"\nexec sleep 60\n')
    stub.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(sys, "executable", str(stub))
    workers = []

    def begin(launcher, *overrides):
        directory = tmp_path / str(len(workers))
        directory.mkdir(exist_ok=True)
        worker = launcher.start(overrides, directory, 1)
        if worker is None:
            return "waits", None
        workers.append(worker)
        until(lambda: (directory / "log.txt").read_text())
        return (directory / "log.txt").read_text().split()[1], worker

    yield begin
    for worker in workers:
        worker.kill()


def test_jobs_share_the_gpus_out(on_gpus):
    launcher = Local(["3", "5", "GPU-c"])
    one, first = on_gpus(launcher)
    two, _ = on_gpus(launcher, "trainer.devices=1")
    assert (one, two) == ("3", "5")
    pair = ["trainer=ddp", "trainer.devices=2"]
    assert on_gpus(launcher, *pair)[0] == "waits"
    assert on_gpus(launcher, "trainer.devices=auto")[0] == "waits"
    assert on_gpus(launcher, "trainer=cpu")[0] == "all"
    first.kill()
    both, pair_worker = on_gpus(launcher, *pair)
    assert both == "3,GPU-c", "what a killed job had is free"
    assert on_gpus(launcher)[0] == "5", "no job of one beside a job of several"
    pair_worker.kill()
    assert [on_gpus(launcher)[0] for _ in range(3)] == ["3", "GPU-c", "3"], "the least used: 5 has two jobs"
    assert on_gpus(Local([]))[0] == "all"


def test_a_job_is_told_how_many_share_the_machine(on_gpus, tmp_path, monkeypatch):
    on_gpus(Local([], jobs=7))
    assert (tmp_path / "0" / "log.txt").read_text().split() == ["sees", "all", "of", "7"]
    config = compose_run(["model=realnvp", "data=moons"])
    for jobs, told in {"7": 7, None: None}.items():
        monkeypatch.setenv("ZOO_JOBS", jobs) if jobs else monkeypatch.delenv("ZOO_JOBS")
        assert provenance(RunSpec.of(config)).hardware.jobs == told


def test_a_sweep_sees_the_gpus_that_it_may_use(tmp_path, monkeypatch):
    for chosen, seen in {"2,GPU-7": ["2", "GPU-7"], "": [], "-1": [], "1,-1,0": ["1"]}.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
        assert Local().devices == seen
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: x)'\necho '  MIG 1g: y'\necho 'GPU 1: A (UUID: z)'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert Local().devices == ["0", "1"]


def test_a_job_without_room_waits_and_is_not_overtaken(tmp_path):
    asked, started = [], []

    class Over:
        queued = False

        def poll(self):
            return 75

    class Narrow(Local):
        pace = 0.01

        def start(self, overrides, directory, threads):
            asked.append(directory.name)
            if len(asked) % 3:
                return None
            started.append(directory.name)
            return Over()

    jobs, _ = run_sweep(tmp_path, launcher=Narrow([]), parallel=2)
    first, second = (job.directory.name for job in jobs)
    assert asked == [first] * 3 + [second] * 3
    assert started == [first, second]
    assert [job.state for job in jobs] == ["cut off", "cut off"]
