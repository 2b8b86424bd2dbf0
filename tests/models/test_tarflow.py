"""TarFlow: withheld labels, samples, denoising and refusals."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from contract import roughen
from recipe_tools import recipe_model

import zoo
from zoo.errors import Unsound
from zoo.models.bijections.dequantise import GaussianNoise
from zoo.models.bijections.transformer_autoregressive import TransformerAutoregressive
from zoo.models.core import rng

SMALL = {"blocks": 2, "width": 16, "layers": 1, "head_width": 8}


SCALE = {"preprocessing": "scale"}


def test_labels_are_dropped_in_training_only():
    spec = zoo.DataSpec((2,), classes=2)
    model = roughen(zoo.build("tarflow", spec, conditional=True, label_dropout=0.5, **SMALL), 0.5)
    x, y = torch.ones(400, 2), torch.ones(400, dtype=torch.long)
    values = model.train().log_prob(x, y).detach()
    given = model.eval().log_prob(x, y).detach()
    dropped = (values - given).abs() > 1e-4
    assert 150 < int(dropped.sum()) < 250
    none = torch.zeros(1, 2)
    z, log_det = model.transform(x[:1], none)
    free = model.base.log_prob(z, none) + log_det
    torch.testing.assert_close(values[dropped], free.expand(int(dropped.sum())), rtol=1e-4, atol=1e-4)
    guided = copy.deepcopy(model)
    guided.guidance = 2.0
    assert not torch.allclose(model.sample(4, y=1, seed=0), guided.sample(4, y=1, seed=0))


def test_samples_follow_the_density():
    """The probability integral transform of each coordinate detects an error of 5% in scale."""
    model = roughen(zoo.build("tarflow", zoo.DataSpec((2,)), **SMALL), 0.1).eval()
    x = model.sample(50000, seed=0).double()

    axis = torch.linspace(-14, 14, 561)
    with torch.no_grad():
        joint = model.log_prob(torch.cartesian_prod(axis, axis)).double().exp().view(561, 561)

    def worst(points, i):  # Kolmogorov-Smirnov distance of a coordinate from its marginal
        density = joint.sum(1 - i)
        cdf = (density.cumsum(0) - 0.5 * density) / density.sum()
        at = (points[:, i].sort().values + 14) / 28 * 560
        low = at.floor().long().clamp(0, 559)
        u = cdf[low] + (at - low) * (cdf[low + 1] - cdf[low])
        return (u - (torch.arange(len(u)) + 0.5) / len(u)).abs().max().item()

    mean, critical = x.mean(0), 1.63 / math.sqrt(len(x))
    for i in range(2):
        assert worst(x, i) < critical, "1% critical value"
        assert worst((x - mean) * 1.05 + mean, i) > critical, "a 5% error of scale is detected"


def test_denoising_is_the_posterior_mean_of_a_gaussian():
    """With constant outputs the flow is a Gaussian, whose posterior mean is known."""
    model = zoo.build(
        "tarflow", zoo.DataSpec((2,)), **(SMALL | {"blocks": 1}), noise="gaussian", noise_std=0.5
    ).double()
    inner = model.transform.layers[2]
    with torch.no_grad():
        inner.network.last.bias.copy_(
            torch.tensor([0.7, 0.3], dtype=torch.float64)
        )  # m and the raw log-scale of the second
    std = math.exp(5 * math.tanh(0.3 / 5))
    # y1 ~ N(0, 1) and y2 ~ N(0.7, std^2) have noise 0.25: the data have the remaining variance
    y = torch.randn(6, 2, dtype=torch.float64)
    expected = torch.stack([y[:, 0] * 0.75, 0.7 + (y[:, 1] - 0.7) * (1 - 0.25 / std**2)], 1)
    torch.testing.assert_close(y + 0.25 * model.score(y), expected, rtol=0, atol=1e-10)
    with rng.keyed(rng.keys(3, count=6)):
        z = model.base.sample(6)
    noisy = torch.stack([z[:, 0], z[:, 1] * std + 0.7], 1)
    expected = torch.stack([noisy[:, 0] * 0.75, 0.7 + (noisy[:, 1] - 0.7) * (1 - 0.25 / std**2)], 1)
    with torch.inference_mode():
        torch.testing.assert_close(model.sample(6, seed=3), expected, rtol=0, atol=1e-10)


def test_gaussian_noise_is_reported_as_a_bound():
    spec = zoo.DataSpec((1, 2, 2), levels=4)
    model = zoo.build("tarflow", spec, **SMALL, pixels=SCALE, noise="gaussian", noise_std=1.0)
    assert model.likelihood == "lower bound"
    assert model.likelihood_details() == {"dequantisation": "gaussian", "noise_std": 2.0}
    model = roughen(model, 0.05).eval()
    x = torch.cartesian_prod(*[torch.arange(4)] * 4).view(-1, 1, 2, 2)
    masses = []
    for salt in range(60):
        with rng.keyed(rng.content_keys(x, salt)), torch.no_grad():
            masses.append(model.log_prob(x).double().exp().sum())
    masses = torch.stack(masses)
    assert abs(masses.mean() - 1) < 4 * masses.std() / math.sqrt(60) + 1e-3
    for denoise in (True, False):
        model.denoise = denoise
        spec.check(model.sample(5, seed=0))
    assert isinstance(model.dequantise, GaussianNoise)


def test_a_denoising_step_that_overflows_is_an_error(monkeypatch):
    """Without a check, rounding to the range of pixels would hide the overflow."""
    spec = zoo.DataSpec((1, 2, 2), levels=4)
    model = zoo.build("tarflow", spec, **SMALL, pixels=SCALE, noise="gaussian", noise_std=1.0).eval()
    for value in (math.inf, math.nan):
        monkeypatch.setattr(model, "score", lambda y, context, value=value: torch.full_like(y, value))
        with pytest.raises(Unsound, match="samples"):
            model.sample(2, seed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": "gaussian"}, "give both or neither"),
        ({"noise_std": 0.1}, "give both or neither"),
        ({"noise": "gaussian", "noise_std": 0.1}, "preprocessing=scale"),
        (
            {
                "noise": "gaussian",
                "noise_std": 0.1,
                "pixels": SCALE | {"dequantisation": "variational"},
            },
            "replaces model.pixels.dequantisation",
        ),
        ({"guidance": 1.0}, "conditional=true"),
        ({"width": 50}, "multiple of its head_width"),
        ({"noise": "laplace"}, "uniform or gaussian"),
        ({"pixels": {"preprocessing": "sine"}}, "logit, centre, scale or none"),
        ({"blocks": 0}, "at least 1"),
    ],
)
def test_invalid_settings_are_an_error(settings, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.build("tarflow", zoo.DataSpec((1, 4, 4), levels=4, classes=2), **settings)


def test_data_of_one_dimension_are_an_error():
    with pytest.raises(zoo.ZooError, match="model=maf"):
        zoo.build("tarflow", zoo.DataSpec((1,)))
    assert zoo.build("tarflow", zoo.DataSpec((3, 1, 1), levels=4)).sample(2).shape == (2, 3, 1, 1)


def test_the_ends_of_the_range_of_pixels_have_a_finite_density():
    spec = zoo.DataSpec((1, 2, 2), levels=256)
    model = roughen(zoo.build("tarflow", spec, **SMALL), 0.05).eval()
    ends = torch.stack([torch.zeros(1, 2, 2), torch.full((1, 2, 2), 255.0)])
    assert torch.isfinite(model.log_prob(ends)).all()


@pytest.mark.parametrize(
    ("name", "blocks", "width", "layers"),
    [
        ("tarflow_mnist", 4, 128, 4),
        ("tarflow_imagenet64_bpd", 8, 768, 8),
        ("tarflow_imagenet64_fid", 8, 768, 8),
    ],
)
def test_the_models_of_recipes_have_the_stated_sizes(name, blocks, width, layers):
    model = recipe_model(name)
    assert sum(isinstance(m, TransformerAutoregressive) for m in model.modules()) == blocks
    inside = sum(p.numel() for n, p in model.named_parameters() if ".layers." in n.split("network", 1)[-1])
    # attention 4 w^2 + 4 w, feed-forward 8 w^2 + 5 w, two norms 4 w
    assert inside == blocks * layers * (12 * width**2 + 13 * width)
