"""Composition: names are checked with the nearest offered, and a hash says who a run is."""

from __future__ import annotations

import pytest

from zoo.config import check_choices, compose_run, identify, options, run_dir_override
from zoo.errors import ZooError
from zoo.sweep import expand, find_sweep


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=realnpv"], "no model called 'realnpv'; did you mean realnvp"),
        (["data=digit"], "no data set called 'digit'; did you mean digits"),
        (["trainig.updates=3"], "did you mean training.updates"),
        (["model.hiden=3"], "no setting called 'model.hiden'"),
        (["training.updates"], "not an override"),
        (["model=glow,realnpv"], "no model called 'realnpv'"),
        (["training=3"], "no training called '3'"),
        (["model=maf", "model.hidden.a=1"], r"reaches into a list; write the whole of it, model.hidden="),
        (["+training.betas.x=1"], "reaches into a list"),
        (["seed=one"], "seed is a whole number; got 'one'"),
        (["~seed"], "seed is a whole number; got None"),
    ],
)
def test_mistakes_get_one_sentence(overrides, message):
    with pytest.raises(ZooError, match=message) as error:
        compose_run(overrides)
    assert "\n" not in str(error.value)


def test_identity_is_what_changes_the_numbers():
    def who(*overrides):
        return identify(compose_run(["model=maf", *overrides])).config_hash

    assert who() == who("logger=none") == who("data.root=/somewhere") == who(run_dir_override("a b='c"))
    assert who() == who("evaluation.dinov2_weights=/somewhere")
    changed = [
        who(),
        who("seed=1"),
        who("training.updates=3"),
        who("data=moons"),
        who("model.pixels.alpha=0.1"),
    ]
    assert len(set(changed)) == len(changed)
    same = {identify(compose_run([f"seed={s}"])).config_hash_without_seed for s in range(3)}
    assert len(same) == 1


def test_a_models_rule_is_chosen_by_its_yaml():
    assert compose_run(["model=gan"]).training._target_.endswith("Adversarial")
    assert compose_run(["model=flow_matching"]).training._target_.endswith("Matching")
    assert compose_run(["model=glow"]).training._target_.endswith("MaximumLikelihood")
    assert compose_run(["model=glow", "training=matching"]).training._target_.endswith("Matching")


def test_own_model_beside_the_shipped_ones(workdir):
    (workdir / "conf/model").mkdir(parents=True)
    (workdir / "conf/model/mine.yaml").write_text("_target_: mine.Mine\nwidth: 3\n")
    assert "mine" in options("model")
    assert compose_run(["model=mine", "model.width=5"]).model.width == 5


def test_expand():
    sweep = {
        "overrides": {"data": "digits", "training.updates": 10},
        "grid": {"model": ["glow", "gan"], "seed": [0, 1]},
        "list": [{"model": "vae"}],
        "when": {"model=gan": {"training.updates": 20}},
    }
    jobs = expand(sweep, ["seed=5,6,7", "logger=none"])
    assert len(jobs) == 9
    assert "model=gan" in jobs[3]
    assert "training.updates=20" in jobs[3]
    assert jobs[-1] == ["data=digits", "training.updates=10", "model=vae", "seed=7", "logger=none"]
    assert all(("training.updates=10" in job) == ("model=gan" not in job) for job in jobs)
    with pytest.raises(ZooError, match="did you mean grid"):
        expand({"gird": {}}, [])
    with pytest.raises(ZooError, match="holds lists"):
        expand({"grid": {"seed": 3}}, [])


def test_a_job_keeps_what_it_says_itself():
    sweep = {
        "overrides": {"training.lr": 1},
        "grid": {"training.lr": [2]},
        "variants": [{"model": "gan"}, {"model": "gan", "training.ema": 0}, {"model": "vae"}],
        "when": {"model=gan": {"training.lr": 3, "training.ema": 9}},
    }
    assert expand(sweep, []) == [
        ["training.lr=2", "model=gan", "training.ema=9"],
        ["training.lr=2", "model=gan", "training.ema=0"],
        ["training.lr=2", "model=vae"],
    ]


def test_the_command_line_wins_and_conditions_see_what_it_leaves():
    sweep = {
        "overrides": {"data": "digits", "model": "vae"},
        "when": {"model=glow": {"lr": 5e-5}, "model=vae": {"lr": 0.01, "ema": 0}},
    }
    assert expand(sweep, ["model=glow"]) == [["data=digits", "model=glow", "lr=5e-05"]]
    assert expand(sweep, ["model=glow", "lr=3"]) == [["data=digits", "model=glow", "lr=3"]]
    assert expand(sweep, ["model=glow,vae"]) == [
        ["data=digits", "model=glow", "lr=5e-05"],
        ["data=digits", "model=vae", "lr=0.01", "ema=0"],
    ]
    named = {
        "variants": [{"model": "vae"}, {"model": "gan", "seed": 2}],
        "list": [{"model": "maf", "seed": 9}],
    }
    for extra in (["seed=7"], ["seed=7,8"]):
        jobs = expand(named, extra)
        assert len(jobs) == 3 * len(extra[0].split(","))
        assert not any("seed=2" in job or "seed=9" in job for job in jobs)
    assert expand({"grid": {"seed": [0, 1]}, "list": [{"seed": 2}]}, ["seed=5"]) == [["seed=5"]] * 2


@pytest.mark.parametrize(
    ("value", "condition"),
    [
        (True, "true"), (None, "null"), (0.001, "1e-3"), ("1e-3", "0.001"), ([64, 64], "[64,64]"),
        ("a b", "a b"), ("a, b", "'a, b'"),
    ],
)  # fmt: skip
def test_a_condition_is_about_the_value_however_it_is_written(value, condition):
    for sweep, extra in (
        ({"overrides": {"x": value}}, []),
        ({"list": [{"x": value}]}, []),
        ({}, [f"x={condition}"]),
    ):
        (job,) = expand(sweep | {"when": {f"x={condition}": {"met": 1}, "x=2": {"met": 2}}}, extra)
        assert "met=1" in job
    (job,) = expand({"when": {f"x={condition}": {"met": 1}}}, [])
    assert job == [], "a key that is not set has no value, not even null"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=0,1", ["seed=0", "seed=1"]),
        ("seed=range(0,3)", ["seed=0", "seed=1", "seed=2"]),
        ("model.hidden=[64,64]", ["model.hidden=[64,64]"]),
        ("model.hidden=[8,8],[9]", ["model.hidden=[8,8]", "model.hidden=[9]"]),
        ("model.unet={a:1,b:2}", ["model.unet={a:1,b:2}"]),
        ("data.path='a,b'", ["data.path='a,b'"]),
        ("hydra.launcher.partition=gpu,long", ["hydra.launcher.partition='gpu,long'"]),
        ("+hydra.launcher.additional_parameters.x=a,b", ["+hydra.launcher.additional_parameters.x='a,b'"]),
        ("logger.project=a,b", ["logger.project='a,b'"]),
        ("launcher=local,slurm", ["launcher='local,slurm'"]),
    ],
)
@pytest.mark.parametrize("sweep", [{}, {"grid": {"seed": [9], "model.hidden": [[7]]}}], ids=["new", "known"])
def test_what_spans_an_axis_of_the_command_line(sweep, override, expected):
    key = override.partition("=")[0]
    jobs = expand(sweep, [override])
    assert [part for job in jobs for part in job if part.startswith(f"{key}=")] == expected
    assert len(jobs) == len(expected)


def test_values_that_cannot_be_listed_are_refused():
    with pytest.raises(ZooError, match=r"write training\.lr=1,2,3"):
        expand({}, ["training.lr=interval(0,1)"])


def test_what_yaml_says_reaches_the_run():
    said = [
        "a, b", "(x)", "[1", "it's", 'a "b"', "a=b", "null", "true", "x\\", "", " a ", "é", "a:b", "1,2",
        "a b", "/a", True, None, 3, 1e-5, float("inf"), [1, "a, b", None], ["[", [0.5]], {"a": "b", "d": [1]},
    ]  # fmt: skip
    values = {f"v{index}": value for index, value in enumerate(said)}
    (job,) = expand({"overrides": {f"+model.{key}": value for key, value in values.items()}}, [])
    found = identify(compose_run(["model=maf", *job])).config["model"]
    assert {key: repr(found[key]) for key in values} == {key: repr(value) for key, value in values.items()}


def test_blocks_are_sweeps_one_after_the_other():
    second = {"overrides": {"updates": 3}, "when": {"model=gan": {"lr": 5}}, "list": [{"model": "gan"}]}
    sweep = {
        "overrides": {"data": "digits", "updates": 10},
        "when": {"model=gan": {"lr": 1, "ema": 2}},
        "blocks": [{"grid": {"seed": [0, 1], "model": ["gan", "vae"]}}, second],
    }
    assert list(map(" ".join, expand(sweep, ["logger=none"]))) == [
        "data=digits updates=10 seed=0 model=gan lr=1 ema=2 logger=none",
        "data=digits updates=10 seed=0 model=vae logger=none",
        "data=digits updates=10 seed=1 model=gan lr=1 ema=2 logger=none",
        "data=digits updates=10 seed=1 model=vae logger=none",
        "data=digits updates=3 model=gan lr=5 ema=2 logger=none",
    ]
    assert len(expand(sweep, ["seed=7"])) == 3
    with pytest.raises(ZooError, match="did you mean grid"):
        expand({"blocks": [{"gird": {}}]}, [])
    with pytest.raises(ZooError, match="whole sweep"):
        expand({"blocks": [{"jobs": 2}]}, [])


def test_find(workdir):
    assert find_sweep("quickstart").name == "quickstart.yaml"
    with pytest.raises(ZooError, match="did you mean quickstart"):
        find_sweep("quikstart")
    (workdir / "sweeps").mkdir()
    (workdir / "sweeps/mine.yaml").write_text("grid: {seed: [0]}")
    assert find_sweep("mine") == workdir / "sweeps/mine.yaml"


def test_a_misspelt_published_size_is_offered_the_nearest_one():
    with pytest.raises(ZooError, match="did you mean published/glow_cifar10"):
        check_choices(["model=published/glow_cifr10"])
