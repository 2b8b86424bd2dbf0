"""The distance of samples, statistics of the training set and counted operations."""

from __future__ import annotations

import csv
import math
from functools import partial

import pytest
import torch
from fitting import Line, batches, trainer

import zoo
from zoo.config import compose_run, to_dict
from zoo.errors import Unsound, ZooError
from zoo.evaluation.energy import energy_distance
from zoo.evaluation.protocol import distance_to
from zoo.factory import load
from zoo.models.core import rng
from zoo.models.core.functional import for_convolutions, for_products
from zoo.record import read, read_rows
from zoo.running.data import prepare_data
from zoo.running.run import run
from zoo.training.callbacks import CountFlops, Curves, FastPaths, SampleDistance, TrainingStatistics
from zoo.training.likelihood import MaximumLikelihood

PLANE = zoo.DataSpec((2,))


def test_curves_have_no_more_rows_than_their_budget(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.training.settings.ROWS", 12)
    module = MaximumLikelihood(Line(PLANE), updates=100, batch_size=4, validations=2, warmup=0, log_every=1)
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    fit = trainer(Curves(tmp_path), val_check_interval=module.validate_every, check_val_every_n_epoch=None)
    fit.fit(module, batches(x, 4, 100), batches(x, 4, 1))
    assert [row["updates"] for row in read_rows(tmp_path)] == list(range(10, 101, 10))


def test_the_distance_of_samples_is_a_curve_for_every_objective(tmp_path):
    """It is a GAN's only validation curve. The checkpoint reproduces its last value."""
    settings = [
        "data=moons", "data.train=200", "data.val=30", "data.test=20", "logger=none", "trainer=cpu",
        "model.hidden=8", "training.updates=12", "training.validations=12", "training.batch_size=16",
        "evaluation.samples=20", "evaluation.latency_repeats=1", "evaluation.throughput_repeats=1",
        "evaluation.throughput_batches=[1]", "evaluation.seed=3",
    ]  # fmt: skip
    curves = {}
    for model, extra in {"gan": [], "maf": ["model.hidden=[8]", "training.validate_samples=20"]}.items():
        config = compose_run([*settings, f"model={model}", *extra])
        run(config, tmp_path / model)
        with (tmp_path / model / "curves.csv").open() as file:
            curves[model] = [float(r["val/energy_distance"]) for r in csv.DictReader(file)]
        assert len(curves[model]) == len(set(curves[model])) == 12
    run(compose_run([*settings, "model=gan", "training.lr=0", "training.ema=0"]), tmp_path / "still")
    with (tmp_path / "still/curves.csv").open() as file:
        assert len({r["val/energy_distance"] for r in csv.DictReader(file)}) == 1, "the same latents"
    with pytest.raises(ZooError, match=r"needs two validation examples, and there is 1; .*data\.val"):
        run(compose_run([*settings, "model=gan", "data.val=1"]), tmp_path / "one")
    stability = {model: read(tmp_path / model).stability for model in curves}
    assert stability["gan"].oscillation_of == "val/energy_distance"
    assert stability["maf"].oscillation_of == "val/loss", "the criterion, where there is one"
    fast = {model: read(tmp_path / model).cost.fast_paths for model in curves}
    assert "fused optimiser" in fast["maf"]
    assert "fused optimiser" not in fast["gan"], "adversarial training has the loop, whose rounding it keeps"
    assert set(stability["maf"].oscillations) == {"val/loss", "val/energy_distance"}
    assert 0 < stability["gan"].oscillation == stability["gan"].oscillations["val/energy_distance"] < 1
    model = load(tmp_path / "gan/checkpoints/last.ckpt")
    with rng.keyed(rng.keys(3, count=30)):
        samples = model.sample(30)
    real = prepare_data(to_dict(compose_run([*settings, "model=gan"]).data)).splits["val"]
    assert curves["gan"][-1] == pytest.approx(energy_distance(samples, real)[0], rel=1e-5)


def test_a_distance_that_is_not_finite_leaves_a_gap_in_the_curve():
    module = MaximumLikelihood(Line(PLANE), updates=4, batch_size=4, validate_samples=5)
    distance = SampleDistance(partial(distance_to, torch.randn(5, 2), PLANE, 0))
    module.evaluated.sample = lambda n, temperature=1.0: torch.randn(n, 2)
    x = torch.randn(20, 2)
    trainer(distance).validate(module, batches(x, 4, 1), verbose=False)
    assert math.isfinite(module.latest["val/energy_distance"])
    module.evaluated.sample = lambda n, temperature=1.0: torch.full((n, 2), math.nan)
    trainer(distance).validate(module, batches(x, 4, 1), verbose=False)

    def unsound(n, temperature=1.0):
        raise Unsound("Samples overflow.")

    module.evaluated.sample = unsound
    trainer(distance).validate(module, batches(x, 4, 1), verbose=False)
    assert "val/energy_distance" not in module.latest
    assert module.stability.report().oscillation_of == "val/loss"
    assert len(module.stability.state_dict()["criterion"]["val/energy_distance"]) == 1


def toy():
    return prepare_data(
        {"_target_": "zoo.data.toys.Toy", "name": "moons", "train": 2500, "val": 10, "test": 10}
    )


def test_a_model_is_given_the_whole_training_set_before_each_validation():
    seen = []

    class Collecting(Line):
        def on_training_statistics(self, batches):
            seen.append(torch.cat([x for x, y in batches if y is None]))

    data = toy()
    module = MaximumLikelihood(Collecting(PLANE), updates=4, batch_size=4, validations=2)
    train, val = data.train_dataloader(4, stop=4), data.val_dataloader(4)
    fitting = trainer(TrainingStatistics(data), val_check_interval=module.validate_every)
    fitting.fit(module, train, val)
    assert len(seen) == 2
    assert all(torch.equal(x, data.splits["train"]) for x in seen)


class Affine(zoo.GenerativeModel):
    """log p(x) by one product with a matrix of 2 x 2."""

    family, likelihood = "flow", "exact"

    def __init__(self):
        super().__init__(PLANE)
        self.layer = torch.nn.Linear(2, 2, bias=False)

    def _log_prob(self, x, context=None):
        return -0.5 * self.layer(x).square().sum(1)


def test_the_operations_of_an_update_are_divided_by_its_examples():
    data, counter = toy(), CountFlops(toy())
    module = MaximumLikelihood(Affine(), updates=3, batch_size=5)
    trainer(counter).fit(module, data.train_dataloader(5, stop=3))
    # forward 2 * 2 * 2, backward to the weights as many; the input needs no gradient
    assert (counter.flops_per_example, counter.reason) == (16, None)


def test_without_training_no_operations_are_counted():
    counter = CountFlops(toy())
    assert counter.flops_per_example is None
    assert counter.reason == "Training had ended before."


class Formats(Line):
    """A density with a convolution and a linear layer, whose inputs may be in a processor's own formats."""

    def __init__(self, own):
        super().__init__(PLANE)
        self.own = own
        self.conv, self.linear = torch.nn.Conv2d(2, 2, 1), torch.nn.Linear(2, 2)

    def density(self, x):
        image, vector = x.view(-1, 2, 1, 1).expand(-1, -1, 2, 2).contiguous(), x + 0
        if self.own:
            image, vector = for_convolutions(image), for_products(vector)
        return super().density(x) + self.conv(image).sum((1, 2, 3)) + self.linear(vector).sum(1)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("realnvp", {"couplings as one operation"}),
        ("maf", {"masked layers as one operation"}),
        ("nsf_autoregressive", set()),
    ],
)
def test_a_record_says_which_layers_were_one_operation(tmp_path, model, told):
    settings = [
        "data=moons", "data.train=200", "data.val=30", "data.test=20", "logger=none", "trainer=cpu",
        "training.updates=4", "training.validations=4", "evaluation.samples=20",
        "evaluation.latency_repeats=1", "evaluation.throughput_repeats=1",
        "evaluation.throughput_batches=[1]",
    ]  # fmt: skip
    run(compose_run([*settings, f"model={model}"]), tmp_path / model)
    names = read(tmp_path / model).cost.fast_paths
    assert {name for name in names if "one operation" in name} == told


@pytest.mark.parametrize(
    ("own", "optimizer", "names"),
    [(True, "adam", ["channels last", "features first", "fused optimiser"]), (False, "sgd", [])],
)
def test_fast_paths_are_named_as_the_first_update_took_them(own, optimizer, names):
    module = MaximumLikelihood(Formats(own), updates=3, batch_size=4, optimizer=optimizer)
    fast = FastPaths()
    assert fast.names is None
    trainer(fast).fit(module, batches(torch.randn(20, 2), 4, 3))
    assert fast.names == names
    assert fast.hooks == [], "no layer is watched any more"
