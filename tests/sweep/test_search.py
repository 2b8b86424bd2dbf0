"""Hyper-parameter search: reproducible proposals, one-sentence errors, and trials that are ordinary runs."""

from __future__ import annotations

import contextlib
import io
import math
from pathlib import Path

import pytest
from forked import SWEEP, Forked, killed, results, run_small_sweep

from zoo.cli import main
from zoo.sweep import objective
from zoo.sweep.async_search import AsyncSearch
from zoo.sweep.search import Search, SearchSettings

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
def test_an_interrupted_search_ends_like_one_that_was_not(tmp_path):
    pytest.importorskip("optuna")
    text = SWEEP.replace("model: [realnvp, maf]", "model: [realnvp]") + SEARCH
    for place in ("whole", "cut"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "mine.yaml").write_text(text)
    whole, output = run_small_sweep(tmp_path / "whole", parallel=2)
    assert "5 jobs" in output
    assert len(whole) == 5
    assert "Best of 5 trials: val/loss" in output
    best = min(objective(job.directory) for job in whole)
    assert f"val/loss {best:.6g}" in output

    cut, output = run_small_sweep(tmp_path / "cut", Forked(killed))
    assert [job.state for job in cut] == ["cut off", "cut off"]
    assert "waits for trials that were cut off" in output
    run_small_sweep(tmp_path / "cut")
    assert results(tmp_path / "cut") == results(tmp_path / "whole")
    launcher = Forked()
    run_small_sweep(tmp_path / "cut", launcher)
    assert not launcher.workers, "every trial has been made"
    _, output = run_small_sweep(tmp_path / "cut", dry_run=True)
    assert "5 jobs, 5 done, 0 left" in output


def make_search(directory, **settings):
    space = {"x": {"low": -10.0, "high": 10.0}}
    return Search(SearchSettings(**{"trials": 40, "space": space} | settings), ["model=maf"], directory)


def play(search, value):
    """Run a search whose objective is a function of the trial's x."""
    while not search.done:
        search.tell([(trial, value(trial["x"])) for trial in search.ask()])
    return search


def parabola(x):
    return (x - 3) ** 2


def test_a_search_approaches_the_minimum(tmp_path):
    pytest.importorskip("optuna")
    search = play(make_search(tmp_path), parabola)
    late, early = search.results[20:], search.results[:8]
    assert sum(v for _, v in late) / 20 < sum(v for _, v in early) / 8
    trial, value = search.best
    assert value == parabola(trial["x"]) == min(v for _, v in search.results) < 1


def test_the_same_search_proposes_the_same_trials_also_after_a_restart(tmp_path):
    pytest.importorskip("optuna")
    search = play(make_search(tmp_path / "a"), parabola)
    assert play(make_search(tmp_path / "b"), parabola).results == search.results
    half = make_search(tmp_path / "a")
    half.tell(search.results[:8])
    assert half.ask() == [trial for trial, _ in search.results[8:12]]
    assert play(make_search(tmp_path / "c", seed=1), parabola).results != search.results


def test_a_restarted_search_keeps_the_proposals_on_disk(tmp_path):
    pytest.importorskip("optuna")
    search = make_search(tmp_path)
    first = search.ask()
    file = tmp_path / f"search-{search.signature}.json"
    file.write_text(file.read_text().replace(str(first[0]["x"]), "1.25"))
    assert make_search(tmp_path).ask()[0] == {"x": 1.25}


def test_the_files_of_existing_searches_are_found(tmp_path):
    space = {"x": {"low": 1e-4, "high": 1e-1, "log": True}, "n": {"choices": [[4], [8, 8]]}}
    point = ["data=moons", "model=maf", "trainer.devices=2"]
    settings = {"trials": 5, "seed": 3, "space": space}
    search = Search(SearchSettings(**settings, batch=2), point, tmp_path, {"n"})
    assert search.file == tmp_path / "search-c3d27da778.json"
    pruner = {"name": "median", "n_startup_trials": 2}
    search = AsyncSearch(SearchSettings(**settings, mode="async", pruner=pruner), point, tmp_path, {"n"})
    assert search.file == tmp_path / "search-42f96fed65" / "journal.jsonl"


def test_a_search_avoids_the_settings_that_diverge(tmp_path):
    pytest.importorskip("optuna")
    search = make_search(tmp_path, trials=60, space={"x": {"low": 0.0, "high": 10.0}})
    play(search, lambda x: 1 - x if x < 1 else math.inf)  # in a tenth of the space trials do not diverge
    late = [value for _, value in search.results[30:]]
    assert sum(map(math.isfinite, late)) > len(late) / 3
    assert math.isfinite(search.best[1])


def test_the_objective_is_the_lowest_validation_loss(tmp_path):
    assert objective(tmp_path) == math.inf
    (tmp_path / "curves.csv").write_text("updates,train/loss,val/loss\n1,0.1,3\n2,0.1,\n3,0.1,2\n4,0.1,9\n")
    assert objective(tmp_path) == 2.0


def test_a_fractional_step_gives_fractions_and_integers_give_integers(tmp_path):
    pytest.importorskip("optuna")
    space = {"x": {"low": 0, "high": 1, "step": 0.25}, "n": {"low": 0, "high": 10, "step": 5}}
    trials = make_search(tmp_path, trials=12, batch=12, sampler="random", space=space).ask()
    assert {trial["x"] for trial in trials} <= {0, 0.25, 0.5, 0.75, 1}
    assert any(0 < trial["x"] < 1 for trial in trials)
    assert {trial["n"] for trial in trials} <= {0, 5, 10}
    assert all(isinstance(trial["n"], int) for trial in trials)


def refusal(search):
    """Return the error of a sweep with this search, which is raised before anything runs."""
    Path("mine.yaml").write_text(f"overrides: {{data: moons}}\nsearch: {search}\n")
    output = io.StringIO()
    with contextlib.redirect_stderr(output):
        assert main(["sweep", "mine.yaml"]) == 2
    assert not Path("runs").exists()
    assert output.getvalue().count("\n") == 1
    return output.getvalue()


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ("", "search.trials must be given"), ("{}", "search.trials must be given"),
        ("{space: SPACE}", "search.trials must be given"),
        ("{trials: abc, space: SPACE}", "search.trials must be a whole number in mine.yaml; got 'abc'"),
        ("{trials: 0, space: SPACE}", "search.trials must be at least 1 in mine.yaml; got 0"),
        ("{trials: 2.5, space: SPACE}", "search.trials must be a whole number"),
        ("{trials: true, space: SPACE}", "search.trials must be a whole number"),
        ("{trials: 2, batch: 0, space: SPACE}", "search.batch must be at least 1"),
        ("{trials: 2, seed: x, space: SPACE}", "search.seed must be a whole number"),
        ("{trials: 2, sampler: magic, space: SPACE}", "search.sampler must be tpe or random"),
        ("{trails: 2, trials: 2, space: SPACE}", "did you mean trials"),
        ("{3: 2, trials: 2, space: SPACE}", "'3'"),
        ("{trials: 2}", "search.space must be given"),
        ("{trials: 2, space: {}}", "search.space must be not empty"),
        ("{trials: 2, space: [seed]}", "search.space must be a mapping"),
        ("{trials: 2, space: {3: {choices: [1]}}}", "search.space"),
        ("{trials: 2, space: {training.lrr: {choices: [1]}}}", "did you mean training.lr"),
        ("{trials: 2, space: {model: {choices: [maf, mfa]}}}", "did you mean maf"),  # every choice
    ],
)  # fmt: skip
def test_a_wrong_search_is_refused_before_anything_runs(workdir, search, words):
    assert words in refusal(search.replace("SPACE", "{seed: {low: 0, high: 9}}"))


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
def test_a_wrong_axis_of_a_search_is_refused(workdir, axis, rule):
    sentence = refusal(f"{{trials: 2, space: {{seed: {{low: 0, high: 9}}, training.lr: {axis}}}}}")
    assert "In the sweep mine.yaml, the axis training.lr of a search must have" in sentence
    assert rule in sentence


def test_a_search_whose_keys_are_all_on_the_command_line_is_refused(workdir, capsys):
    Path("mine.yaml").write_text("search: {trials: 2, space: {training.lr: {low: 1e-3, high: 1}}}\n")
    assert main(["sweep", "mine.yaml", "training.lr=0.1"]) == 2
    assert "nothing is left to search" in capsys.readouterr().err
