"""Paths with any character are taken as they stand in the shell; what Hydra cannot read is a text."""

from __future__ import annotations

import pytest

from zoo.config import compose_run, identify, run_dir_override
from zoo.config.overrides import absolute, as_typed, swept_values
from zoo.errors import ZooError
from zoo.running.spec import RunSpec

NAMES = [
    "a b", "données (1)", "it's", 'a "b"', "'", "a=b", "=", "2024", "1e3", "true", "null.d", "[x]", "{a: 1}",
    "a,b", "-x", "x\\", "a\\'b", "w${x}", "$HOME", "#1", "a:b", "%d", "ß+ü~", "a@b", "!", "*", "[1", "(",
    "new\nline", "~a",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_path_of_data_and_the_directory_of_a_run_may_have_any_name(workdir, name):
    (workdir / name).write_text("a,b\n")
    directory = "runs/x" if "${" in name else f"runs/{name}"  # there Hydra's interpolations hold
    config = compose_run(["data=table", f"data.path={name}", f"hydra.run.dir={directory}"])
    assert config.data.path == name
    assert config.hydra.run.dir == directory
    assert identify(config).config["data"]["content"] is not None
    kept = RunSpec.of(config).overrides
    assert kept[0] == "data=table"
    again = compose_run([*kept, run_dir_override(workdir / name)])  # as `zoo evaluate` does
    assert again.data.path == str(workdir / name)
    assert again.hydra.run.dir == str(workdir / name)
    assert identify(again).config_hash == identify(config).config_hash


def test_the_directory_of_a_sweeps_job_may_look_like_an_interpolation(workdir):
    assert compose_run([run_dir_override(workdir / "${x}")]).hydra.run.dir == str(workdir / "${x}")


@pytest.mark.parametrize("name", NAMES)
def test_the_working_directory_may_have_any_name(workdir, name, monkeypatch):
    (workdir / f"in {name}" / "conf/model").mkdir(parents=True)
    (workdir / f"in {name}" / "conf/model/mine.yaml").write_text("_target_: mine.Mine\n")
    monkeypatch.chdir(workdir / f"in {name}")
    assert compose_run(["model=mine"]).model._target_ == "mine.Mine"


def test_quotes_of_hydra_and_interpolations_still_work(workdir, monkeypatch):
    monkeypatch.setenv("PLACE", "some where (1)")
    assert compose_run(["data=table", "data.path='a b'"]).data.path == "a b"
    assert compose_run(["data=table", 'data.path="a b"']).data.path == "a b"
    assert compose_run(["data=table", "data.path=null"]).data.path is None
    assert compose_run(["data=table", "data.path=${oc.env:PLACE}/x"]).data.path == "some where (1)/x"
    assert absolute("data.path=${oc.env:PLACE}/x") == "data.path=${oc.env:PLACE}/x"
    assert compose_run(["hydra.run.dir=runs/${seed}", "seed=3"]).hydra.run.dir == "runs/3"


def test_commas_separate_paths_in_a_sweep_unless_they_are_in_a_files_name(workdir):
    assert swept_values(as_typed("data.path=a (1).csv,2024", several=True)) == ["'a (1).csv'", "'2024'"]
    (workdir / "a,b.csv").write_text("")
    assert swept_values(as_typed("data.path=a,b.csv", several=True)) == ["'a,b.csv'"]


def test_the_refusal_of_an_unreadable_value_names_its_setting():
    assert compose_run(["training.lr=(1)"]).training.lr == "(1)"
    assert compose_run(["data=table", "data.label=income (k€)"]).data.label == "income (k€)"
    with pytest.raises(ZooError, match=r"'data\.drop=\[a \(1\)\]' cannot be read; put texts"):
        compose_run(["data=table", "data.drop=[a (1)]"])
    assert compose_run(["data=table", 'data.drop=["a (1)",b]']).data["drop"] == ["a (1)", "b"]
