"""From the YAML of a sweep to the overrides of its jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.cli import main
from zoo.config import compose_run, identify
from zoo.errors import ZooError
from zoo.sweep import check_sweep, expand, find_sweep


def jobs_of(sweep, *extra):
    """Return the overrides of each job, as one line."""
    return list(map(" ".join, expand(check_sweep(sweep, "mine"), extra)))


def test_a_grid_is_a_product_whose_last_axis_varies_fastest():
    assert jobs_of({"grid": {"model": ["glow", "gan"], "seed": [0, 1]}}) == [
        "model=glow seed=0",
        "model=glow seed=1",
        "model=gan seed=0",
        "model=gan seed=1",
    ]


def test_overrides_grid_list_and_conditions_together():
    sweep = {
        "overrides": {"data": "digits", "training.updates": 10},
        "grid": {"model": ["glow", "gan"], "seed": [0, 1]},
        "list": [{"model": "vae"}],
        "when": {"model=gan": {"training.updates": 20}},
    }
    jobs = expand(check_sweep(sweep, "mine"), ["seed=5,6,7", "logger=none"])
    assert len(jobs) == 9
    assert "model=gan" in jobs[3]
    assert "training.updates=20" in jobs[3]
    assert jobs[-1] == ["data=digits", "training.updates=10", "model=vae", "seed=7", "logger=none"]
    assert all(("training.updates=10" in job) == ("model=gan" not in job) for job in jobs)


def test_the_settings_of_a_job_win_over_those_of_a_condition():
    sweep = {
        "overrides": {"training.lr": 1},
        "grid": {"training.lr": [2]},
        "variants": [{"model": "gan"}, {"model": "gan", "training.ema": 0}, {"model": "vae"}],
        "when": {"model=gan": {"training.lr": 3, "training.ema": 9}},
    }
    assert jobs_of(sweep) == [
        "training.lr=2 model=gan training.ema=9",
        "training.lr=2 model=gan training.ema=0",
        "training.lr=2 model=vae",
    ]


def test_the_settings_of_a_condition_win_over_the_overrides_of_the_sweep():
    sweep = {"overrides": {"model": "gan", "lr": 1}, "when": {"model=gan": {"lr": 3}}}
    assert jobs_of(sweep) == ["model=gan lr=3"]


def test_the_command_line_wins_and_conditions_are_tested_on_the_result():
    sweep = {
        "overrides": {"data": "digits", "model": "vae"},
        "when": {"model=glow": {"lr": 5e-5}, "model=vae": {"lr": 0.01, "ema": 0}},
    }
    assert jobs_of(sweep, "model=glow") == ["data=digits model=glow lr=5e-05"]
    assert jobs_of(sweep, "model=glow", "lr=3") == ["data=digits model=glow lr=3"]
    assert jobs_of(sweep, "model=glow,vae") == [
        "data=digits model=glow lr=5e-05",
        "data=digits model=vae lr=0.01 ema=0",
    ]


@pytest.mark.parametrize("extra", ["seed=7", "seed=7,8"])
def test_the_command_line_replaces_the_seeds_of_variants_and_single_jobs(extra):
    sweep = {
        "variants": [{"model": "vae"}, {"model": "gan", "seed": 2}],
        "list": [{"model": "maf", "seed": 9}],
    }
    jobs = jobs_of(sweep, extra)
    assert len(jobs) == 3 * len(extra.split(","))
    assert not any("seed=2" in job or "seed=9" in job for job in jobs)


def test_a_fixed_key_of_the_command_line_leaves_the_number_of_jobs():
    assert jobs_of({"grid": {"seed": [0, 1]}, "list": [{"seed": 2}]}, "seed=5") == ["seed=5"] * 2


@pytest.mark.parametrize(
    ("value", "condition"),
    [
        (True, "true"), (None, "null"), (0.001, "1e-3"), ("1e-3", "0.001"), ([64, 64], "[64,64]"),
        ("a b", "a b"), ("a, b", "'a, b'"),
    ],
)  # fmt: skip
def test_a_condition_is_met_by_its_value_in_every_spelling(value, condition):
    for sweep, extra in (
        ({"overrides": {"x": value}}, []),
        ({"list": [{"x": value}]}, []),
        ({}, [f"x={condition}"]),
    ):
        (job,) = jobs_of(sweep | {"when": {f"x={condition}": {"met": 1}, "x=2": {"met": 2}}}, *extra)
        assert "met=1" in job
    assert jobs_of({"when": {f"x={condition}": {"met": 1}}}) == [""], (
        "a missing key has no value, not even null"
    )


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
def test_several_values_span_an_axis_unless_the_jobs_would_be_the_same_run(sweep, override, expected):
    key = override.partition("=")[0]
    jobs = expand(check_sweep(sweep, "mine"), [override])
    assert [part for job in jobs for part in job if part.startswith(f"{key}=")] == expected
    assert len(jobs) == len(expected)


def test_values_that_cannot_be_listed_are_refused():
    with pytest.raises(ZooError, match=r"write training\.lr=1,2,3"):
        jobs_of({}, "training.lr=interval(0,1)")


def test_every_value_of_yaml_reaches_the_run_unchanged():
    values = [
        "a, b", "(x)", "[1", "it's", 'a "b"', "a=b", "null", "true", "x\\", "a\\b", "", " a ", "é", "a:b",
        "1,2", "a b", "/a", True, None, 3, 1e-5, float("inf"), [1, "a, b", None], ["[", [0.5]],
        {"a": "b", "d": [1]},
    ]  # fmt: skip
    settings = {f"v{index}": value for index, value in enumerate(values)}
    sweep = {"overrides": {f"+model.{key}": value for key, value in settings.items()}}
    (job,) = expand(check_sweep(sweep, "mine"), [])
    config = identify(compose_run(["model=maf", *job])).config["model"]
    assert {key: repr(config[key]) for key in settings} == {k: repr(value) for k, value in settings.items()}


def test_blocks_run_one_after_the_other_and_inherit():
    second = {"overrides": {"updates": 3}, "when": {"model=gan": {"lr": 5}}, "list": [{"model": "gan"}]}
    sweep = {
        "overrides": {"data": "digits", "updates": 10},
        "when": {"model=gan": {"lr": 1, "ema": 2}},
        "blocks": [{"grid": {"seed": [0, 1], "model": ["gan", "vae"]}}, second],
    }
    assert jobs_of(sweep, "logger=none") == [
        "data=digits updates=10 seed=0 model=gan lr=1 ema=2 logger=none",
        "data=digits updates=10 seed=0 model=vae logger=none",
        "data=digits updates=10 seed=1 model=gan lr=1 ema=2 logger=none",
        "data=digits updates=10 seed=1 model=vae logger=none",
        "data=digits updates=3 model=gan lr=5 ema=2 logger=none",
    ]
    assert len(jobs_of(sweep, "seed=7")) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gird: {}", "There is no sweep setting called 'gird'; did you mean grid?"),
        ("blocks: [{gird: {}}]", "did you mean grid"),
        ("blocks: [{jobs: 2}]", "'jobs' is a setting of a whole sweep, not of one of its blocks."),
        ("grid: {seed: 3}", "grid.seed must be a list in mine.yaml; got 3."),
        ("grid: {seed: []}", "grid.seed must be not empty"),
        ("jobs: many", "jobs must be a whole number in mine.yaml; got 'many'."),
        ("jobs: -3", "jobs must be at least 1 in mine.yaml; got -3."),
        ("jobs: true", "jobs must be a whole number"),
        ("threads: 0", "threads must be at least 1"),
        ("threads: many", "threads must be a whole number"),
        ("- model=vae", "A sweep must be a mapping of settings (docs/sweeps.md) in mine.yaml"),
        ("3", "A sweep must be a mapping of settings"),
        ("grid: [1, 2]", "grid must be a mapping"),
        ("list: {model: vae}", "list must be a list"),
        ("overrides: [a]", "overrides must be a mapping"),
        ("blocks: 3", "blocks must be a list"),
        ("blocks: [3]", "blocks[0] must be a mapping"),
        ("variants: [1]", "variants[0] must be a mapping"),
        ("when: {model=gan: 3}", "when.model=gan must be a mapping"),
        ("search: 5", "search must be a mapping"),
        (
            "grid: {seed: [0]}\nblocks: [{grid: {seed: [1]}}]",
            "'grid' beside 'blocks' would be",
        ),
        ("grid: {", "The sweep mine.yaml is not valid YAML"),
    ],
)
def test_a_wrong_sweep_is_refused_in_one_sentence(workdir, capsys, text, words):
    Path("mine.yaml").write_text(text + "\n")
    assert main(["sweep", "mine.yaml", "--dry-run"]) == 2
    sentence = capsys.readouterr().err
    assert sentence.count("\n") == 1
    assert words in sentence


def test_settings_without_a_value_count_as_missing(workdir):
    Path("mine.yaml").write_text("overrides: {model: maf}\ngrid:\nwhen:\nlist:\nblocks:\n")
    assert main(["sweep", "mine.yaml", "--dry-run"]) == 0


def test_the_number_of_jobs_at_a_time_is_at_least_one(capsys):
    assert main(["sweep", "quickstart", "--dry-run", "--jobs", "0"]) == 2
    assert "--jobs is how many run at a time, at least 1; got 0." in capsys.readouterr().err


def test_a_sweep_of_the_working_directory_is_found_before_a_shipped_one(workdir):
    assert find_sweep("quickstart").name == "quickstart.yaml"
    with pytest.raises(ZooError, match="did you mean quickstart"):
        find_sweep("quikstart")
    (workdir / "sweeps").mkdir()
    for name in ("mine", "quickstart"):
        (workdir / f"sweeps/{name}.yaml").write_text("grid: {seed: [0]}")
        assert find_sweep(name) == workdir / f"sweeps/{name}.yaml"
