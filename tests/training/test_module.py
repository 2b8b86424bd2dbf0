"""Updates, validation and budgets of a training module."""

from __future__ import annotations

import functools
import math

import lightning.pytorch as pl
import pytest
import torch
from fitting import Line, batches, fit, trainer

import zoo
from zoo.models.core import rng
from zoo.training.likelihood import MaximumLikelihood
from zoo.training.matching import Matching

PLANE = zoo.DataSpec((2,))


@functools.cache
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


# Updates, learning rate, and settings of a model small enough to learn moons in a few seconds.
LEARNERS = {
    "realnvp": (60, 5e-3, {"hidden": [32]}),
    "glow": (60, 5e-3, {}),
    "maf": (60, 5e-3, {"hidden": [32]}),
    "iresnet": (150, 2e-2, {"blocks": 3, "hidden": [32, 32]}),
    "ffjord": (60, 2e-2, {"hidden": [64], "solver": {"method": "rk4", "steps": 3}}),
    "vae": (250, 5e-3, {}),
    "pixelcnn": (100, 5e-3, {}),
    "flow_matching": (350, 5e-3, {"hidden": [64, 64]}),
    "diffusion": (250, 5e-3, {"hidden": [64, 64]}),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_each_family_learns_moons_better_than_a_gaussian(name):
    updates, lr, settings = LEARNERS[name]
    train, test = moons(1000)
    model = zoo.build(name, PLANE, **settings)
    objective = Matching if model.objective == "matching" else MaximumLikelihood
    module = objective(model, updates=updates, batch_size=256, lr=lr, warmup=0, ema=0.0, seed=0)
    model = fit(module, train, updates)
    assert module.updates == updates
    model.on_training_statistics([(train, None)])
    with torch.no_grad():
        nll = -model.log_prob(test).mean().item()
    assert nll < gaussian_nll(train, test) - 0.05


class Clock:
    """A clock on which each reading is a second later than the one before."""

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
        "model=flow_matching", "data=moons", "data.train=200", "data.val=50", "data.test=50", "logger=none",
        "trainer=cpu", "training.batch_size=16",
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
    # a run that was cut off after its last update has no budget left
    (tmp_path / "record.json").unlink()
    assert run(compose_run(settings), tmp_path).cost.updates == 7


def test_a_loss_that_is_not_finite_ends_training():
    class Bad(Line):
        def density(self, x):
            return super().density(x) * (float("nan") if self.calls > 3 else 1.0)

    module = MaximumLikelihood(Bad(PLANE), updates=10, batch_size=4)
    with pytest.raises(zoo.Diverged, match="update 4"):
        fit(module, torch.randn(50, 2), 10, 4)


class NoiseRecorder(Line):
    """A model that keeps the random numbers of zoo and of torch in each loss."""

    def __init__(self):
        super().__init__(PLANE)
        self.noise, self.torch_noise = [], []

    def density(self, x):
        self.noise.append(rng.uniform(x.new_empty(len(x), 1)).flatten())
        self.torch_noise.append(float(torch.rand(())))
        return super().density(x)


def noise(seed, updates=3, **settings):
    module = MaximumLikelihood(NoiseRecorder(), updates=updates, batch_size=4, seed=seed, **settings)
    fit(module, torch.randn(50, 2), updates, 4)
    return torch.cat(module.model.noise), module.model.torch_noise


def test_noise_follows_from_the_seed_and_differs_between_updates_and_seeds():
    (one, torch_one), (again, torch_again), (other, torch_other) = noise(1), noise(1), noise(2)
    assert torch.equal(one, again)
    assert torch_one == torch_again
    assert len({*one.tolist(), *other.tolist()}) == 2 * 3 * 4, "each example of each update draws its own"
    assert len({*torch_one, *torch_other}) == 2 * 3


def test_pieces_of_a_batch_have_the_noise_of_the_whole_batch():
    whole, pieces = noise(1)[0].view(3, 4), noise(1, accumulate=2)[0]
    assert torch.equal(pieces[:4], whole[0]), "the first batch is seen whole once"
    assert torch.equal(pieces[4:].view(3, 2, 2).transpose(1, 2).reshape(3, 4), whole)


def sgd(**settings):
    """Make one step of a Gaussian mean towards the point (6, 8); the gradient of -log_prob / D is -(3, 4)."""
    settings = {"lr": 0.1, "betas": (0.0, 0.0), "clip": None, "schedule": "constant", "warmup": 0} | settings
    module = MaximumLikelihood(Line(PLANE), updates=1, batch_size=4, optimizer="sgd", **settings)
    fit(module, torch.tensor([[6.0, 8.0]]), 1, 4)
    return module


def test_a_step_goes_down_the_gradient_of_the_loss_for_each_dimension():
    module = sgd()
    torch.testing.assert_close(module.model.mean.detach(), torch.tensor([0.3, 0.4]))
    assert module.latest["train/loss"] == pytest.approx(25)


def test_accumulated_pieces_make_the_step_of_the_whole_batch():
    module = sgd(accumulate=2)
    torch.testing.assert_close(module.model.mean.detach(), torch.tensor([0.3, 0.4]))
    assert module.latest["train/loss"] == pytest.approx(25)


def test_clipping_bounds_the_step_but_not_the_reported_norm():
    module = sgd(clip=1.0)
    torch.testing.assert_close(module.model.mean.detach(), torch.tensor([0.06, 0.08]))
    assert module.latest["train/gradient_norm"] == pytest.approx(5)
    assert module.stability.largest_gradient_norm == pytest.approx(5)


def test_the_schedule_scales_every_step():
    module = sgd(warmup=4)
    torch.testing.assert_close(module.model.mean.detach(), torch.tensor([0.075, 0.1]))


def test_averaged_weights_are_the_ones_evaluated():
    module = sgd(ema=0.999)
    mean = module.model.mean.detach()
    assert module.evaluated is not module.model
    torch.testing.assert_close(module.evaluated.mean, (1 - 2 / 11) * mean)
    assert sgd().evaluated.mean is not None
    plain = sgd()
    assert plain.evaluated is plain.model


def in_parts(*parts):
    return torch.utils.data.DataLoader(list(parts), batch_size=None)


def test_every_example_has_the_same_weight_in_a_validation():
    module = Matching(Mean(), updates=1, batch_size=4, ema=0.0, validate_likelihood=5)
    x = torch.arange(7.0)[:, None]
    trainer().validate(module, in_parts(x[:3], x[3:4], x[4:]), verbose=False)
    assert module.latest["val/loss"] == pytest.approx(3)
    assert module.latest["val/nll"] == pytest.approx(20), "of the first five examples"
    assert module.stability.report().oscillation_of == "val/loss"


class Mean(torch.nn.Module):
    """A model whose losses are the data."""

    def matching_loss(self, x):
        return x[:, 0]

    def log_prob(self, x):
        return -10 * x[:, 0]


class Paired(Line):
    """A density whose loss depends on the whole batch."""

    whole_batch = True


def test_a_loss_that_needs_its_whole_batch_refuses_pieces_whatever_the_objective():
    MaximumLikelihood(Paired(PLANE), updates=1, batch_size=4).setup("fit")
    with pytest.raises(zoo.ZooError, match=r"Paired takes its batch as a whole.* training.accumulate=1"):
        MaximumLikelihood(Paired(PLANE), updates=1, batch_size=4, accumulate=2).setup("fit")


def test_a_validation_that_is_not_finite_ends_training():
    module = Matching(Mean(), updates=1, batch_size=4, ema=0.0)
    with pytest.raises(zoo.Diverged, match="Validation loss is inf at update 0"):
        trainer().validate(module, in_parts(torch.full((2, 1), math.inf)), verbose=False)


def test_a_dry_run_changes_no_weights_and_counts_nothing():
    module = sgd()
    before, stability = module.model.mean.detach().clone(), module.stability.state_dict()
    calls = module.model.calls.clone()
    with module.dry_run(), rng.keyed(rng.keys(0, count=4)):
        module.update(torch.randn(4, 2), None)
    assert torch.equal(module.model.mean, before)
    assert torch.equal(module.model.calls, calls), "buffers too"
    assert module.stability.state_dict() == stability
    assert module.model.mean.grad is None


@pytest.mark.parametrize("hook", ["on_before_backward", "on_after_backward", "on_before_optimizer_step"])
def test_lightning_is_left_out_of_an_update_to_which_nothing_else_listens(monkeypatch, hook):
    def weights(*callbacks):
        module = MaximumLikelihood(Line(PLANE), updates=4, batch_size=8, warmup=0)
        trainer(*callbacks).fit(module, batches(torch.ones(20, 2), 8, 4))
        return module.model.mean.detach()

    heard = []
    listener = type(
        "Listener", (pl.Callback,), {hook: lambda self, t, module, *_: heard.append(module.updates)}
    )
    through = weights(listener())
    assert heard == [0, 1, 2, 3]
    for way in ("backward", "optimizer_step"):
        name = f"lightning.pytorch.strategies.SingleDeviceStrategy.{way}"
        monkeypatch.setattr(name, lambda *_, **__: pytest.fail("called"))
    assert torch.equal(weights(), through)


def test_an_update_without_noise_computes_no_keys(monkeypatch):
    def made(noise):
        calls = []
        original = rng.keys
        monkeypatch.setattr(rng, "keys", lambda *a, **k: calls.append(a) or original(*a, **k))
        model = Line(PLANE)
        plain = model.log_prob
        model.log_prob = lambda x: plain(x + rng.normal(x)) if noise else plain(x)
        module = MaximumLikelihood(model, updates=4, batch_size=8, warmup=0, validations=1)
        before = len(calls)
        trainer().fit(module, batches(torch.ones(20, 2), 8, 4))
        return len(calls) - before

    assert made(noise=False) == 0
    assert made(noise=True) == 4
