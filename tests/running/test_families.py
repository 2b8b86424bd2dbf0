"""The sweep of all families is a fair fight: comparable weights, and the same number of real images seen."""

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


def test_every_family_takes_part():
    assert sorted(JOBS) == sorted(options("model"))


@pytest.mark.parametrize("name", JOBS)
def test_weights_are_comparable_and_the_images_seen_are_the_same(name):
    config = compose_run(JOBS[name])
    model = instantiate(to_dict(config.model), DataSpec((1, 8, 8), levels=17, classes=10))
    rule = training_module(RunSpec.of(config), model)
    assert 100_000 <= sum(p.numel() for p in model.parameters() if p.requires_grad) <= 350_000
    assert rule.schedule.updates * rule.examples_per_update == 5000 * 128


@pytest.mark.parametrize("name", ["wgan", "wgan_gp"])
def test_a_short_wgan_does_not_keep_the_rate_of_a_long_one(name):
    """Rates published for 100,000 updates or more hardly move a model in 1,000; both sweeps say the same."""
    claims = read_sweep(find_sweep("claims_digits")).when[f"model={name}"]
    ours = compose_run(JOBS[name]).training.lr
    assert compose_run([f"model={name}"]).training.lr < ours == claims["training.lr"]
