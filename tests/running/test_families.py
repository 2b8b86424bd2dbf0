"""The sweep of all families is a fair comparison: similar numbers of weights, and of real images seen."""

from __future__ import annotations

import pytest

from zoo.config import compose_run, options, to_dict
from zoo.data.spec import DataSpec
from zoo.factory import instantiate
from zoo.running.fit import training_module
from zoo.running.spec import RunSpec
from zoo.sweep.definition import expand, find_sweep, read_sweep

JOBS = {
    next(o for o in job if o.startswith("model=")).removeprefix("model="): job
    for job in expand(read_sweep(find_sweep("families")), ["seed=0"])
}


# Models of papers' tables: closed forms, binary data, or a size that belongs to its table.
OF_TABLES = {"bernoulli_mixture", "gaussian", "made_binary", "pacgan", "vae_dense"}


def test_the_sweep_contains_every_family():
    assert sorted(JOBS) == sorted(set(options("model")) - OF_TABLES)


@pytest.mark.parametrize("name", JOBS)
def test_models_have_comparable_weights_and_see_the_same_number_of_images(name):
    config = compose_run(JOBS[name])
    model = instantiate(to_dict(config.model), DataSpec((1, 8, 8), levels=17, classes=10))
    module = training_module(RunSpec.of(config), model)
    assert 100_000 <= sum(p.numel() for p in model.parameters() if p.requires_grad) <= 350_000
    assert module.schedule.updates * module.examples_per_update == 5000 * 128


@pytest.mark.parametrize("name", ["wgan", "wgan_gp"])
def test_sweeps_give_the_wgans_more_than_their_default_learning_rates(name):
    """The published rates are for 100,000 updates or more and would hardly change a model in 1,000."""
    claims = read_sweep(find_sweep("claims_digits")).when[f"model={name}"]
    ours = compose_run(JOBS[name]).training.lr
    assert compose_run([f"model={name}"]).training.lr < ours == claims["training.lr"]
