"""Recipes of papers, ``+experiment=NAME``: how they compose, and what they state."""

from __future__ import annotations

import pytest

from zoo.config import check_choices, compose_run, identify, options
from zoo.config.identities import Identities
from zoo.errors import ZooError
from zoo.sweep.plan import expand

EXPERIMENTS = options("experiment")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_setting_of_a_recipe_exists_in_its_model_data_and_training(name):
    recipe = compose_run([f"+experiment={name}"])
    choices = recipe.hydra.runtime.choices
    groups = [f"{group}={choices[group]}" for group in ("model", "data", "training")]
    plain = compose_run(groups)
    for section in ("model", "data", "training"):
        assert keys(recipe[section]) == keys(plain[section])
    trainer = ("trainer", "logger", "evaluation")
    assert [recipe[section] for section in trainer] == [plain[section] for section in trainer]
    assert recipe.training.updates != plain.training.updates, "a recipe states its length"


def keys(node, prefix=""):
    nested = [keys(value, f"{prefix}{key}.") for key, value in node.items() if hasattr(value, "items")]
    return {prefix + str(key) for key in node} | set().union(*nested)


def test_the_plus_before_experiment_may_be_left_out():
    with_plus, without = (compose_run([f"{e}=wgan_gp_toy"]) for e in ("+experiment", "experiment"))
    assert identify(with_plus) == identify(without)
    assert with_plus.training.batch_size == 256


def test_a_recipe_sets_the_names_of_model_and_data_and_overrides_win():
    identity = identify(compose_run(["+experiment=wgan_gp_toy"]))
    assert (identity.model, identity.data) == ("wgan_gp", "8gaussians")
    config = compose_run(["data=moons", "model.hidden=8", "+experiment=wgan_gp_toy", "training.updates=5"])
    assert (config.data.name, config.model.hidden, config.training.updates) == ("moons", 8, 5)
    assert config.model.depth == 3


@pytest.mark.parametrize("override", ["+experiment=wgan_gp_toys", "experiment=wgan_gp_toys"])
def test_an_unknown_recipe_is_offered_the_nearest_one(override):
    with pytest.raises(ZooError, match="did you mean wgan_gp_toy"):
        check_choices([override])


@pytest.mark.parametrize("plus", ["+", ""])
def test_a_sweep_runs_recipes(plus):
    sweep = {
        "grid": {f"{plus}experiment": ["wgan_gp_toy", "wgan_gp_mnist"], "seed": [0, 1]},
        "when": {f"{plus}experiment=wgan_gp_toy": {"training.updates": 3}},
    }
    jobs = expand(sweep, ["logger=none"])
    identities = Identities()
    found = [identities.of(job) for job in jobs]
    assert found == [identify(compose_run(job)) for job in jobs]
    assert [(i.model, i.data, i.seed) for i in found] == [
        ("wgan_gp", "8gaussians", 0),
        ("wgan_gp", "8gaussians", 1),
        ("wgan_gp", "mnist", 0),
        ("wgan_gp", "mnist", 1),
    ]
    assert found[0].config["training"]["updates"] == 3
    assert len({i.config_hash for i in found}) == 4
