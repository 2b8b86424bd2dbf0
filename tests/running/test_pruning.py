"""A run that its search gives up: what its record says, and that it goes on outside of the search."""

from __future__ import annotations

import pytest
from test_ddp import in_ranks

from zoo.cli import main
from zoo.config import compose_run
from zoo.journal import Journal
from zoo.record import Attempts, read
from zoo.running.run import run

optuna = pytest.importorskip("optuna")

TINY = [
    "model=maf", "data=moons", "data.train=100", "data.val=20", "data.test=20", "logger=none",
    "model.hidden=[8]", "model.batch_norm=false", "training.updates=20", "training.batch_size=16",
    "training.validations=4", "evaluation.samples=20", "evaluation.latency_repeats=1",
    "evaluation.throughput_repeats=1", "evaluation.throughput_batches=[4]",
    "evaluation.time_limit_seconds=0.01",
]  # fmt: skip
ONE = [*TINY, "trainer=cpu"]
TWO = [*TINY, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]


@pytest.fixture
def trial(tmp_path):
    """Return the overrides of a trial that is given up at its second validation: others were better there."""
    journal = Journal.open(tmp_path / "journal.jsonl", "mine", {"name": "median", "n_startup_trials": 1})
    axis = {"x": optuna.distributions.FloatDistribution(0, 1)}
    for _ in range(2):
        number = journal.add({"x": 0.5}, axis, {"owner": ""})
        journal.report(number, 2, -100.0)
        journal.tell(number, "finished", -100.0)
    return [f"search.journal={journal.file}", f"search.trial={journal.add({'x': 0.5}, axis, {'owner': ''})}"]


def test_a_pruned_run_is_recorded_and_goes_on_outside_of_its_search(tmp_path, trial, capsys):
    place = tmp_path / "run"
    assert main(["train", *ONE, *trial, f"hydra.run.dir={place}"]) == 0
    record = read(place)
    assert record.status == "pruned"
    assert record.reason.startswith("Pruned at update 10 of 20, with a validation loss of ")
    assert (record.cost.updates, record.cost.batch_size, record.metrics) == (10, 16, {})
    assert record.family == "flow"
    assert "search." not in record.provenance.command
    assert Attempts(place).attempts[-1].end == "pruned"
    (mine,) = Journal(tmp_path / "journal.jsonl").trials()[2:]
    assert list(mine.intermediate_values) == [1, 2]
    assert record.reason.endswith(f"{mine.intermediate_values[2]:.6g}.")
    assert "The search has given up this run" in capsys.readouterr().err

    assert main(["train", *ONE, *trial, f"hydra.run.dir={place}"]) == 0
    assert "nothing was trained: it was pruned" in capsys.readouterr().err
    record = run(compose_run(ONE), place)
    assert (record.status, record.cost.updates, record.stability.resumed_at) == ("finished", 20, 10)
    assert record.metrics
    whole = run(compose_run(ONE), tmp_path / "whole")
    assert record.metrics["nll"].value == whole.metrics["nll"].value


def test_two_processes_are_given_up_together(tmp_path, trial):
    place = tmp_path / "run"
    assert in_ranks([([*TWO, *trial], place)]) == [[None, None]]
    record = read(place)
    assert (record.status, record.cost.updates) == ("pruned", 10)
    assert [segment.processes for segment in record.provenance.segments] == [2]


def test_a_run_that_has_used_its_budget_is_judged(tmp_path, trial):
    record = run(compose_run([*ONE, *trial, "training.validations=2"]), tmp_path / "run")
    assert record.status == "finished", "the second of two validations is the last"
    assert record.metrics


def test_a_journal_that_is_damaged_during_training_cuts_the_run_off(tmp_path, trial, capsys, monkeypatch):
    report = Journal.report

    def damage(self, number, step, value):
        if step == 2:
            self.file.write_text(self.file.read_text() + "{\n{}\n")
        return report(self, number, step, value)

    monkeypatch.setattr(Journal, "report", damage)
    place = tmp_path / "run"
    assert main(["train", *ONE, *trial, f"hydra.run.dir={place}"]) == 75
    assert "is damaged" in capsys.readouterr().err
    assert not (place / "record.json").exists()
    assert (place / "checkpoints/last.ckpt").exists()
