"""Expectation maximisation as a run: on the whole training set, resumable, refused where it has no step."""

from __future__ import annotations

import pytest
import torch

import zoo
from zoo.config import compose_run
from zoo.data.toys import Toy
from zoo.errors import ZooError
from zoo.running.run import run
from zoo.training.expectation_maximisation import ExpectationMaximisation

SMALL = [
    "model=gaussian", "data=moons", "data.train=210", "data.val=40", "data.test=40", "trainer=cpu",
    "logger=none", "training.updates=1", "training.validations=1", "evaluation.samples=30",
    "evaluation.latency_repeats=1", "evaluation.throughput_repeats=1", "evaluation.throughput_batches=[4]",
    "evaluation.time_limit_seconds=0.01",
]  # fmt: skip


@pytest.mark.parametrize("batch", [210, 64])
def test_one_update_fits_a_gaussian_to_the_whole_training_set_by_any_batch(workdir, batch):
    config = compose_run([*SMALL, f"training.batch_size={batch}"])
    record = run(config, workdir / "run")
    data = Toy("moons", train=210, val=40, test=40)
    data.setup()
    x = data.splits["train"].double()
    model = zoo.load(workdir / "run")
    torch.testing.assert_close(model.normal.mean[0].double(), x.mean(0), atol=1e-5, rtol=1e-5)
    covariance = model.normal.triangles()[0] @ model.normal.triangles()[0].T
    torch.testing.assert_close(covariance.double(), torch.cov(x.T, correction=0), atol=1e-4, rtol=1e-4)
    assert record.status == "finished"
    assert record.cost.updates == 1
    assert record.cost.images_seen == 210
    normal = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T, correction=0))
    expected = -normal.log_prob(data.splits["test"].double()).mean().item()
    assert record.metrics["nll"].value == pytest.approx(expected, abs=1e-4)
    assert record.metrics["nll"].kind == "exact"


def test_settings_of_gradients_are_refused():
    model = zoo.build("gaussian", zoo.DataSpec((2,)))
    for wrong in ({"ema": 0.9}, {"accumulate": 2}, {"compile": True}):
        with pytest.raises(ZooError, match=f"training.{next(iter(wrong))} "):
            ExpectationMaximisation(model, updates=1, batch_size=1, **wrong)


def test_a_model_without_a_step_is_refused():
    with pytest.raises(ZooError, match=r"statistics and maximise.*training=maximum_likelihood"):
        ExpectationMaximisation(zoo.build("maf", zoo.DataSpec((2,))), updates=1, batch_size=1)


def test_the_curve_of_a_closed_form_falls_once(workdir):
    config = compose_run([*SMALL, "training.updates=3", "training.validations=3"])
    run(config, workdir / "run")
    lines = (workdir / "run" / "curves.csv").read_text().splitlines()
    column = lines[0].split(",").index("train/loss")
    losses = [float(line.split(",")[column]) for line in lines[1:]]
    assert losses[1] < losses[0]
    assert losses[2] == pytest.approx(losses[1])
