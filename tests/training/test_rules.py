"""Each rule learns; budgets, schedules, averaging and refusals are what they say."""

from __future__ import annotations

import csv
import math

import pytest
import torch
from fitting import batches, fit, trainer
from torch import nn

import zoo
from zoo.errors import Unsound, ZooError
from zoo.training.adversarial import Adversarial
from zoo.training.callbacks import SampleDistance
from zoo.training.likelihood import MaximumLikelihood
from zoo.training.matching import Matching

PLANE = zoo.DataSpec((2,))


def moons(n, seed=0):
    from zoo.config import compose_run, to_dict
    from zoo.running.data import prepare_data

    data = prepare_data(to_dict(compose_run(["data=moons"]).data))
    generator = torch.Generator().manual_seed(seed)
    train, test = data.splits["train"], data.splits["test"]
    return train, test[torch.randperm(len(test), generator=generator)[:n]]


def gaussian_nll(train, test):
    normal = torch.distributions.MultivariateNormal(train.mean(0), train.T.cov())
    return -normal.log_prob(test).mean().item()


@pytest.mark.parametrize(
    ("name", "updates", "lr"),
    [("realnvp", 200, 3e-3), ("glow", 200, 3e-3), ("maf", 200, 3e-3), ("iresnet", 300, 1e-2),
     ("ffjord", 40, 1e-2), ("vae", 400, 3e-3), ("pixelcnn", 200, 3e-3), ("flow_matching", 500, 3e-3),
     ("diffusion", 500, 3e-3)],
)  # fmt: skip
def test_each_family_learns_moons_better_than_a_gaussian(name, updates, lr):
    train, test = moons(1000)
    model = zoo.build(name, PLANE)
    rule_class = Matching if model.objective == "matching" else MaximumLikelihood
    rule = rule_class(model, updates=updates, batch_size=256, lr=lr, seed=0)
    model = fit(rule, train, updates)
    assert rule.updates == updates
    with torch.no_grad():
        nll = -model.log_prob(test).mean().item()
    assert nll < gaussian_nll(train, test) - 0.05


class Line(zoo.GenerativeModel):
    """A Gaussian with a learned mean: its optimum is known."""

    family, likelihood = "flow", "exact"

    def __init__(self, spec):
        super().__init__(spec)
        self.mean = nn.Parameter(torch.zeros(2))
        self.register_buffer("calls", torch.zeros(()))

    def _log_prob(self, x, context=None):
        self.calls += 1
        return -0.5 * (x - self.mean).square().sum(1)


class Clock:
    """Every reading is a second later than the one before."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def test_a_budget_of_time_ends_training_and_its_schedule(tmp_path, monkeypatch):
    from zoo.config import compose_run
    from zoo.running.run import run

    monkeypatch.setattr("zoo.training.module.time.perf_counter", Clock())
    settings = [
        "model=flow_matching", "data=moons", "logger=none", "trainer=cpu", "training.batch_size=16",
        "training.updates=1000", "training.max_seconds=7", "training.validations=500", "training.log_every=1",
        "training.validate_likelihood=5", "model.hidden=[4]", "model.solver.method=euler",
        "evaluation.samples=20",
        "evaluation.likelihood_examples=5", "evaluation.latency_repeats=1",
        "evaluation.throughput_batches=[1]", f"hydra.run.dir={tmp_path}",
    ]  # fmt: skip
    record = run(compose_run(settings), tmp_path)
    assert record.status == "finished"
    assert record.cost.updates == 7, "an update lasts a second of this clock"
    assert record.provenance.config["training"]["max_seconds"] == 7
    lines = (tmp_path / "curves.csv").read_text().split()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    assert [(row["updates"], row["update_seconds"]) for row in rows] == [
        (str(i), str(i)) for i in range(1, 8)
    ]
    assert [bool(row["val/nll"]) for row in rows] == [False, True] * 3 + [True], "the last update validates"
    # what was cut off after its last update has no budget left to train with
    (tmp_path / "record.json").unlink()
    assert run(compose_run(settings), tmp_path).cost.updates == 7


def test_the_distance_of_samples_is_a_curve_of_any_rule(tmp_path):
    """GANs have no other: the kept weights give the last value again, and theirs is the oscillation."""
    from zoo.config import compose_run, to_dict
    from zoo.evaluation.energy import energy_distance
    from zoo.factory import load
    from zoo.models.core import rng
    from zoo.record import read
    from zoo.running.data import prepare_data
    from zoo.running.run import run

    settings = [
        "data=moons", "data.train=200", "data.val=30", "data.test=20", "logger=none", "trainer=cpu",
        "model.hidden=8", "training.updates=12", "training.validations=12", "training.batch_size=16",
        "evaluation.samples=20", "evaluation.latency_repeats=1", "evaluation.throughput_repeats=1",
        "evaluation.throughput_batches=[1]", "evaluation.seed=3",
    ]  # fmt: skip
    found = {}
    for model, own in {"gan": [], "maf": ["model.hidden=[8]", "training.validate_samples=20"]}.items():
        config = compose_run([*settings, f"model={model}", *own])
        run(config, tmp_path / model)
        with (tmp_path / model / "curves.csv").open() as file:
            found[model] = [float(r["val/energy_distance"]) for r in csv.DictReader(file)]
        assert len(found[model]) == len(set(found[model])) == 12
    run(compose_run([*settings, "model=gan", "training.lr=0", "training.ema=0"]), tmp_path / "still")
    with (tmp_path / "still/curves.csv").open() as file:
        assert len({r["val/energy_distance"] for r in csv.DictReader(file)}) == 1, "the same latents"
    with pytest.raises(ZooError, match=r"needs two validation examples; there are 1\. .*data\.val"):
        run(compose_run([*settings, "model=gan", "data.val=1"]), tmp_path / "one")
    stability = {model: read(tmp_path / model).stability for model in found}
    assert stability["gan"].oscillation_of == "val/energy_distance"
    assert stability["maf"].oscillation_of == "val/loss", "the criterion, where there is one"
    assert set(stability["maf"].oscillations) == {"val/loss", "val/energy_distance"}
    assert 0 < stability["gan"].oscillation == stability["gan"].oscillations["val/energy_distance"] < 1
    model = load(tmp_path / "gan/checkpoints/last.ckpt")
    with rng.keyed(rng.keys(3, count=30)):
        samples = model.sample(30)
    real = prepare_data(to_dict(compose_run([*settings, "model=gan"]).data)).splits["val"]
    assert found["gan"][-1] == pytest.approx(energy_distance(samples, real)[0], rel=1e-5)


def test_a_distance_that_is_not_finite_is_a_gap_and_ends_no_run():
    from functools import partial

    from zoo.evaluation.protocol import distance_to

    rule = MaximumLikelihood(Line(PLANE), updates=4, batch_size=4, validate_samples=5)
    distance = SampleDistance(partial(distance_to, torch.randn(5, 2), PLANE, 0))
    rule.evaluated.sample = lambda n, temperature=1.0: torch.randn(n, 2)
    x = torch.randn(20, 2)
    trainer(distance).validate(rule, batches(x, 4, 1), verbose=False)
    assert math.isfinite(rule.latest["val/energy_distance"])
    rule.evaluated.sample = lambda n, temperature=1.0: torch.full((n, 2), math.nan)
    trainer(distance).validate(rule, batches(x, 4, 1), verbose=False)

    def unsound(n, temperature=1.0):
        raise Unsound("Samples overflow.")

    rule.evaluated.sample = unsound
    trainer(distance).validate(rule, batches(x, 4, 1), verbose=False)
    assert "val/energy_distance" not in rule.latest
    assert rule.stability.report()["oscillation_of"] == "val/loss"
    assert len(rule.stability.state_dict()["criterion"]["val/energy_distance"]) == 1
    for wrong in (1, -2, 2.5, True):
        with pytest.raises(ZooError, match=r"training.validate_samples must be .*at least [02]"):
            MaximumLikelihood(Line(PLANE), updates=4, batch_size=4, validate_samples=wrong)


def test_refusals():
    with pytest.raises(ZooError, match="training=adversarial"):
        MaximumLikelihood(zoo.build("gan", PLANE), updates=1, batch_size=1)
    with pytest.raises(ZooError, match="generator and critic"):
        Adversarial(zoo.build("maf", PLANE), updates=1, batch_size=1)
    with pytest.raises(ZooError, match="matching_loss"):
        Matching(zoo.build("maf", PLANE), updates=1, batch_size=1)
    with pytest.raises(ZooError, match=r"training\.updates"):
        MaximumLikelihood(Line(PLANE), updates=0, batch_size=1)
    for wrong in (
        {"ema": 1.0},
        {"max_seconds": 0},
        {"betas": (0.9,)},
        {"clip": 0.0},
        {"clip": -1.0},
        {"warmup": -1},
        {"log_every": 0},
        {"weight_decay": -0.1},
    ):
        with pytest.raises(ZooError, match=rf"training\.{next(iter(wrong))}"):
            MaximumLikelihood(Line(PLANE), updates=1, batch_size=1, **wrong)
    with pytest.raises(ZooError, match="no setting of training called 'lrr'; did you mean lr"):
        MaximumLikelihood(Line(PLANE), updates=1, batch_size=1, lrr=0.1)
    with pytest.raises(ZooError, match=r"training\.batch_size has no default"):
        MaximumLikelihood(Line(PLANE), updates=1)


def test_nan_stops_training():
    class Bad(Line):
        def _log_prob(self, x, context=None):
            return super()._log_prob(x) * (float("nan") if self.calls > 3 else 1.0)

    rule = MaximumLikelihood(Bad(PLANE), updates=10, batch_size=4)
    with pytest.raises(zoo.Diverged, match="update 4"):
        fit(rule, torch.randn(50, 2), 10, 4)
