"""Settings out of range are one sentence that names the setting, whatever the model or the rule."""

from __future__ import annotations

import math

import pytest
import torch

import zoo
from zoo.errors import ZooError
from zoo.training.adversarial import Adversarial

IMAGES, NUMBERS = zoo.DataSpec((1, 8, 8), 17, classes=10), zoo.DataSpec((2,))
MODELS = [
    *[
        (m, IMAGES, {size: 0})
        for m in ("gan", "stylegan", "vae")
        for size in ("latent_dim", "width", "hidden")
    ],
    *[(m, NUMBERS, {"depth": 0}) for m in ("gan", "stylegan", "vae")],
    *[(m, IMAGES, {"critic_width": 0}) for m in ("gan", "stylegan")],
    *[(m, IMAGES, {"critic_norm": "batch"}) for m in ("gan", "stylegan")],
    ("gan", IMAGES, {"generator_norm": "spectral"}),
    ("vae", IMAGES, {"components": 0}),
    *[("vae", IMAGES, {"beta": beta}) for beta in (-1.0, math.nan, math.inf)],
    *[("diffusion", IMAGES, {"guidance": w, "conditional": True}) for w in (-0.5, math.nan)],
    ("pixelcnn", IMAGES, {"layers": 0}),
    *[("pixelcnn", IMAGES, {kernel: size}) for kernel in ("kernel", "first_kernel") for size in (1, 4)],
    ("pixelcnn", NUMBERS, {"components": 0}),
    *[("gan", IMAGES, wrong) for wrong in ({"width": 2.5}, {"truncation": "a"}, {"truncation": 1.5})],
    *[("vae", IMAGES, {name: 1.5}) for name in ("latent_dim", "importance_samples", "flow_hidden")],
    ("vae", IMAGES, {"beta": "a"}),
    ("vae_hierarchical", IMAGES, {"width": "a"}),
    *[("pixelcnn", IMAGES, wrong) for wrong in ({"layers": 1.5}, {"kernel": 3.0}, {"width": "a"})],
    *[("pixelcnn_pp", IMAGES, wrong) for wrong in ({"width": "a"}, {"dropout": 1.0})],
    *[("diffusion", IMAGES, {"timesteps": steps}) for steps in ("a", 2.5, 1)],
    *[("diffusion", IMAGES, {name: value}) for name in ("terms", "sample_steps") for value in (1.5, 0)],
    *[("diffusion", IMAGES, {"first_noise": cells}) for cells in (9, math.inf, -1.0)],
    ("diffusion", IMAGES, {"guidance": math.inf, "conditional": True}),
    ("diffusion", IMAGES, {"guidance": 1.0, "conditional": True, "label_dropout": 0.0}),
    *[
        (m, IMAGES, {network: wrong})
        for m in ("diffusion", "flow_matching")
        for network, wrong in (
            *[("unet", {"frequency": fastest}) for fastest in (0, -1, math.inf)],
            *[("unet", {"channels": channels}) for channels in (0, 3, 2.0)],
            *[("unet", {"multipliers": multipliers}) for multipliers in ([], [0], [1.5])],
            *[("unet", wrong) for wrong in ({"foo": 1}, {"blocks": 0}, {"attention": [0]}, {"dropout": 1.0})],
            *[("patch", wrong) for wrong in ({"foo": 1}, {"patch": 0}, {"hidden": [0]})],
        )
    ],
]
RULES = [
    *[
        ({name: value}, name)
        for name in ("r1", "gradient_penalty", "critic_lr")
        for value in (-1.0, math.nan)
    ],
    *[({"betas": betas}, "betas") for betas in ((-0.1, 0.9), (0.0, math.nan), (0.0, 1.0), (0.9,))],
    ({"augment": "colour"}, "a list"),
    ({"augment": None}, "a list"),
    ({"critic_steps": 1.5}, "critic_steps"),
    ({"generator_batches": 1.5}, "generator_batches"),
    *[({name: "abc"}, name) for name in ("gradient_penalty", "weight_clip", "r1", "critic_lr")],
    ({"r1": None}, "r1"),
]


@pytest.mark.parametrize(("name", "spec", "settings"), MODELS, ids=str)
def test_a_model_refuses(name: str, spec: zoo.DataSpec, settings: dict) -> None:
    with pytest.raises(ZooError, match=next(iter(settings)).split("_")[-1]):
        zoo.build(name, spec, **settings)


@pytest.mark.parametrize(("settings", "message"), RULES, ids=str)
def test_a_rule_refuses(settings: dict, message: str) -> None:
    with pytest.raises(ZooError, match=message):
        Adversarial(zoo.build("gan", IMAGES, width=4), updates=1, batch_size=1, **settings)


@pytest.mark.parametrize("training", [True, False])
def test_samples_of_a_label_that_is_not_there(training: bool) -> None:
    model = zoo.build("gan", IMAGES, width=4, conditional=True).train(training)
    for y in (12, -1, torch.tensor([0, 10])):
        with pytest.raises(ZooError, match=r"0\.\.9"):
            model.sample(2, y=y)
