"""The user's own ``./conf`` wins over the shipped files, group by group."""

from __future__ import annotations

import re
import shutil

import pytest

from zoo.cli import main
from zoo.config import compose_run, model_settings, options, shipped
from zoo.config.own import own_files
from zoo.errors import ZooError


@pytest.fixture
def own(workdir):
    """Return a function that writes a file below ``./conf``."""

    def write(name, text):
        (workdir / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (workdir / "conf" / name).write_text(text)

    return write


def test_ones_own_file_wins_over_the_shipped_one_and_others_stay(own):
    own("model/made.yaml", "_target_: zoo.models.made.GaussianMADE\nhidden: [7]\n")
    own("model/mine.yaml", "_target_: mine.Mine\n")
    assert compose_run(["model=made"]).model.hidden == [7]
    assert compose_run(["model=maf"]).model.layers == 5
    assert {"made", "maf", "mine"} <= set(options("model"))


def test_ones_own_file_may_build_on_shipped_ones(own):
    own("training/mine.yaml", "defaults: [maximum_likelihood, _self_]\nlr: 0.5\n")
    config = compose_run(["training=mine"])
    assert (config.training.lr, config.training.updates) == (0.5, 5000)


def test_a_file_that_names_itself_is_refused_in_one_sentence(own):
    own("model/made.yaml", "defaults: [made, _self_]\nhidden: [7]\n")
    with pytest.raises(ZooError) as error:
        compose_run(["model=made"])
    assert "\n" not in str(error.value)


def test_the_configuration_of_another_program_is_not_read(own):
    own("config.yaml", "defaults: [model: nothing]\nlr: 3\n")
    own("optimizer/adam.yaml", "lr: 3\n")
    config = compose_run(["model=made"])
    assert "lr" not in config
    assert config.model.hidden is not None


def test_the_plan_says_which_file_is_used(own, workdir, capsys):
    own("model/made.yaml", "_target_: zoo.models.made.GaussianMADE\nhidden: [7]\n")
    own("model/mine.yaml", "_target_: zoo.models.made.GaussianMADE\n")
    instead = f"model=made is your own {workdir}/conf/model/made.yaml, in place of the shipped one."
    assert own_files(["model=made,mine", "data=moons"]) == [
        instead,
        f"model=mine is your own {workdir}/conf/model/mine.yaml.",
    ]
    (workdir / "mine.yaml").write_text("grid: {model: [made, maf]}\noverrides: {data: moons}\n")
    assert main(["sweep", "mine.yaml", "--dry-run"]) == 0
    assert instead in capsys.readouterr().out
    assert main(["train", "model=made", "data=moons", "training.lr=oops"]) == 2
    assert f"zoo: {instead}" in capsys.readouterr().err


def test_a_file_that_is_used_by_default_is_named_too(own, workdir, capsys):
    own("training/maximum_likelihood.yaml", "_target_: zoo.training.likelihood.MaximumLikelihood\nlr: 0.5\n")
    own("training/adversarial.yaml", "_target_: mine.Mine\n")
    own("evaluation/default.yaml", "samples: 50\n")
    own("evaluation/config.yaml", "samples: 50\n")
    default, training, adversarial = (
        f"{group}={name} is your own {workdir}/conf/{group}/{name}.yaml, in place of the shipped one."
        for group, name in (
            ("evaluation", "default"),
            ("training", "maximum_likelihood"),
            ("training", "adversarial"),
        )
    )
    assert set(own_files(["data=moons"])) == {default, training}
    assert set(own_files(["model=gan,stylegan"])) == {default, adversarial}, "a model chooses its training"
    assert set(own_files(["experiment=glow_cifar10"], ["model=gan"])) == {default, training, adversarial}
    own("data/digits.yaml", "_target_: mine.Mine\n")
    assert len(own_files(["model=made"])) == 3
    assert len(own_files(["model=made", "data=moons"], ["model=gan", "data=moons"])) == 3
    assert own_files(["model=absent"]) == []
    assert main(["train", "data=moons", "seed=oops"]) == 2
    assert f"zoo: {training}" in capsys.readouterr().err


def test_flags_come_in_any_order_beside_ones_own_conf(own, capsys):
    own("model/made.yaml", "_target_: zoo.models.made.GaussianMADE\nhidden: [7]\n")
    outputs = set()
    for arguments in (
        ["model=made", "data=moons", "--cfg", "job"],
        ["--cfg", "job", "model=made", "data=moons"],
        ["model=made", "--cfg", "job", "data=moons"],
        ["model=made", "--cfg=job", "data=moons"],
    ):
        assert main(["train", *arguments]) == 0
        outputs.add(capsys.readouterr().out)
    assert len(outputs) == 1
    assert "- 7" in outputs.pop()


def test_the_defaults_of_a_model_follow_the_files_and_no_caller(own, workdir, monkeypatch):
    model_settings("made", {})["hidden"].append(1)
    assert model_settings("made", {})["hidden"] == compose_run(["model=made"]).model.hidden
    shutil.copytree(shipped("conf"), workdir / "shipped")
    monkeypatch.setattr("zoo.config.compose.shipped", lambda folder: workdir / "shipped")
    model_settings("made", {})
    file = workdir / "shipped/model/made.yaml"
    file.write_text(re.sub(r"hidden: .*", "hidden: [3, 4]", file.read_text()))
    assert model_settings("made", {})["hidden"] == [3, 4]
    own("model/made.yaml", "_target_: zoo.models.made.GaussianMADE\nhidden: [7]\n")
    assert model_settings("made", {})["hidden"] == [7]
