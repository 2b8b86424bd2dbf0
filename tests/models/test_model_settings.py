"""Tests of flows' settings: invalid ones are errors that name them; YAML and code have equal defaults."""

from __future__ import annotations

import dataclasses
import inspect

import hydra
import pytest
import torch

import zoo
from zoo.config import model_settings, options

IMAGE = zoo.DataSpec((1, 4, 4), levels=4)
VECTOR = zoo.DataSpec((3,))
FLOWS = (
    "diffusion", "ffjord", "flow_matching", "glow", "iaf", "iresnet", "made", "made_mog", "maf",
    "maf_mog", "nsf_autoregressive", "nsf_coupling", "realnvp", "residual_flow", "tarflow",
)  # fmt: skip
WRONG = {
    "preprocessing": ["linear"],
    "alpha": [0.5, -0.1],
    "dropout": [1.0, -0.1],
    "label_dropout": [1.0],
    "width": [0],
    "hidden": [[0], [16, -1]],
    "channels": [[0]],
    "blocks": [-1],
    "dense_blocks": [-1],
    "layers": [0],
    "levels": [0],
    "scales": [0],
    "flows": [0],
    "steps": [0],
    "patch": [0],
    "head_width": [0],
    "components": [0],
    "bins": [0],
    "terms": [0],
    "eval_terms": [0],
    "timesteps": [1],
    "sample_steps": [0],
    "tolerance": [0.0, -1e-3],
    "train_tolerance": [0.0],
    "atol": [0.0],
    "kinetic": [-1.0],
    "log_scale_bound": [0.0, -2.0],
    "bound": [0.0, -1.0],
}


def flattened(node, prefix=""):
    """Return the settings by dotted name, such as ``pixels.alpha``."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def nested(name, value):
    """Return the keyword argument that sets a dotted name."""
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


SETTINGS = {name: dict(flattened(model_settings(name, {}))) for name in FLOWS}
CASES = [
    (name, setting, [0] if setting == "hidden" and name.startswith("nsf") else WRONG[last])  # a single width
    for name in FLOWS
    for setting in SETTINGS[name]
    if (last := setting.rpartition(".")[2]) in WRONG
]


@pytest.mark.parametrize(("name", "setting", "values"), CASES)
def test_an_invalid_setting_is_an_error_that_names_it(name, setting, values):
    for spec in (IMAGE, VECTOR):
        for value in values:
            with pytest.raises(zoo.ZooError, match=setting.rpartition(".")[2]):
                zoo.build(name, spec, **nested(setting, value))


@pytest.mark.parametrize("name", ["ffjord", "iresnet", "made", "residual_flow"])
def test_a_learned_base_is_trained_and_its_density_integrates_to_one(name):
    torch.manual_seed(0)
    small = {"blocks": 1, "scales": 1} if name in ("iresnet", "residual_flow") else {}
    model = zoo.build(name, zoo.DataSpec((2,)), base="mixture", hidden=[16, 16], **small)
    model.log_prob(torch.randn(4, 2)).mean().backward()
    learned = dict(model.base.named_parameters())
    assert learned
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in learned.values())
    axis = torch.linspace(-12, 12, 121)
    with torch.no_grad():
        density = model.eval().log_prob(torch.cartesian_prod(axis, axis)).double().exp()
    assert density.sum().item() * float(axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=1e-2)
    assert zoo.build(name, IMAGE, base="mixture", **small).sample(2, seed=0).shape == (2, 1, 4, 4)


@pytest.mark.parametrize("name", ["iresnet", "residual_flow"])
def test_residual_flows_report_iterations_and_residual_of_their_inverse(name):
    diagnostics = zoo.build(name, VECTOR, blocks=2).eval().diagnostics(torch.zeros(5, 3))
    assert diagnostics["inverse_iterations"].value >= 1
    assert 0 <= diagnostics["inverse_residual"].value <= 1e-5


def defaults(function):
    """Return the default of each parameter as in YAML: lists for tuples, mappings for settings."""
    return {key: as_yaml(p.default) for key, p in inspect.signature(function).parameters.items()}


def as_yaml(value):
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_yaml(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", [name for name in options("model") if name != "sngan"])  # a size of the gan
def test_yaml_and_constructor_have_the_same_defaults(name):
    settings = model_settings(name, {})
    own = defaults(hydra.utils.get_class(settings.pop("_target_")))
    assert settings == restricted(own, settings)


def restricted(values, like):
    """Return the settings that are also in ``like``, node by node, since a YAML may omit settings."""
    return {
        key: restricted(values[key], part) if isinstance(part, dict) else values[key]
        for key, part in like.items()
    }
