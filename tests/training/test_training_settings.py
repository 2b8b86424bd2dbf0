"""Wrong settings are errors that name the setting; YAML and class have equal defaults."""

from __future__ import annotations

import dataclasses
import math

import hydra
import pytest
from fitting import Line

import zoo
from zoo.config import compose_run, to_dict
from zoo.errors import ZooError
from zoo.training.adversarial import Adversarial
from zoo.training.likelihood import MaximumLikelihood
from zoo.training.matching import Matching
from zoo.training.settings import ROWS

PLANE, DIGITS = zoo.DataSpec((2,)), zoo.DataSpec((1, 8, 8), 17, classes=10)


def test_a_model_of_another_objective_is_refused():
    with pytest.raises(ZooError, match="training=adversarial"):
        MaximumLikelihood(zoo.build("gan", PLANE), updates=1, batch_size=1)
    with pytest.raises(ZooError, match=r"generator and critic.* use training=maximum_likelihood"):
        Adversarial(zoo.build("maf", PLANE), updates=1, batch_size=1)
    with pytest.raises(ZooError, match="matching_loss"):
        Matching(zoo.build("maf", PLANE), updates=1, batch_size=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"ema": 1.0},
        {"max_seconds": 0},
        {"betas": (0.9,)},
        {"clip": 0.0},
        {"clip": -1.0},
        {"warmup": -1},
        {"log_every": 0},
        {"weight_decay": -0.1},
        {"lr": math.nan},
        {"lr": -1.0},
        {"accumulate": 0},
        {"compile": "no"},
        {"updates": 0},
        *({"validate_samples": samples} for samples in (1, -2, 2.5, True)),
    ],
    ids=str,
)
def test_a_value_out_of_range_is_an_error_with_the_name_of_the_setting(wrong):
    with pytest.raises(ZooError, match=rf"^training\.{next(iter(wrong))} must be"):
        MaximumLikelihood(Line(PLANE), **{"updates": 1, "batch_size": 1} | wrong)


@pytest.mark.parametrize(
    ("updates", "validations", "log_every"),
    [(1999, 1000, 1), (4000, 2000, 1), (100_000, 1900, 10), (3001, 600, 7), (5, 2000, 1), (123_456, 0, 1)],
)
def test_a_run_has_at_most_2000_rows(updates, validations, log_every):
    module = MaximumLikelihood(
        Line(PLANE), batch_size=1, updates=updates, validations=validations, log_every=log_every
    )
    rows = {*range(module.validate_every, updates + 1, module.validate_every), updates}
    rows |= set(range(module.log_every, updates + 1, module.log_every))
    assert len(rows) <= ROWS == 2000
    assert module.log_every % log_every == 0


@pytest.mark.parametrize(
    ("updates", "validations", "made", "most"),
    [(3999, 2000, 3999, 1999), (2999, 1500, 2999, 1499), (100_000, 5000, 5000, 2000)],
)
def test_more_validations_than_rows_are_refused(updates, validations, made, most):
    settings = {"updates": updates, "batch_size": 1, "log_every": 10}
    with pytest.raises(ZooError, match=rf"makes {made} validations .* set training\.validations={most} or"):
        MaximumLikelihood(Line(PLANE), validations=validations, **settings)
    MaximumLikelihood(Line(PLANE), validations=most, **settings)


def test_a_setting_that_does_not_exist_is_an_error_with_the_nearest_name():
    with pytest.raises(ZooError, match="no setting of training called 'lrr'; did you mean lr"):
        MaximumLikelihood(Line(PLANE), updates=1, batch_size=1, lrr=0.1)


def test_a_missing_setting_without_a_default_is_an_error_with_its_name():
    with pytest.raises(ZooError, match=r"training\.batch_size has no default"):
        MaximumLikelihood(Line(PLANE), updates=1)


ADVERSARIAL = [
    *[({name: x}, name) for name in ("r1", "gradient_penalty", "critic_lr") for x in (-1.0, math.nan)],
    *[({"betas": betas}, "betas") for betas in ((-0.1, 0.9), (0.0, math.nan), (0.0, 1.0), (0.9,))],
    ({"augment": "colour"}, "a list of any of colour, translation and cutout"),
    ({"augment": None}, "a list"),
    ({"augment": ["rotation"]}, "translation"),
    *[({name: x}, name) for name in ("critic_steps", "generator_batches") for x in (1.5, 0)],
    *[({name: "abc"}, name) for name in ("gradient_penalty", "weight_clip", "r1", "critic_lr")],
    ({"weight_clip": 0.0}, "weight_clip"),
    ({"r1": None}, "r1"),
    ({"loss": "hing"}, "hinge"),
    ({"optimizer": "lion"}, "rmsprop"),
    ({"schedule": "step"}, "linear"),
    ({"accumulate": 2}, r"several losses; set training\.accumulate=1"),
    ({"compile": True}, r"several losses; .*training\.compile=false"),
    ({"simultaneous": True, "critic_steps": 2}, r"same batch; set training\.critic_steps=1"),
    ({"simultaneous": True, "generator_batches": 2}, r"same batch; set .*generator_batches=1"),
]


@pytest.mark.parametrize(("settings", "message"), ADVERSARIAL, ids=str)
def test_adversarial_training_refuses_settings_that_it_cannot_use(settings, message):
    with pytest.raises(ZooError, match=message):
        Adversarial(zoo.build("gan", DIGITS, width=4), updates=1, batch_size=1, **settings)


def test_augmentation_is_refused_for_vectors():
    with pytest.raises(ZooError, match="images"):
        Adversarial(zoo.build("gan", PLANE), updates=1, batch_size=1, augment=["colour"])


@pytest.mark.parametrize(
    ("model", "objective"), [("maf", MaximumLikelihood), ("diffusion", Matching), ("gan", Adversarial)]
)
def test_yaml_and_settings_class_have_the_same_defaults(model, objective):
    settings = to_dict(compose_run([f"model={model}"]).training)
    assert hydra.utils.get_class(settings.pop("_target_")) is objective
    budget = {name: settings.pop(name) for name in ("updates", "batch_size")}  # a caller states these
    assert {f.name for f in dataclasses.fields(objective.Settings)} == {*settings, *budget}
    default = objective.Settings(**budget)
    values = {name: getattr(default, name) for name in settings}
    assert settings == {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}
