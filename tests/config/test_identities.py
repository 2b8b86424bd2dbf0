"""Identities computed without composing each run equal those of the full composition."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.config import compose_run, identify
from zoo.config.identities import Identities
from zoo.errors import ZooError

MANY = [
    ["model=glow", "data=digits", "seed=3", "training.lr=0.0005", "training.updates=1_000", "sweep=x"],
    ["model=glow", "data=digits", "seed=4", "training.lr=5e-4", "sweep=y"],
    ["data=digits", "training.lr=1", "model=glow", "training.lr=0.1"],  # the last one wins
    ["model=gan", "training.r1=0", "model.width=8", "training.clip=null"],
    ["model=diffusion", "model.unet.channels=8", "model.solver.method='rk4'", "training.ema=0"],
    ["model=diffusion", "model.unet={channels: 8}"],  # merged by Hydra
    ["model=glow", "model.hidden=[32,32]", "+model.own=1", "logger=wandb", "logger.project=mine"],
    ["model=maf", "data.root=/somewhere", "hydra.run.dir=/elsewhere"],
    ["model=maf", "model.log_scale_bound=${training.lr}", "training.lr=0.5"],
    ["model=realnvp", "model.bound=true", "model.base=a b", "seed=07"],
    ["+experiment=glow_cifar10", "model.steps=48", "seed=3"],
    ["model=maf", "data=digits", "data.side=4", "evaluation.throughput_batches=[16]"],
    ["model=maf", "data=digits", "data.side=null"],
    ["data.side=4", "data=digits", "model=maf", "data.side=${seed}"],
    ["data=digits", "model=maf", "data=moons"],
    ["model=maf", "evaluation.dinov2_weights=/elsewhere", "evaluation.extractor=dinov2"],
    ["model=maf", "model.hidden=[64, 64]", "training.betas=[0.5, 0.99]", "seed=2"],
    ["model=maf", "model.hidden=[]", "training.betas=[1e-1,null,true,'a, b',[2,x]]", "training.lr=[1]"],
    ["model=gan", "training.augment=[translation]", "training.augment=null"],
    [],
]


@pytest.fixture(scope="module")
def identities():
    return Identities()


@pytest.mark.parametrize("overrides", MANY, ids=" ".join)
def test_every_identity_equals_that_of_the_full_composition(identities, overrides):
    expected = identify(compose_run(overrides))
    for _ in range(2):  # the second time from the cache
        assert identities.of(overrides) == expected
        assert identities.of(overrides).run_id == expected.run_id


VALUES = {
    "model": ["maf", "glow", "vae", "gan"],
    "data": ["digits", "moons"],
    "seed": ["0", "7", "07"],
    "training.lr": ["0.001", "1e-3", "null", "[1]", "${training.warmup}"],
    "training.updates": ["5", "1_000"],
    "logger": ["none", "wandb"],
    "logger.project": ["mine", "'a b'"],
    "data.root": ["/somewhere", "null"],
    "hydra.run.dir": ["/elsewhere"],
    "evaluation.samples": ["10", "10.0"],
    "sweep": ["x"],
}


@pytest.mark.parametrize("seed", range(15))
def test_fast_identities_equal_those_of_the_full_composition(identities, seed):
    generator = np.random.default_rng(seed)
    keys = generator.permutation(list(VALUES))[: generator.integers(1, len(VALUES) + 1)]
    overrides = [f"{key}={generator.choice(VALUES[key])}" for key in keys]
    assert answer(identities.of, overrides) == answer(lambda o: identify(compose_run(o)), overrides)


def answer(function, overrides):
    """Return the value of a function, or the sentence of its error."""
    try:
        return function(overrides)
    except ZooError as error:
        return str(error)


def test_an_identity_does_not_depend_on_earlier_ones(identities):
    before = identities.of(["model=glow", "seed=1"])
    identities.of(["model=glow", "model.width=7", "seed=2"])
    assert identities.of(["model=glow", "seed=1"]) == before
    assert identities.of(["model=glow", "seed=2"]).config_hash_without_seed == before.config_hash_without_seed


def test_the_files_of_the_user_are_part_of_the_identity(identities, tmp_path):
    for rows in (8, 9):
        np.save(tmp_path / f"{rows}.npy", np.zeros((rows, 2)))
        overrides = ["model=maf", "data=table", f"data.path={tmp_path}/{rows}.npy", "seed=5"]
        assert identities.of(overrides) == identify(compose_run(overrides))


@pytest.mark.parametrize("wrong", ["model=glw", "training.lrr=1", "model.unet.a=1", "nonsense", "model="])
def test_a_mistake_has_the_error_of_the_full_composition(identities, wrong):
    with pytest.raises(ZooError) as expected:
        compose_run(["model=glow", wrong])
    with pytest.raises(ZooError) as error:
        identities.of(["model=glow", wrong])
    assert str(error.value) == str(expected.value)


def test_runs_that_differ_in_plain_values_are_composed_once(identities, monkeypatch):
    composed = compositions(monkeypatch)
    fresh = Identities()
    computed = {
        fresh.of(["model=maf", f"seed={seed}", f"training.lr={lr}", f"model.hidden=[64, {seed}]"]).run_id
        for seed in range(50)
        for lr in (0.1, 0.2, 0.3)
    }
    assert len(computed) == 150
    assert len(composed) == 1


def compositions(monkeypatch):
    """Return a list to which every composition appends its overrides."""
    composed = []
    monkeypatch.setattr(
        "zoo.config.identities.compose_run", lambda o: composed.append(list(o)) or compose_run(o)
    )
    return composed


def test_a_grid_of_models_and_data_sets_composes_each_of_them_once(monkeypatch):
    composed, identities = compositions(monkeypatch), Identities()
    for model in ("maf", "gan", "flow_matching"):
        for data in ("moons", "digits", "imagenet64"):
            overrides = [f"data={data}", "logger=none", f"model={model}", "seed=3"]
            assert identities.of(overrides) == identify(compose_run(overrides))
    for model, side in (("maf", 4), ("gan", 4)):
        overrides = ["data=digits", "logger=none", f"model={model}", f"data.side={side}"]
        assert identities.of(overrides) == identify(compose_run(overrides))
    assert len(composed) == 7


INTERACTING = {
    "a data set that fills a section": ("data/odd.yaml", "defaults: [/training@_global_.own: matching]\n"),
    "a data set with a wrong default": ("data/odd.yaml", "defaults: [override /training: matching]\n"),
    "a data set with a package": ("data/odd.yaml", "# @package _global_\nown: 5\ndata: {root: /x}\n"),
    "a data set that reads a setting": ("data/odd.yaml", "root: ${seed}\n"),
    "a model with a package": ("model/odd.yaml", "# @package _global_\nmodel: {a: 1}\ndata: {train: 7}\n"),
    "a model that chooses a data set": ("model/odd.yaml", "defaults: [override /data: rings]\na: 1\n"),
    "a model that fills the data": ("model/odd.yaml", "defaults: [/training@data.more: matching]\na: 1\n"),
    "a model that reads the data": ("model/odd.yaml", "a: ${data.train}\n"),
}


@pytest.mark.parametrize("case", INTERACTING)
def test_choices_that_interact_are_composed_together(case, tmp_path, monkeypatch):
    name, text = INTERACTING[case]
    group = name.partition("/")[0]
    (tmp_path / "conf" / group).mkdir(parents=True)
    extra = "_target_: zoo.data.toys.Toy\nname: moons\n" if group == "data" and "@package" not in text else ""
    (tmp_path / "conf" / name).write_text(text + extra)
    monkeypatch.chdir(tmp_path)
    choices = ["model=maf", "data=odd"] if group == "data" else ["model=odd", "data=moons"]
    expected = answer(lambda o: identify(compose_run(o)), choices)
    identities = Identities()
    assert answer(identities.of, ["data=digits", *choices[:1]]) is not None
    assert answer(identities.of, choices) == expected


def test_the_lists_of_an_identity_are_copies(identities):
    overrides = ["model=maf", "model.hidden=[64, 64]"]
    first = identities.of(overrides)
    first.config["model"]["hidden"].append(1)
    assert identities.of(overrides).config["model"]["hidden"] == [64, 64]


def test_a_setting_that_came_later_is_hashed_only_where_it_is_not_its_default(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1.5,2.5\n")
    table, images = (
        ["model=maf", f"data={name}", f"data.path={tmp_path / 't.csv'}"] for name in ("table", "images")
    )
    for overrides, section, key, value in (
        (table, "data", "decimal", "point"),
        (table, "trainer", "float32_matmul", "high"),
        (table, "trainer", "gradient_compression", "fp16"),
        (images, "data", "drop_repeats", "true"),
        (["model=gan", "data=moons"], "training", "simultaneous", "true"),
    ):
        assert key not in identify(compose_run(overrides)).config[section]
        assert key in identify(compose_run([*overrides, f"{section}.{key}={value}"])).config[section]
        default = compose_run(overrides)[section][key]
        named = [*overrides, f"{section}.{key}={'null' if default is None else default}"]
        assert identify(compose_run(named)) == Identities().of(named) == Identities().of(overrides)
    assert "drop_repeats" in identify(compose_run(table)).config["data"], "tables had it all along"
