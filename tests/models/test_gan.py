"""Tests of the settings of the GANs."""

from __future__ import annotations

import inspect

import pytest
import torch
from gan_tools import layers
from recipe_tools import recipe_model

from zoo.config import compose_run, model_settings, to_dict
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.factory import instantiate
from zoo.models.gan import GAN
from zoo.models.stylegan import StyleGAN


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_invalid_settings_of_a_gan_are_an_error() -> None:
    spec = DataSpec((1, 8, 8), 17)
    for settings in (
        {"generator_norm": "batch"},
        {"critic_norm": "batch"},
        {"architecture": "resnet"},
        {"latent_dim": 0},
        {"truncation": 0.0},
        {"truncation": 1.5},
        {"conditional": True},  # without labels
    ):
        with pytest.raises(ZooError):
            GAN(spec, **settings)


@pytest.mark.parametrize(
    ("name", "generator", "critic"),
    [
        ("sngan_cifar10", 4_276_739, 1_053_824 + 1),  # as the networks of the paper's code; and a bias
        ("wgan_gp_resnet_cifar10", None, 1_053_824 + 1),
    ],
)
def test_generators_and_critics_of_recipes_have_the_stated_sizes(
    name: str, generator: int | None, critic: int
) -> None:
    model = recipe_model(name)
    assert generator in (None, sum(p.numel() for p in model.generator.parameters()))
    assert critic == sum(p.numel() for p in model.critic.parameters())


def test_the_critics_of_wgan_gp_recipes_have_the_stated_widths() -> None:
    shapes = [layer.weight.shape for layer in layers(recipe_model("wgan_gp_mnist"))]
    assert [shape[0] for shape in shapes[:3]] == [64, 128, 256]
    toy = recipe_model("wgan_gp_toy")  # as the paper: 3 hidden layers of 512
    assert [layer.weight.shape for layer in layers(toy)] == [(512, 2), (512, 512), (512, 512), (1, 512)]
    hidden = 2 * (512 * 512 + 512)
    assert sum(p.numel() for p in toy.critic.parameters()) == 2 * 512 + 512 + hidden + 512 + 1
    assert sum(p.numel() for p in toy.generator.parameters()) == 2 * 512 + 512 + hidden + 2 * 512 + 2


@pytest.mark.parametrize(("name", "model_class"), [("gan", GAN), ("stylegan", StyleGAN)])
def test_the_yaml_settings_are_the_defaults(name: str, model_class: type[GAN] | type[StyleGAN]) -> None:
    settings = model_settings(name, {})
    assert settings.pop("_target_") == f"{model_class.__module__}.{model_class.__name__}"
    defaults = {k: p.default for k, p in inspect.signature(model_class).parameters.items() if k != "spec"}
    assert settings == defaults


@pytest.mark.parametrize("name", ["gan", "wgan", "wgan_gp", "sngan", "stylegan"])
def test_every_gan_is_small_and_selects_its_training(name: str) -> None:
    config = compose_run([f"model={name}"])
    model = instantiate(to_dict(config.model), DataSpec((1, 8, 8), 17))
    assert 90_000 < sum(p.numel() for p in model.parameters()) < 300_000
    training = config.training
    assert training._target_.endswith("Adversarial")
    assert (
        training.loss,
        training.optimizer,
        training.weight_clip is not None,
        training.gradient_penalty,
    ) == {
        "gan": ("non_saturating", "adam", False, 0),
        "wgan": ("wasserstein", "rmsprop", True, 0),
        "wgan_gp": ("wasserstein", "adam", False, 10),
        "sngan": ("hinge", "adam", False, 0),
        "stylegan": ("non_saturating", "adam", False, 0),
    }[name]
    assert (training.r1 > 0) == (name in ("gan", "stylegan"))
    assert training.betas[0] == 0.0
    assert (config.model.critic_norm == "spectral") == (name == "sngan")
