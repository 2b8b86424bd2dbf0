"""Archived runs get the divergence from a known density that an evaluation by the present code would have."""

from __future__ import annotations

import json
import math
from pathlib import Path

import known_divergences
import numpy as np
import pytest
import torch

from zoo.comparison.collect import Run, collect
from zoo.data.toys import Toy
from zoo.errors import ZooError
from zoo.record import Metric, Provenance, Record, read

SETTINGS = {"name": "8gaussians", "train": 50, "val": 5, "test": 400, "data_seed": 3}
ROOT = Path(__file__).resolve().parents[1]


def archived(folder: Path) -> Run:
    """Return an old run whose model is the data's density but for 0.1 nats, and noise of 0.01."""
    toy = Toy(**SETTINGS)
    toy.setup()
    noise = 0.01 * np.random.default_rng(0).normal(size=400)
    order = np.random.default_rng(1).permutation(400)[:300]
    values = (toy.log_density(toy.splits["test"]).numpy()[order] - 0.1 + noise[order]).astype(np.float32)
    nll = -float(values.astype(np.float64).mean())
    record = Record(run_id="a", model="m", family="flow", data="8gaussians", seed=0, status="finished")
    record.metrics["nll"] = Metric(nll, "nats", "exact", n=300, standard_error=0.05)
    record.metrics["kl"] = Metric(nll - toy.entropy, "nats", "exact", n=300, standard_error=0.05)
    config = {"data": {"_target_": "zoo.data.toys.Toy", **SETTINGS}}
    record.provenance = Provenance(config=config, data=toy.describe())
    record.write(folder)
    np.savez(folder / "likelihood.npz", values=values, indices=order)
    return Run(record, folder)


def test_the_divergence_is_estimated_anew_and_nothing_else_changes(tmp_path):
    run = archived(tmp_path)
    before = json.loads((tmp_path / "record.json").read_text())
    assert known_divergences.estimated_anew(run)
    kl = read(tmp_path).metrics["kl"]
    assert kl.value == pytest.approx(0.1, abs=0.003)
    assert kl.standard_error == pytest.approx(0.01 / math.sqrt(300), rel=0.2)
    assert kl.details["nll_minus_entropy"] == pytest.approx(before["metrics"]["kl"]["value"], abs=1e-6)
    assert kl.details["estimator"].startswith("mean of log p")
    after = json.loads((tmp_path / "record.json").read_text())
    for content in (before, after):
        del content["metrics"]["kl"]
    assert after == before
    assert not known_divergences.estimated_anew(Run(read(tmp_path), tmp_path)), "once is enough"


def test_other_data_or_other_scores_are_refused(tmp_path):
    run = archived(tmp_path)
    run.record.metrics["nll"].value += 0.01
    with pytest.raises(ZooError, match="another mean"):
        known_divergences.estimated_anew(run)
    run = archived(tmp_path)
    run.record.provenance.config["data"]["data_seed"] = 4
    with pytest.raises(ZooError, match="no longer those of the record"):
        known_divergences.estimated_anew(run)


def test_the_committed_divergences_of_the_toys_are_by_their_densities():
    runs, _ = collect([ROOT / "results/toys/records.tar.xz"])
    measured = [run.record.metrics["kl"] for run in runs if "kl" in run.record.metrics]
    assert len(measured) > 80
    assert all("estimator" in metric.details for metric in measured)
    assert torch.tensor([metric.value / metric.standard_error for metric in measured]).min() > -4
