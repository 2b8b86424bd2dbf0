"""Tests of PixelCNN++: exact probabilities, dependence on all earlier pixels only, cached sampling."""

from __future__ import annotations

import inspect
import itertools
import math
from pathlib import Path

import pytest
import torch
import yaml
from autoregressive_tools import every_image, normal, one_thread, perturbed
from recipe_tools import recipe_model
from torch import Tensor

from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.core import rng
from zoo.models.core.functional import to_symmetric
from zoo.models.core.nfe import count_nfe
from zoo.models.networks.pixelcnn_pp import PixelCNNPP as Network
from zoo.models.pixelcnn_pp import PixelCNNPP

pytestmark = pytest.mark.usefixtures(one_thread.__name__)

by_shape = {"ids": lambda spec: f"{spec.shape}"}


@pytest.mark.parametrize(
    "spec",
    [
        DataSpec((1, 2, 2), 4),
        DataSpec((3, 1, 2), 3),
        DataSpec((2, 2, 1), 4),
        DataSpec((3, 1, 1), 9),
        DataSpec((1, 3, 3), 2),
    ],
    **by_shape,
)
def test_probabilities_of_all_images_sum_to_one(spec: DataSpec) -> None:
    model = perturbed(PixelCNNPP(spec, width=8, components=3), scale=0.3)
    with torch.no_grad():
        p = model.log_prob(every_image(spec)).exp()
    assert abs(p.sum() - 1) < 1e-10
    assert p.max() / p.min() > 10  # far from uniform


@pytest.mark.parametrize(
    "size", [(1, 4), (5, 3), (6, 7), (8, 8), (9, 5)]
)  # larger than one block's receptive field
def test_outputs_depend_on_all_earlier_pixels_and_no_later_ones(size: tuple[int, int]) -> None:
    network = perturbed(Network(2, 3, size, width=4, blocks=2, scales=3), scale=0.3)
    pixels = math.prod(size)
    slope = torch.zeros(pixels, pixels, dtype=torch.float64)
    for x in normal(2, 1, 2, *size):
        weight = normal(3, 1, 1)
        jacobian = torch.autograd.functional.jacobian(
            lambda v, w=weight: (w * network(v[None])[0]).sum(0), x[0]
        )
        slope += jacobian.abs().sum(2).view(pixels, pixels)
    assert torch.equal(slope != 0, torch.ones_like(slope).tril(-1).bool())


def test_the_location_of_a_channel_depends_on_earlier_channels_only() -> None:
    model = perturbed(PixelCNNPP(DataSpec((3, 2, 2), 256), width=8, components=2), scale=0.3)
    mixture = model.mixture(model.network(normal(1, 3, 2, 2)))
    jacobian = torch.autograd.functional.jacobian(
        lambda v: mixture.location(v)[0, :, :, 1, 0], normal(1, 3, 2, 2)
    )[:, :, 0, :, 1, 0]
    assert torch.equal((jacobian != 0).all(0), torch.ones(3, 3).tril(-1).bool())
    assert torch.equal((jacobian != 0).any(0), torch.ones(3, 3).tril(-1).bool())


@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 5), (1, 8, 8), (3, 7, 5), (2, 10, 11)])
def test_outputs_with_a_cache_equal_those_of_a_whole_pass(shape: tuple[int, int, int], context: int) -> None:
    network = perturbed(
        Network(shape[0], 4, shape[1:], width=8, blocks=2, scales=3, context=context), scale=0.2
    )
    x, y = normal(2, *shape), normal(2, context) if context else None
    cached = torch.zeros(2, 4, *shape[1:], dtype=torch.float64)

    def step(row: int, column: int, output: Tensor) -> Tensor:
        cached[:, :, row, column] = output
        return x[:, :, row, column]

    with torch.no_grad(), count_nfe() as counter:
        assert torch.equal(network.generate(2, step, y), x)
        assert counter.count == shape[1] * shape[2]
        torch.testing.assert_close(cached, network(x, y), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("spec", [DataSpec((1, 6, 7), 4), DataSpec((3, 5, 4), 256)], **by_shape)
def test_cached_samples_equal_those_by_whole_passes(spec: DataSpec, temperature: float) -> None:
    model = perturbed(PixelCNNPP(spec, width=8), scale=0.1)
    channels, *size = spec.shape
    x = torch.zeros(3, *spec.shape, dtype=torch.float64)
    with torch.no_grad():
        with rng.keyed(rng.keys(11, count=3)):
            u = rng.uniform(torch.empty(3, channels + 1, *size, dtype=torch.float64))
        for i, j in itertools.product(*map(range, size)):
            output = model.network(to_symmetric(x, spec.levels))[..., i, j]
            x[..., i, j] = model.sample_pixel(output, u[..., i, j], temperature)
    assert torch.equal(model.sample(3, temperature, seed=11), x)
    assert len(x.unique()) > 2


@pytest.mark.parametrize("spec", [DataSpec((1, 1, 2), 3), DataSpec((3, 1, 1), 3)], **by_shape)
def test_sample_frequencies_are_the_probabilities(spec: DataSpec) -> None:
    model = perturbed(PixelCNNPP(spec, width=8, components=3), scale=0.3)
    images, n = every_image(spec), 20_000
    x = model.sample(n, seed=0).flatten(1)
    with torch.no_grad():
        p = model.log_prob(images).exp()
    for image, expected in zip(images.flatten(1), p.tolist(), strict=True):
        frequency = float((x == image).all(1).double().mean())
        assert abs(frequency - expected) < 5 * math.sqrt(expected * (1 - expected) / n) + 1e-9


@pytest.mark.parametrize(
    "spec",
    [
        DataSpec((1, 1, 1), 2),
        DataSpec((1, 28, 28), 256),
        DataSpec((3, 33, 32), 256),
        DataSpec((1, 64, 64), 2),
    ],
    **by_shape,
)
def test_scores_images_of_any_size(spec: DataSpec) -> None:
    model = PixelCNNPP(spec, width=8)
    assert spec.levels is not None
    x = torch.randint(spec.levels, (2, *spec.shape))
    model.log_prob(x).mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    extremes = torch.stack([torch.zeros(spec.shape), torch.full(spec.shape, spec.levels - 1.0)])
    assert model.eval().log_prob(extremes).isfinite().all()


def test_dropout_acts_in_training_only() -> None:
    spec = DataSpec((1, 4, 4), 4)
    model = perturbed(PixelCNNPP(spec, width=8, dropout=0.5), scale=0.1)
    x = torch.randint(4, (4, 1, 4, 4))
    whole, drawn = model.log_prob(x), model.sample(3, seed=2)
    assert torch.equal(whole, model.log_prob(x))
    model.train()
    assert torch.equal(drawn, model.sample(3, seed=2))
    dropped = torch.stack([model.log_prob(x) for _ in range(3)])
    assert (dropped.std(0) > 1e-3).all()


def test_data_that_are_not_integer_images_are_an_error() -> None:
    for spec in (DataSpec((2,)), DataSpec((4,), 4), DataSpec((1, 2, 2))):
        with pytest.raises(ZooError, match="images of integers"):
            PixelCNNPP(spec)
    with pytest.raises(ZooError, match="components"):
        PixelCNNPP(DataSpec((1, 2, 2), 4), components=0)


def test_the_configuration_states_the_defaults() -> None:
    values = yaml.safe_load((Path(__file__).parents[2] / "conf/model/pixelcnn_pp.yaml").read_text())
    assert values.pop("_target_") == f"{PixelCNNPP.__module__}.{PixelCNNPP.__qualname__}"
    signature = inspect.signature(PixelCNNPP).parameters
    assert values == {name: p.default for name, p in signature.items() if name != "spec"}


def test_the_model_of_the_recipe_has_the_stated_layers() -> None:
    model = recipe_model("pixelcnn_pp_cifar10")
    assert [size.shape for size in (model.network.left.weight, model.network.output.weight)] == [
        (160, 4, 2, 1),
        (100, 160, 1, 1),
    ]
    blocks = model.network.sizes
    assert (len(blocks.down), len(blocks.up), len(blocks.inner.inner.up)) == (5, 6, 5)
