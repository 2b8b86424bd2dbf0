"""``zoo time`` writes its times beside the records, and comparisons use these alone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

import zoo
from zoo.cli import main
from zoo.comparison.claims.measure import LATENCY, timed_alike
from zoo.comparison.collect import collect
from zoo.comparison.configurations import Group
from zoo.comparison.timing import timing_conditions
from zoo.data.spec import DataSpec
from zoo.record import Load, Record, Sampling
from zoo.record.timing import TIMING, Calls, Timing, read_timing, retimed


@pytest.fixture
def runs(tmp_path):
    """Return a directory with two trained runs and one that diverged."""
    settings = {"_target_": "zoo.models.realnvp.RealNVP", "hidden": [4], "layers": 2}
    model = zoo.build("realnvp", DataSpec((2,)), hidden=[4], layers=2)
    about = {"spec": {"shape": [2], "levels": None, "classes": None}, "model": settings, "weights": "model"}
    state = {f"model.{key}": value for key, value in model.state_dict().items()}
    for seed, status in enumerate(("finished", "finished", "diverged")):
        sampling = Sampling(order="parallel", latency_seconds=9.0, device="cpu", threads=1, dtype="float32")
        record = Record(
            run_id=f"realnvp-s{seed}", model="realnvp", family="flow", data="moons", seed=seed, status=status,
            sampling=sampling,
        )  # fmt: skip
        directory = tmp_path / "runs" / f"s{seed}"
        record.write(directory)
        (directory / "checkpoints").mkdir()
        torch.save({"zoo": about, "state_dict": state}, directory / "checkpoints" / "best.ckpt")
    return tmp_path / "runs"


ARGUMENTS = ("--rounds", "4", "--batch", "1", "8")


@pytest.fixture
def quiet(monkeypatch):
    """Let every call count, however busy the machine is on which the tests run."""
    monkeypatch.setattr("zoo.evaluation.interleaved.TOLERANCE", 1e9)


@pytest.mark.usefixtures("quiet")
def test_finished_runs_are_timed_in_one_session_and_comparisons_use_it(runs, capsys):
    assert main(["time", str(runs), *ARGUMENTS]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("realnvp-s0", "realnvp-s1", "batch 1", "batch 8"))
    times = [read_timing(runs / f"s{seed}") for seed in range(3)]
    assert times[2] is None, "a run that did not finish is not timed"
    assert times[0].session == times[1].session
    assert (times[0].runs, times[0].rounds, sorted(times[0].batches)) == (2, 4, ["1", "8"])
    assert times[0].load.cores >= 1
    content = json.loads((runs / "s0/record.json").read_text())
    assert content["sampling"]["latency_seconds"] == 9.0, "the record stays as it was"
    found, warnings = collect([runs])
    assert warnings == []
    read = {run.record.seed: run for run in found}
    assert read[0].record.sampling.latency_seconds == times[0].batches["1"].lower_quartile < 1
    assert read[2].record.sampling.latency_seconds == 9.0
    assert timing_conditions(read[0])["session"] == times[0].session


@pytest.mark.usefixtures("quiet")
def test_the_ledger_uses_the_session_alone_where_there_is_one(runs, capsys):
    main(["time", str(runs / "s0"), *ARGUMENTS])
    capsys.readouterr()
    found, _ = collect([runs])
    several = [replace(run, record=replace(run.record, status="finished")) for run in found]
    (kept,) = timed_alike(Group("realnvp", several))
    assert [run.record.seed for run in kept.runs] == [0], "two others were timed otherwise"
    assert len(LATENCY.of(kept)) == 1


def test_a_batch_size_of_too_few_calls_that_count_has_no_time():
    def timing(rounds: int, counted: int) -> Timing:
        seconds = {str(n): 0.5 + n for n in range(counted)}
        calls = Calls(seconds, rounds - counted, dict.fromkeys(seconds, 0.001))
        load = Load(0.0, 0.0, 2)
        return Timing(
            "s", "2026-11-30", rounds, 1, "cpu", 1, "float32", False, None, load, 0.05, {"1": calls}
        )

    assert timing(10, 2).times == {}, "two quiet calls of ten are no lower quartile"
    assert timing(10, 3).times == {1: 1.0}
    assert timing(2, 2).times == {1: 0.75}, "a session of two rounds has no more"
    record = Record(run_id="r", model="m", family="flow", data="moons", seed=0, status="finished")
    assert retimed(record, timing(10, 2)).sampling.latency_seconds is None
    assert retimed(record, timing(10, 3)).sampling.latency_seconds == 1.0


def test_a_run_whose_calls_were_disturbed_keeps_the_times_that_it_had(runs, capsys, monkeypatch):
    def calls(counted: int) -> Calls:
        seconds = {str(n): 0.5 for n in range(counted)}
        return Calls(seconds, 10 - counted, dict.fromkeys(seconds, 0.001))

    def disturbed(models, **_):
        whole, lacking = sorted(models)
        return {whole: {1: calls(9), 8: calls(3)}, lacking: {1: calls(2), 8: calls(9)}}

    monkeypatch.setattr("zoo.running.retime.interleaved_times", disturbed)
    assert main(["time", str(runs), "--rounds", "10", "--batch", "1", "8"]) == 0
    assert "1 of 2 runs keep the times that they had" in " ".join(capsys.readouterr().out.split())
    read = {run.record.seed: run.record.sampling.latency_seconds for run in collect([runs])[0]}
    assert (read[0], read[1]) == (0.5, 9.0)


def test_a_damaged_file_of_times_is_a_warning(runs):
    (runs / "s0" / TIMING).write_text("{}")
    found, warnings = collect([runs])
    assert len(found) == 3
    assert "is damaged; delete it and run zoo time again" in warnings[0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "There is no directory nowhere"),
        (["{runs}/s2"], "There is no finished run to time"),
        (["{runs}", "--rounds", "0"], "needs --rounds, --batch and --limit of at least 1"),
        (["{runs}", "--batch", "0"], "needs --rounds, --batch and --limit of at least 1"),
    ],
)
def test_mistakes_are_one_sentence(runs, capsys, arguments, sentence):
    assert main(["time", *(one.format(runs=runs) for one in arguments)]) == 2
    assert sentence in capsys.readouterr().err
