"""Tests of PixelCNN: exact probabilities, and dependence on all earlier sub-pixels and no later ones."""

from __future__ import annotations

import inspect
import itertools
import math
from pathlib import Path

import pytest
import torch
import yaml
from autoregressive_tools import SPECS, every_image, integral_2d, normal, one_thread, perturbed
from torch import Tensor

from zoo.data.spec import DataSpec
from zoo.models.core import rng
from zoo.models.core.nfe import count_nfe
from zoo.models.networks.gated_pixelcnn import GatedPixelCNN
from zoo.models.pixelcnn import PixelCNN, sample_categorical

pytestmark = pytest.mark.usefixtures(one_thread.__name__)


@pytest.mark.parametrize("spec", [*SPECS, DataSpec((1, 28, 28), 256)], ids=lambda spec: f"{spec.shape}")
def test_samples_are_in_data_space_and_depend_on_the_seed(spec: DataSpec) -> None:
    model = PixelCNN(spec, layers=2, hidden=(16,))
    large = spec.dim > 100
    with count_nfe() as counter:
        x = model.sample(2 if large else 4, seed=3)
    assert counter.count == spec.dim
    spec.check(x)
    assert x.dtype == torch.float32
    assert torch.isfinite(model.eval().log_prob(x)).all()
    if not large:
        assert torch.equal(x, model.sample(4, seed=3))
        assert not torch.equal(x, model.sample(4, seed=4))
        torch.testing.assert_close(model.sample(2, seed=3), x[:2])
        assert torch.isfinite(model.sample(2, temperature=0.0, seed=3)).all()


@pytest.mark.parametrize(
    "spec",
    [
        DataSpec((1, 2, 2), 4),
        DataSpec((2, 2, 1), 4),
        DataSpec((2, 1, 2), 4),
        DataSpec((3, 1, 2), 2),
        DataSpec((4,), 4),
    ],
    ids=lambda spec: f"{spec.shape}",
)
def test_probabilities_of_all_images_sum_to_one(spec: DataSpec) -> None:
    model = perturbed(PixelCNN(spec, layers=2, width=8, head=8, hidden=(16,)), scale=0.5)
    with torch.no_grad():
        p = model.log_prob(every_image(spec)).exp()
    assert abs(p.sum() - 1) < 1e-8
    assert p.max() / p.min() > 10  # far from uniform


def test_continuous_density_integrates_to_one() -> None:
    model = perturbed(PixelCNN(DataSpec((2,)), hidden=(16,), components=3))
    assert abs(integral_2d(model.log_prob, -25, 25, 700) - 1) < 1e-3


@pytest.mark.parametrize("channels", [1, 3])
def test_logits_depend_on_all_earlier_sub_pixels_and_no_later_ones(channels: int) -> None:
    size, levels = 5, 2
    network = perturbed(GatedPixelCNN(channels, levels, width=24, head=48, layers=4, first_kernel=3))

    def logits(v: Tensor) -> Tensor:  # in the model's order: rows, columns, channels
        return (
            network(v.view(size, size, channels).permute(2, 0, 1)[None])[0].permute(2, 3, 0, 1).flatten(0, 2)
        )

    slope = torch.zeros(channels * size**2, channels * size**2, dtype=torch.float64)
    for x in normal(5, channels * size**2):  # at a single point, a ReLU may hide a dependency
        slope += torch.autograd.functional.jacobian(logits, x).abs().sum(1)
    assert torch.equal(slope != 0, torch.ones_like(slope).tril(-1).bool())


@pytest.mark.parametrize(
    "spec",
    [DataSpec((1, 4, 3), 17), DataSpec((3, 2, 2), 256), DataSpec((7,), 5)],
    ids=lambda spec: f"{spec.shape}",
)
def test_a_new_model_is_uniform(spec: DataSpec) -> None:
    model = PixelCNN(spec).double().eval()
    assert spec.levels is not None
    x = torch.randint(0, spec.levels, (3, *spec.shape))
    bits = -model.log_prob(x) / (spec.dim * math.log(2))
    torch.testing.assert_close(bits, torch.full_like(bits, math.log2(spec.levels)), rtol=0, atol=1e-12)


def test_the_first_layer_has_mask_a_and_later_layers_have_mask_b() -> None:
    network = GatedPixelCNN(3, 4, width=3, layers=2, head=3)  # one feature for each channel
    first, second = (layer.horizontal.mask[:3, :, 0, -1] for layer in network.layers)
    assert torch.equal(first, torch.ones(3, 3).tril(-1))
    assert torch.equal(second, torch.ones(3, 3).tril())


@pytest.mark.parametrize("stack", ["vertical", "horizontal"])
def test_the_label_enters_both_stacks(stack: str) -> None:
    network = perturbed(GatedPixelCNN(1, 4, width=4, layers=2, head=4, context=3))
    for layer in network.layers:
        size = len(layer.label.weight) // 2
        silent = slice(size, None) if stack == "vertical" else slice(0, size)
        layer.label.weight.data[silent] = 0
    x, labels = torch.zeros(3, 1, 2, 2, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    logits = network(x, labels)
    assert (logits[0] - logits[1]).abs().min() > 0


@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 6), (3, 5, 8)])
def test_logits_with_a_cache_equal_those_of_a_whole_pass(shape: tuple[int, int, int], context: int) -> None:
    network = perturbed(
        GatedPixelCNN(shape[0], 5, width=9, layers=3, kernel=3, first_kernel=5, head=9, context=context),
        scale=0.3,
    )
    x = torch.randint(5, (2, *shape), generator=torch.Generator().manual_seed(0)).double()
    y = normal(2, context) if context else None
    cached = torch.zeros(2, shape[0], 5, *shape[1:], dtype=torch.float64)

    def step(channel: int, row: int, column: int, logits: Tensor) -> Tensor:
        cached[:, channel, :, row, column] = logits
        return x[:, channel, row, column]

    with torch.no_grad():
        assert torch.equal(network.generate(2, *shape[1:], step, y), x)
        torch.testing.assert_close(cached, network(x, y), rtol=0, atol=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("shape", [(1, 6, 7), (2, 4, 4)])
def test_cached_samples_equal_those_by_whole_passes(shape: tuple[int, ...], temperature: float) -> None:
    spec = DataSpec(shape, 4)  # larger than the receptive field, so that windows are cut on all sides
    model = perturbed(PixelCNN(spec, layers=2, width=8, head=8, first_kernel=3), scale=0.5)
    assert model.pixels is not None
    x = torch.zeros(5, *shape, dtype=torch.float64)
    with torch.no_grad():
        with rng.keyed(rng.keys(11, count=5)):
            u = rng.uniform(x)
        for i, j, c in itertools.product(range(shape[1]), range(shape[2]), range(shape[0])):
            x[:, c, i, j] = sample_categorical(
                model.pixels(x)[:, c, :, i, j], u[:, c, i, j], temperature
            ).double()
    assert torch.equal(model.sample(5, temperature, seed=11), x)


@pytest.mark.parametrize(
    "spec", [DataSpec((1, 1, 2), 2), DataSpec((2,), 2)], ids=lambda spec: f"{spec.shape}"
)
def test_sample_frequencies_are_the_probabilities(spec: DataSpec) -> None:
    model = perturbed(PixelCNN(spec, layers=2, width=8, head=8, hidden=(8,)), scale=0.5)
    images, n = every_image(spec), 20_000
    x = model.sample(n, seed=0).flatten(1)
    with torch.no_grad():
        p = model.log_prob(images).exp()
    for image, expected in zip(images.flatten(1), p.tolist(), strict=True):
        frequency = float((x == image).all(1).double().mean())
        assert abs(frequency - expected) < 5 * math.sqrt(expected * (1 - expected) / n)


def test_samples_of_the_mixture_follow_its_density() -> None:
    model = perturbed(PixelCNN(DataSpec((2,)), hidden=(16,), components=3))
    x = model.sample(20_000, seed=0)
    with torch.no_grad():
        log_p = model.log_prob(x)
    # E_p[q/p] = 1 for any density q, here a normal narrower than the model
    log_q = -0.5 * (x / 0.7).square().sum(1) - math.log(2 * math.pi * 0.49)
    ratio = (log_q - log_p).exp()
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / math.sqrt(len(x))
    assert model.sample(2000, temperature=0.1, seed=0).std() < model.sample(2000, seed=0).std()


def test_the_configuration_states_the_defaults() -> None:
    values = yaml.safe_load((Path(__file__).parents[2] / "conf/model/pixelcnn.yaml").read_text())
    assert values.pop("_target_") == f"{PixelCNN.__module__}.{PixelCNN.__qualname__}"
    signature = inspect.signature(PixelCNN).parameters
    for key, value in values.items():
        default = signature[key].default
        assert value == (list(default) if isinstance(default, tuple) else default)
    assert set(values) == set(signature) - {"spec"}
