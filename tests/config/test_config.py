"""Composition of configurations: one-sentence errors, and the identity of a run."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from zoo.config import compose_run, identify, options, run_dir_override
from zoo.errors import ZooError


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
        (["model=[made]"], r"model= takes one name, .*; got '\[made\]'"),
        (["data=null"], "data= takes one name, such as data=2spirals; got 'null'"),
        (["logger=null"], "logger= takes one name"),
        (["model={a:1}"], "model= takes one name"),
        (["model=1.5"], "model= takes one name"),
        (["experiment=null"], "experiment= takes one name"),
        (["experiment=[glow_cifar]"], "did you mean glow_cifar10"),
        (["hydra.run.dir=${oc.env:NOPE}"], "environment variable NOPE, which hydra.run.dir="),
        (["hydra.sweep.subdir=${hydra.job.num}-${oc.env:NOPE}"], "environment variable NOPE, which hydra.sw"),
        (["hydra.sweep.dir=${hydra.job.num}"], "hydra.job.num"),
        (["seed=${oc.env:NOPE}"], "environment variable NOPE, which seed="),
        (["training.lr=${nope}"], "no setting nope, which training.lr="),
        (["~seed"], "seed is a whole number; got None"),
    ],
)
def test_a_mistake_is_refused_in_one_sentence(overrides, message):
    with pytest.raises(ZooError, match=message) as error:
        compose_run(overrides)
    assert "\n" not in str(error.value)


def test_the_directory_of_a_job_may_hold_its_number_and_id_which_it_has_not_yet():
    text = "${hydra.job.num}-${hydra.job.id}-${seed}"
    config = compose_run([f"hydra.sweep.subdir={text}"])
    assert OmegaConf.to_container(config.hydra.sweep)["subdir"] == text
    assert OmegaConf.is_missing(config.hydra.job, "num"), "Hydra sets it"


def test_the_hash_depends_on_exactly_the_settings_that_change_numbers():
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


def test_the_yaml_of_a_model_chooses_its_training():
    assert compose_run(["model=gan"]).training._target_.endswith("Adversarial")
    assert compose_run(["model=flow_matching"]).training._target_.endswith("Matching")
    assert compose_run(["model=glow"]).training._target_.endswith("MaximumLikelihood")
    assert compose_run(["model=glow", "training=matching"]).training._target_.endswith("Matching")


def test_models_of_the_working_directory_join_the_shipped_ones(workdir):
    (workdir / "conf/model").mkdir(parents=True)
    (workdir / "conf/model/mine.yaml").write_text("_target_: mine.Mine\nwidth: 3\n")
    assert "mine" in options("model")
    assert compose_run(["model=mine", "model.width=5"]).model.width == 5
