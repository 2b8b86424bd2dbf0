"""Tests that settings out of range give an error of one sentence that names the setting."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import zoo
from zoo.errors import InvalidData, ZooError

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
    *[("realnvp", IMAGES, {"pixels": {"alpha": alpha}}) for alpha in (0.0, 0.5, True)],
    ("tarflow", NUMBERS, {"log_scale_bound": True}),
    *[("realnvp", IMAGES, {"pixels": {"preprocessing": how}}) for how in (None, ["none"], "sine")],
    *[("maf", IMAGES, {"pixels": wrong}) for wrong in (None, "logit", {"alfa": 0.1})],
    *[("residual_flow", NUMBERS, {"activation": word}) for word in (None, ["sincos"], "sine")],
    *[
        ("residual_flow", NUMBERS, {name: None})
        for name in ("tolerance", "base", "hidden", "blocks", "series", "spectral")
    ],
    *[("vae", IMAGES, {"latents": {name: 0}}) for name in ("components", "flow_layers")],
    *[("residual_flow", NUMBERS, {"series": {name: None}}) for name in ("terms", "exact_dim")],
    *[("residual_flow", NUMBERS, {"series": {name: "often"}}) for name in ("estimator", "gradient", "count")],
    *[("residual_flow", NUMBERS, {"spectral": {"coefficient": c}}) for c in (None, 0.0, 1.0)],
    ("residual_flow", NUMBERS, {"pixels": {"alpha": None}}),
    *[(m, IMAGES, {"pixels": {"dequantisation": "variational"}}) for m in ("ffjord", "iresnet")],
    *[("vae", IMAGES, {"beta": beta}) for beta in (-1.0, math.nan, math.inf)],
    *[("diffusion", IMAGES, {"sampler": {"guidance": w}, "conditional": True}) for w in (-0.5, math.nan)],
    ("pixelcnn", IMAGES, {"layers": 0}),
    *[("pixelcnn", IMAGES, {kernel: size}) for kernel in ("kernel", "first_kernel") for size in (1, 4)],
    ("pixelcnn", NUMBERS, {"components": 0}),
    *[("gan", IMAGES, wrong) for wrong in ({"width": 2.5}, {"truncation": "a"}, {"truncation": 1.5})],
    *[("vae", IMAGES, {name: 1.5}) for name in ("latent_dim", "importance_samples", "latents")],
    ("vae", IMAGES, {"beta": "a"}),
    ("vae_hierarchical", IMAGES, {"width": "a"}),
    *[("pixelcnn", IMAGES, wrong) for wrong in ({"layers": 1.5}, {"kernel": 2.5}, {"width": "a"})],
    *[("pixelcnn_pp", IMAGES, wrong) for wrong in ({"width": "a"}, {"dropout": 1.0})],
    *[("diffusion", IMAGES, {"schedule": {"timesteps": steps}}) for steps in ("a", 2.5, 1)],
    *[("diffusion", IMAGES, {"terms": value}) for value in (1.5, 0)],
    *[("diffusion", IMAGES, {"sampler": {"steps": value}}) for value in (1.5, 0)],
    *[("diffusion", IMAGES, {"schedule": {"first_noise": cells}}) for cells in (9, math.inf, -1.0)],
    ("diffusion", IMAGES, {"sampler": {"guidance": math.inf}, "conditional": True}),
    ("diffusion", IMAGES, {"sampler": {"guidance": 1.0}, "conditional": True, "label_dropout": 0.0}),
    *[
        (m, IMAGES, {network: wrong})
        for m in ("diffusion", "flow_matching")
        for network, wrong in (
            *[("unet", {"frequency": fastest}) for fastest in (0, -1, math.inf)],
            *[("unet", {"channels": channels}) for channels in (0, 3, 2.5)],
            *[("unet", {"multipliers": multipliers}) for multipliers in ([], [0], [1.5])],
            *[("unet", wrong) for wrong in ({"foo": 1}, {"blocks": 0}, {"attention": [0]}, {"dropout": 1.0})],
            *[("patch", wrong) for wrong in ({"foo": 1}, {"patch": 0}, {"hidden": [0]})],
        )
    ],
    # never infinite: an inverse within infinity of the truth is none
    ("iresnet", NUMBERS, {"spectral": {"train_tolerance": math.inf}}),
    *[("ffjord", NUMBERS, {"solver": {name: math.inf}}) for name in ("atol", "rtol", "train_tolerance")],
    *[("ffjord", NUMBERS, {"penalty": {name: math.inf}}) for name in ("kinetic", "jacobian")],
    *[
        (m, NUMBERS, {name: math.inf})
        for m, name in (
            ("iresnet", "tolerance"),
            ("residual_flow", "tolerance"),
            ("maf", "log_scale_bound"),
            ("made_mog", "log_scale_bound"),
            ("tarflow", "log_scale_bound"),
            ("realnvp", "bound"),
            ("glow", "bound"),
            ("nsf_coupling", "bound"),
            ("nsf_autoregressive", "bound"),
        )
    ],
    *[("tarflow", IMAGES, {"guidance": w, "conditional": True}) for w in (-0.5, math.nan, math.inf)],
    # whole numbers, and by their type
    *[
        (m, NUMBERS, {name: value})
        for m, name in (
            ("ffjord", "flows"),
            ("iresnet", "blocks"),
            ("residual_flow", "dense_blocks"),
            ("realnvp", "layers"),
            ("glow", "steps"),
            ("nsf_coupling", "bins"),
            ("nsf_autoregressive", "steps"),
            ("maf", "layers"),
            ("made_mog", "components"),
            ("tarflow", "blocks"),
            ("vae", "depth"),
            ("gan", "latent_dim"),
        )
        for value in ((1.5, True, 2.5) if m == "realnvp" else (1.5,))
    ],
    *[("ffjord", NUMBERS, {"solver": {name: 1.5}}) for name in ("steps", "exact_dim")],
    *[("iresnet", NUMBERS, {"series": {name: 1.5}}) for name in ("terms", "eval_exact_dim")],
    ("iresnet", NUMBERS, {"spectral": {"iterations": 1.5}}),
    *[(m, NUMBERS, {"hidden": [8.5]}) for m in ("made", "maf", "made_mog", "iaf", "realnvp", "iresnet")],
    # true or false: a word is neither
    *[
        (m, NUMBERS, {name: "no"})
        for m, name in (
            ("realnvp", "memory_efficient"),
            ("realnvp", "separate"),
            ("glow", "memory_efficient"),
            ("glow", "additive"),
            ("nsf_coupling", "memory_efficient"),
            ("nsf_coupling", "unconditional"),
            ("nsf_coupling", "multi_scale"),
            ("nsf_autoregressive", "linear"),
            ("iresnet", "memory_efficient"),
            ("residual_flow", "split"),
            ("residual_flow", "squeeze_first"),
            ("ffjord", "learn_time"),
            ("maf", "batch_norm"),
            ("maf", "residual"),
            ("tarflow", "denoise"),
        )
    ],
    ("ffjord", NUMBERS, {"solver": {"adjoint": "no"}}),
    *[(m, IMAGES, {"conditional": "yes"}) for m in ("realnvp", "maf", "tarflow", "pixelcnn", "vae")],
]


def innermost(settings: dict) -> str:
    """Return the name of the first setting; for a node, the name inside it."""
    name, value = next(iter(settings.items()))
    return innermost(value) if isinstance(value, dict) else name


@pytest.mark.parametrize(("name", "spec", "settings"), MODELS, ids=str)
def test_an_invalid_setting_of_a_model_is_an_error_that_names_it(
    name: str, spec: zoo.DataSpec, settings: dict
) -> None:
    with pytest.raises(ZooError, match=innermost(settings).split("_")[-1]) as refusal:
        zoo.build(name, spec, **settings)
    assert str(refusal.value).count("\n") == 0


@pytest.mark.parametrize("training", [True, False])
def test_samples_of_an_unknown_label_are_an_error(training: bool) -> None:
    model = zoo.build("gan", IMAGES, width=4, conditional=True).train(training)
    for y in (12, -1, torch.tensor([0, 10])):
        with pytest.raises(ZooError, match=r"0\.\.9"):
            model.sample(2, y=y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *[({"n": n}, "whole number") for n in (1.5, True, -1, "2")],
        *[({"n": 2, "seed": seed}, "seed") for seed in (1.5, True, "a")],
        *[({"n": 2, "temperature": t}, "temperature") for t in (-0.1, math.nan, math.inf, "a")],
        *[({"n": 2, "y": y}, "Labels") for y in ("a", ["a", "b"], [[1], [1, 2]], [0.5, 1.0], [True, False])],
    ],
    ids=str,
)
def test_an_invalid_argument_of_sample_is_an_error(arguments: dict, message: str) -> None:
    model = zoo.build("maf", zoo.DataSpec((2,), classes=3), layers=1, hidden=[4], conditional=True)
    with pytest.raises(InvalidData, match=message):
        model.sample(**arguments)


@pytest.mark.parametrize("training", [True, False])
def test_complex_data_are_an_error(training: bool) -> None:
    model = zoo.build("maf", NUMBERS, layers=1, hidden=[4]).train(training)
    with pytest.raises(InvalidData, match="complex64"):
        model.log_prob(torch.zeros(3, 2, dtype=torch.complex64))


@pytest.mark.parametrize(
    ("about", "message"),
    [
        *[({"shape": shape}, "shape") for shape in ((2.5,), (True,), ("2",), (0,), (1, 8.0, 8), (2, 2))],
        *[({"shape": (2,), "levels": levels}, "levels") for levels in (2.5, True, 1, "2", math.nan)],
        *[({"shape": (2,), "classes": classes}, "classes") for classes in (0, 2.5, True, "3")],
    ],
    ids=str,
)
def test_an_invalid_spec_is_an_error(about: dict, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        zoo.DataSpec(**about)


def test_numpys_integers_are_whole_numbers() -> None:
    spec = zoo.DataSpec((np.int64(2),), np.int64(5), np.uint8(3))
    assert spec == zoo.DataSpec((2,), 5, 3)
    assert {type(size) for size in (*spec.shape, spec.levels, spec.classes)} == {int}
    model = zoo.build("maf", NUMBERS, layers=np.int64(1), hidden=[np.int32(4)])
    assert model.sample(np.int64(3), np.float32(0.5), seed=np.int64(1)).shape == (3, 2)
