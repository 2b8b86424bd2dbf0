"""A second look at archived samples adds two details to a record, and changes nothing that is there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import second_look
import torch

from zoo.comparison.collect import Run
from zoo.data.digits import Digits
from zoo.evaluation.frechet import between
from zoo.record import Metric, Record


def archived(folder: Path, samples: torch.Tensor, judged: int) -> Run:
    """Return a run of digits with archived samples, whose distance was made of this many."""
    record = Record(run_id="a", model="m", family="flow", data="digits", seed=0, status="finished")
    record.metrics["fd/digits-cnn"] = Metric(2.5, "1", "estimate", "lower", n=judged, standard_error=0.3)
    record.metrics["kid/digits-cnn"] = Metric(1.5, "1", "estimate", "lower", n=judged)
    record.write(folder)
    np.savez(folder / "samples.npz", samples=samples.numpy().astype(np.uint8), levels=17)
    return Run(record, folder)


def content(run: Run) -> dict:
    return json.loads((run.directory / "record.json").read_text())


@pytest.mark.parametrize("flat", [False, True])
def test_halves_and_another_extractor_are_added_and_nothing_else_changes(tmp_path, flat):
    data = Digits()
    data.setup()
    samples = data.splits["train"][:200]
    run = archived(tmp_path, samples.flatten(1) if flat else samples, 200)
    before = content(run)
    assert second_look.looked_again(run)
    after = content(run)
    details = after["metrics"]["fd/digits-cnn"].pop("details")
    before["metrics"]["fd/digits-cnn"].pop("details")
    assert after == before
    cnn, random = second_look.extractors()
    half = second_look.halves()[3]
    assert len(half) == len(half.unique()) == 180
    of_half = between(cnn(samples.float()), cnn(data.splits["test"][half].float()))
    assert details["by_test_half"][3] == pytest.approx(of_half, abs=1e-5)
    assert len(set(details["by_test_half"])) == second_look.HALVES
    whole = between(random(samples.float()), random(data.splits["test"].float()))
    assert details["by_other_extractor"] == {"random-conv": pytest.approx(whole, abs=1e-5)}


def test_a_second_look_is_made_once_and_of_all_judged_samples_alone(tmp_path, monkeypatch):
    data = Digits()
    data.setup()
    run = archived(tmp_path / "whole", data.splits["train"][:100], 100)
    assert second_look.main([str(tmp_path)]).startswith("1 of 1 records")
    before = (run.directory / "record.json").read_bytes()
    monkeypatch.setattr(second_look, "halves", None)
    assert second_look.looked_again(run), "it has been made"
    assert (run.directory / "record.json").read_bytes() == before
    fewer = archived(tmp_path / "fewer", data.splits["train"][:100], 1000)
    assert not second_look.looked_again(fewer)
