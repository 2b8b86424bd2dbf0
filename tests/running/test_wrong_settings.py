"""A wrong value of any setting is refused in one sentence by its name, and leaves nothing behind."""

from __future__ import annotations

import copy
import random

import pytest
from omegaconf import OmegaConf

from zoo.config import compose_run
from zoo.errors import ZooError
from zoo.running.fit import Fit
from zoo.running.run import run

MOONS = ["data=moons", "data.train=60", "data.val=20", "data.test=20"]
DIGITS = ["data=digits", "data.side=4"]
CASES = {
    "maf": MOONS,
    "gan": MOONS,
    "vae": DIGITS,
    "glow": DIGITS,
    "diffusion": DIGITS,
    "flow_matching": MOONS,
    "residual_flow": MOONS,
}
WRONG = [
    "oops", "", "(1)", None, True, -1, 0, -0.5, 1.5, 2, 1e30, 10**30, float("nan"), float("inf"),
    [], [1], [None], ["oops"], [[1]], {}, {"a": 1},
]  # fmt: skip


class Reached(Exception):
    """All checks have passed, and training would begin."""


def leaves(node, prefix=""):
    """Return the dotted names of all settings and sections."""
    names = []
    for key, value in node.items():
        names.append(f"{prefix}{key}")
        if isinstance(value, dict):
            names += leaves(value, f"{prefix}{key}.")
    return names


def outcomes(model, directory, monkeypatch, count=None):
    """Return for wrong values of the settings of a run whether they are accepted, or their sentences."""

    def reached(self, *given):
        raise Reached

    monkeypatch.setattr(Fit, "run", reached)
    config = compose_run([f"model={model}", *CASES[model], "trainer=cpu", "logger=none"])
    settings = OmegaConf.to_container(config, resolve=True)
    hydra = settings.pop("hydra")
    assert hydra
    trials = [(name, value) for name in leaves(settings) for value in WRONG]
    if count is not None:
        trials = random.Random(model).sample(trials, count)
    answers = {}
    for place, (name, value) in enumerate(trials):
        changed = copy.deepcopy(config)
        OmegaConf.set_struct(changed, False)
        OmegaConf.update(changed, name, value, merge=False)
        try:
            run(changed, directory / str(place))
        except Reached:
            answers[name, repr(value)] = ""
        except ZooError as error:
            answers[name, repr(value)] = str(error)
            assert not (directory / str(place)).exists(), name
    return answers


def check(answers):
    assert len(answers) > 20
    for (name, value), sentence in answers.items():
        assert "\n" not in sentence, (name, value, sentence)
        assert len(sentence) < 500, (name, value, sentence)
    refused = {name: sentence for (name, _), sentence in answers.items() if sentence}
    assert len(refused) > 10
    named = [name for name, sentence in refused.items() if name.split(".")[0] in sentence]
    assert len(named) > 0.8 * len(refused), "most sentences name the section"


@pytest.mark.parametrize("model", ["maf", "gan", "diffusion", "glow"])
def test_a_wrong_value_of_a_setting_is_one_sentence(model, tmp_path, monkeypatch):
    check(outcomes(model, tmp_path, monkeypatch, count=25))


@pytest.mark.slow
@pytest.mark.parametrize("model", CASES)
def test_every_wrong_value_of_every_setting_is_one_sentence(model, tmp_path, monkeypatch):
    check(outcomes(model, tmp_path, monkeypatch))
