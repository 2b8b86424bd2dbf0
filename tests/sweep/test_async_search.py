"""An asynchronous search: no trial is lost or counted twice, whoever is killed and whenever."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from forked import SWEEP, Forked, killed, run_small_sweep
from forks import Fork

from zoo.cli import main
from zoo.config.overrides import split
from zoo.errors import ZooError
from zoo.journal import Journal, make_pruner
from zoo.locks import lock
from zoo.record import Record, read, remove_unfinished, write_atomic
from zoo.sweep import plan_sweep
from zoo.sweep.async_search import AsyncSearch
from zoo.sweep.launcher import Local
from zoo.sweep.search import SearchSettings
from zoo.sweep.space import Known, propose

optuna = pytest.importorskip("optuna")

STEPS = 4
SEARCH = """
search:
  mode: async
  trials: TRIALS
  pruner: {name: median, n_startup_trials: 2}
  space:
    training.lr: {low: 1e-4, high: 1e-1, log: true}
    model.hidden: {choices: [[4], [8, 8]]}
"""
TOY = "overrides: {data: moons, model: realnvp, logger: none, trainer: cpu}" + SEARCH


class Toys(Local):
    """A launcher of runs that only report: each has a lock, checkpoints, curves and a record."""

    def __init__(self, pause=0.01, status="finished"):
        self.pause, self.status, self.workers = pause, status, []

    def start(self, overrides, directory, threads):
        settings = dict(map(split, overrides))

        def job():
            os.setsid()
            with lock(directory):
                remove_unfinished(directory)
                if (directory / "record.json").exists() and read(directory).status != "failed":
                    return 0
                return toy_run(settings, directory, self.pause, self.status)

        self.workers.append(Fork(job))
        return self.workers[-1]


def toy_run(settings, directory, pause, status):
    journal, number = Journal(Path(settings["search.journal"].strip("'"))), int(settings["search.trial"])
    checkpoint = directory / "checkpoints/last.ckpt"
    checkpoint.parent.mkdir(exist_ok=True)
    first = int(checkpoint.read_text()) if checkpoint.exists() else 0
    rate = float(settings["training.lr"])
    record = Record(directory.name, "realnvp", "flow", "moons", 0, status)
    for step in range(first + 1, STEPS + 1):
        time.sleep(pause)
        loss = rate + 1 / step
        rows = "".join(f"{i},{rate + 1 / i}\n" for i in range(1, step + 1))
        write_atomic(directory / "curves.csv", f"updates,val/loss\n{rows}")
        given_up = journal.report(number, step, loss)
        write_atomic(checkpoint, str(step))
        if given_up and step < STEPS:
            record.status, record.reason = "pruned", f"Pruned at update {step}."
            break
    with (directory / "ends").open("a") as file:
        file.write(record.status + "\n")
    record.write(directory)
    return 0


def journal_of(place):
    (file,) = (place / "runs").glob("search-*/journal.jsonl")
    return file, Journal(file)


def check(place, trials):
    """Check that a search has this many trials, and each a result that is in the journal and on disk once."""
    file, journal = journal_of(place)
    for line in file.read_text().splitlines():
        json.loads(line)
    entries = journal.trials()
    assert len(entries) == trials
    assert all(entry.state.is_finished() for entry in entries)
    directories = list((place / "runs").glob("realnvp-*"))
    records = [read(path) for path in directories]
    assert not list((place / "runs").rglob(".record.json*")), "no half-written record"
    ends = [(path / "ends").read_text().split() for path in directories]
    assert all(len(set(end)) == 1 for end in ends)
    statuses = Counter(record.status for record in records)
    assert Counter(entry.user_attrs["status"] for entry in entries) == statuses, "no trial counts twice"
    assert sum(statuses.values()) == trials
    return entries, statuses


def make_sweep(place, trials):
    place.mkdir(exist_ok=True)
    (place / "mine.yaml").write_text(TOY.replace("TRIALS", str(trials)))


def test_a_search_runs_its_trials_and_gives_up_the_bad_ones(tmp_path):
    make_sweep(tmp_path, 8)
    jobs, output = run_small_sweep(tmp_path, Toys(), parallel=2)
    entries, statuses = check(tmp_path, 8)
    assert set(statuses) == {"finished", "pruned"}
    assert Counter(job.state for job in jobs) == statuses
    best = min(entry.value for entry in entries if entry.user_attrs["status"] == "finished")
    assert f"Best of 8 trials ({statuses['pruned']} pruned): val/loss {best:.6g}" in output
    for entry in entries:  # by the definition of the median pruner
        if entry.user_attrs["status"] == "pruned":
            assert entry.value == entry.intermediate_values[entry.last_step]

    launcher = Toys()
    jobs, output = run_small_sweep(tmp_path, launcher)
    assert not launcher.workers, "every trial has been made"
    assert "8 jobs, 8 done, 0 left" in output
    assert Counter(job.state for job in jobs) == statuses
    _, output = run_small_sweep(tmp_path, dry_run=True)
    assert "8 jobs, 8 done, 0 left" in output
    assert "search.trial" not in output

    make_sweep(tmp_path, 10)  # more trials continue the search
    jobs, output = run_small_sweep(tmp_path, launcher)
    assert "10 jobs, 8 done, 2 left" in output
    assert "8 of 10 jobs are already done" in output
    assert len(launcher.workers) == 2
    check(tmp_path, 10)


def test_workers_killed_at_random_lose_no_trial(tmp_path):
    make_sweep(tmp_path, 10)
    launcher, chance = Toys(pause=0.03), random.Random(0)
    start = launcher.start

    def start_and_kill(*args):
        worker = start(*args)
        if len(launcher.workers) <= 14:
            killer = Fork(
                lambda: time.sleep(chance.uniform(0, 0.2)) or os.kill(worker.pid, signal.SIGKILL) or 0
            )
            chance.random()
            killers.append(killer)
        return worker

    killers = []
    launcher.start = start_and_kill
    jobs, output = run_small_sweep(tmp_path, launcher, parallel=3)
    assert [killer.wait() for killer in killers]
    assert "killed by SIGKILL" in output
    assert len(launcher.workers) > 10
    check(tmp_path, 10)
    assert {job.state for job in jobs} <= {"finished", "pruned"}


def test_sweeps_killed_at_random_beside_another_one_lose_no_trial(tmp_path):
    make_sweep(tmp_path, 12)
    chance = random.Random(1)

    def sweep():
        os.setsid()
        with contextlib.redirect_stdout(io.StringIO()):
            run_small_sweep(tmp_path, Toys(pause=0.02), parallel=2)
        return 0

    def owners():
        return {entry.user_attrs["owner"] for entry in journal_of(tmp_path)[1].trials()}

    for _ in range(4):
        worker = Fork(sweep)
        time.sleep(chance.uniform(0.3, 0.8))
        worker.kill()
    both = [Fork(sweep), Fork(sweep)]
    assert [worker.wait() for worker in both] == [0, 0]
    check(tmp_path, 12)
    assert len(owners()) > 1, "more than one sweep has proposed or taken over trials"
    (folder,) = (tmp_path / "runs").glob("search-*/sweeps")
    assert not list(folder.iterdir()), "no place of a sweep is left"


@pytest.mark.slow
def test_real_runs_that_are_killed_resume_and_end_with_the_right_number_of_trials(tmp_path):
    text = SWEEP.replace("model: [realnvp, maf]", "model: [realnvp]") + SEARCH.replace("TRIALS", "6")
    (tmp_path / "mine.yaml").write_text(text)
    launcher = Forked(lambda directory: killed(directory) if len(launcher.workers) in (0, 2, 3) else None)
    jobs, _ = run_small_sweep(tmp_path, launcher, parallel=2)
    assert len(launcher.workers) > 6, "some were killed"
    entries = journal_of(tmp_path)[1].trials()
    assert len(entries) == 6
    records = {path.parent: read(path) for path in (tmp_path / "runs").glob("*/record.json")}
    assert {record.status for record in records.values()} <= {"finished", "pruned"}
    assert any(record.stability.resumed_at for record in records.values())
    for job in jobs:
        record = records[job.directory]
        if record.status == "pruned":
            assert record.reason.startswith(f"Pruned at update {record.cost.updates} of 50")
            assert not record.metrics
    assert main(["compare", str(tmp_path / "runs")]) == 0


def test_a_failed_trial_is_made_again_on_request_and_a_refused_one_always(tmp_path):
    make_sweep(tmp_path, 3)
    run_small_sweep(tmp_path, Toys(status="failed"), parallel=3)
    entries, statuses = check(tmp_path, 3)
    failed = statuses["failed"]
    assert failed >= 2  # before there are enough trials to prune
    launcher = Toys()
    run_small_sweep(tmp_path, launcher)
    assert not launcher.workers, "a failure is a result"
    jobs, output = run_small_sweep(tmp_path, launcher, retry_failed=True)
    assert len(launcher.workers) == failed
    again = journal_of(tmp_path)[1].trials()
    assert len(again) == 3 + failed
    assert [entry.params for entry in again[3:]] == [
        entry.params for entry in entries if entry.user_attrs["status"] == "failed"
    ]
    assert {job.state for job in jobs} <= {"finished", "pruned"}
    assert "Best of 3 trials" in output
    make_sweep(tmp_path, 4)
    run_small_sweep(tmp_path, launcher)
    assert len(journal_of(tmp_path)[1].trials()) == 3 + failed + 1, "the tries of one trial count once"


def test_a_search_begun_anew_makes_every_run_again(tmp_path):
    make_sweep(tmp_path, 3)
    run_small_sweep(tmp_path, Toys())
    launcher = Toys()
    run_small_sweep(tmp_path, launcher, again=True)
    assert len(launcher.workers) == 3
    check(tmp_path, 3)


def search_of(place, **settings):
    settings = {"trials": 5, "mode": "async", "space": {"x": {"low": 0.0, "high": 1.0}}} | settings
    return AsyncSearch(SearchSettings(**settings), ["model=maf"], place)


def test_a_journal_that_another_sweep_has_only_begun_is_neither_written_nor_an_error(tmp_path):
    search = search_of(tmp_path)
    search.path.mkdir()
    search.file.write_bytes(b'{"op_code"')
    search.check()
    assert search.known() == []
    assert search.file.read_bytes() == b'{"op_code"'


def test_a_trial_of_a_dead_sweep_is_taken_over_and_one_of_a_living_sweep_is_not(tmp_path):
    first, second = search_of(tmp_path), search_of(tmp_path)
    with first.taking_part(lambda status: False, False):
        number, trial = first.next()
        with second.taking_part(lambda status: False, False):
            assert second.next()[0] == number + 1, "a new one"
    third = search_of(tmp_path)
    with third.taking_part(lambda status: False, False):
        assert third.next() == (number, trial)
        assert third.next()[0] == number + 1
        assert third.next()[0] == number + 2


def test_a_number_of_trials_is_proposed_and_no_more(tmp_path):
    search = search_of(tmp_path)
    with search.taking_part(lambda status: False, False):
        numbers = [search.next()[0] for _ in range(5)]
        assert numbers == [0, 1, 2, 3, 4]
        assert search.next() is None
        assert not search.is_open()
        search.tell(3, "failed", None)
        search.tell(4, "finished", 0.5)
        search.tell(4, "failed", None)  # an end stays
        assert [t.state.name for t in search.journal.trials()] == ["RUNNING"] * 3 + ["FAIL", "COMPLETE"]


def test_the_sampler_avoids_what_was_pruned_or_failed():
    space = {"x": {"low": 0.0, "high": 1.0}}
    good = [Known({"x": 0.1 + i / 100}, i / 100) for i in range(10)]
    bad = [Known({"x": 0.6 + i / 100}, steps={1: 5.0}, pruned=True) for i in range(10)]
    bad += [Known({"x": 0.8 + i / 100}, float("inf")) for i in range(10)]
    proposals = [propose(space, good + bad, 1, "tpe", str(seed))[0]["x"] for seed in range(20)]
    assert sum(x < 0.5 for x in proposals) > 15


# The journal ------------------------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path):
    file = tmp_path / "journal.jsonl"
    return Journal.open(file, "mine", {"name": "median", "n_startup_trials": 0})


def add(journal):
    axis = {"x": optuna.distributions.FloatDistribution(0, 1)}
    return journal.add({"x": 0.5}, axis, {"owner": ""})


def test_half_a_line_of_a_dead_writer_is_dropped(journal):
    add(journal)
    whole = journal.file.read_bytes()
    with journal.file.open("ab") as file:
        file.write(b'{"op_code": 7, "tri')
    assert len(Journal(journal.file, "mine").trials()) == 1
    assert add(Journal(journal.file, "mine")) == 1
    assert journal.file.read_bytes().startswith(whole + b'{"op_code":4,')
    assert len(journal.trials()) == 2


@pytest.mark.parametrize("place", [0, 2, -1])
def test_a_damaged_journal_is_one_sentence(journal, place):
    add(journal), add(journal)
    lines = journal.file.read_text().splitlines()
    lines[place] = lines[place][:20]
    journal.file.write_text("\n".join(lines) + "\n")
    with pytest.raises(ZooError, match=r"The journal .* is damaged .* restore a copy"):
        Journal(journal.file, "mine")


def test_the_journal_of_another_search_is_refused(journal):
    with pytest.raises(ZooError, match="is the journal of another search; move it away"):
        Journal(journal.file, "other")
    with pytest.raises(ZooError, match="is the journal of another search"):
        Journal.open(journal.file, "other", {"name": "none"})


def test_a_report_counts_once_and_not_after_the_end(journal):
    for value in (1.0, 2.0, 3.0):
        number = add(journal)
        journal.report(number, 1, value)
        journal.tell(number, "finished", value)
    late = add(journal)
    assert journal.report(late, 1, 9.0)
    assert journal.report(late, 1, 0.0), "the first report counts"
    journal.tell(late, "pruned", None)
    assert not journal.report(late, 2, 9.0)
    assert journal.trials()[late].intermediate_values == {1: 9.0}


def test_a_trial_takes_the_lock_once_for_its_start_each_report_and_its_end(journal, monkeypatch):
    def turns():
        (owner,) = journal.file.parent.glob(".journal.jsonl.lock.*")  # numbered by the turns
        assert owner.stat().st_mtime == 0, "released"
        return int(owner.suffix[1:])

    before = turns()
    number = add(journal)
    journal.report(number, 1, 1.0), journal.report(number, 2, 1.0)
    journal.tell(number, "finished", 1.0)
    assert turns() == before + 4
    number = add(Journal(journal.file, "mine"))
    monkeypatch.setattr(journal.study, "tell", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        journal.tell(number, "finished", 1.0)
    assert turns() == before + 6, "released after an error too"
    assert journal.trials()[number].user_attrs["status"] == "finished"


def test_settings_of_a_pruner_are_checked():
    with pytest.raises(ZooError, match="'n_startup_trails'; did you mean n_startup_trials"):
        make_pruner({"name": "median", "n_startup_trails": 2})
    with pytest.raises(ZooError, match=r"The pruner median cannot be set up .* change search\.pruner\."):
        make_pruner({"name": "median", "n_startup_trials": -1})
    with pytest.raises(ZooError, match=r"search\.pruner none has no settings; leave x out"):
        make_pruner({"name": "none", "x": 1})


# Refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("mode: asinc", "search.mode must be batches or async"),
        ("mode: async, pruner: hyperbnd", "no pruner called 'hyperbnd'; did you mean hyperband?"),
        ("mode: async, pruner: {name: medan}", "did you mean median?"),
        ("mode: async, pruner: {n_startup_trials: 1}", "no pruner called 'None'"),
        ("mode: async, pruner: {name: median, warmup: 1}", "'warmup'; did you mean"),
        ("mode: async, batch: 3", "search.batch has no effect with search.mode: async"),
        ("pruner: median", "search.pruner needs search.mode: async"),
        ("mode: async, pruner: {name: hyperband, reduction_factor: 1}", "cannot be set up"),
    ],
)
def test_a_wrong_asynchronous_search_is_refused_before_anything_runs(workdir, capsys, settings, words):
    search = f"{{trials: 2, {settings}, space: {{seed: {{low: 0, high: 9}}}}}}"
    Path("mine.yaml").write_text(f"overrides: {{data: moons}}\nsearch: {search}\n")
    assert main(["sweep", "mine.yaml"]) == 2
    errors = capsys.readouterr().err
    assert words in errors
    assert errors.count("\n") == 1
    assert not Path("runs").exists()


def test_without_optuna_a_search_is_refused(workdir, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    make_sweep(Path(), 2)
    assert main(["sweep", "mine.yaml"]) == 2
    assert "A search needs Optuna; install it" in capsys.readouterr().err


@pytest.mark.parametrize("override", ["search.journal=a", "search.trial=1", "search.trial=x"])
def test_half_a_trial_is_refused(workdir, capsys, override):
    assert main(["train", "data=moons", "logger=none", *override.split()]) == 2
    assert "search.journal (a file) and search.trial (a number) are set together" in capsys.readouterr().err
    assert main(["train", "data=moons", "logger=none", "search.journal=a", "search.trial=0"]) == 2
    assert "There is no journal of a search at a" in capsys.readouterr().err


def test_the_settings_of_a_trial_leave_the_identity_of_its_run(tmp_path):
    make_sweep(tmp_path, 2)
    plan = plan_sweep(str(tmp_path / "mine.yaml"), [], tmp_path / "runs")
    (search,) = plan.searches
    trial = {"training.lr": 0.01, "model.hidden": [4]}
    job = plan.job(search.trial_overrides(7, trial))
    assert job.identity == plan.job(search.overrides(trial)).identity
    assert job.is_trial
    elsewhere = AsyncSearch(
        SearchSettings.model_validate({"trials": 9, "mode": "async", "space": {"x": {"choices": [1]}}}),
        ["model=maf", "launcher=slurm", "trainer.devices=2"],
        tmp_path,
    )
    same = AsyncSearch(
        SearchSettings.model_validate({"trials": 2, "mode": "async", "space": {"x": {"choices": [1]}}}),
        ["model=maf"],
        tmp_path,
    )
    assert elsewhere.signature == same.signature, "more trials, or another launcher, continue the search"
