"""Tests of i-ResNet: the whole model in data space, its mass, and its samples."""

from __future__ import annotations

import math

import pytest
import torch
from lipschitz_tools import enlarge, jacobians, points

import zoo
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.residual import InvertibleResidual
from zoo.models.core import rng
from zoo.models.core.nfe import count_nfe
from zoo.models.iresnet import IResNet
from zoo.models.networks.spectral_norm import SpectralNorm


def model(shape, levels=None, **settings):
    return enlarge(IResNet(DataSpec(shape, levels), hidden=(16, 16), width=16, **settings), 2.0)


def test_power_iterations_are_set_by_the_settings():
    model = IResNet(DataSpec((2,)), blocks=1, hidden=(8,), spectral={"iterations": 7})
    assert {m.iterations for m in model.modules() if isinstance(m, SpectralNorm)} == {7}
    with pytest.raises(ZooError, match="iterations"):
        IResNet(DataSpec((2,)), spectral={"iterations": 0})


def test_building_under_inference_mode_is_an_error():
    with torch.inference_mode(), pytest.raises(ZooError, match="outside"):
        IResNet(DataSpec((2,)), blocks=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("spectral", {"coefficient": 1.0}), ("spectral", {"coefficient": 0.0}), ("series", {"terms": 0})],
)
def test_settings_without_an_inverse_are_an_error(name, value):
    with pytest.raises(ZooError):
        IResNet(DataSpec((2,)), **{name: value})


@pytest.mark.parametrize("dim", [2, 3])
def test_the_whole_model_inverts_and_has_the_exact_log_density(dim):
    flow, x = model((dim,)), points(6, (dim,))
    assert flow.likelihood == "exact"
    assert flow.likelihood_details() == {"log_det": "exact"}
    with torch.no_grad():
        z, log_det = flow.transform(x)
        back, back_log_det = flow.transform.inverse(z)
        log_prob = flow.log_prob(x)
    expected = torch.linalg.slogdet(jacobians(lambda v: flow.transform(v)[0], x))[1]
    torch.testing.assert_close(log_det, expected, rtol=0, atol=1e-8)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-10)
    torch.testing.assert_close(back_log_det, -log_det, rtol=0, atol=1e-8)
    torch.testing.assert_close(log_prob, flow.base.log_prob(z) + expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize(("shape", "levels"), [((2,), None), ((9,), None), ((1, 2, 2), 4), ((1, 8, 8), 17)])
def test_training_reaches_every_parameter(shape, levels):
    flow = model(shape, levels).train()
    x = torch.randint(levels, (4, *shape)) if levels else points(4, shape)
    flow.log_prob(x).mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in flow.parameters())
    silent = [n for n, p in flow.named_parameters() if not p.grad.any()]
    assert not silent


def test_density_on_the_plane_integrates_to_one():
    flow = model((2,), blocks=4)
    axis = torch.linspace(-14, 14, 221, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        mass = torch.cat([flow.log_prob(part).exp() for part in grid.split(8192)]).sum().item()
    assert mass * float(axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("preprocessing", ["logit", "centre"])
def test_the_masses_of_all_small_images_sum_to_one(preprocessing):
    """For all 256 images of 2x2 pixels and 4 levels, the dequantised masses sum to 1 on average."""
    flow = model((1, 2, 2), 4, blocks=3, pixels={"preprocessing": preprocessing})
    assert flow.likelihood == "exact"
    assert flow.likelihood_details() == {"dequantisation": "uniform", "log_det": "exact"}
    x = torch.cartesian_prod(*[torch.arange(4)] * 4).view(-1, 1, 2, 2)
    masses = []
    with torch.no_grad():
        for first in range(0, 100, 10):  # ten draws a pass
            keys = torch.cat([rng.content_keys(x, salt) for salt in range(first, first + 10)])
            with rng.keyed(keys):
                masses.append(flow.log_prob(x.repeat(10, 1, 1, 1)).view(10, -1).exp().sum(1))
    masses = torch.cat(masses)
    error = masses.std().item() / math.sqrt(len(masses))
    if preprocessing == "centre":  # a part of the latent normal lies outside the cube of pixel values
        assert masses.mean().item() <= 1 + 4 * error
    else:
        assert abs(masses.mean().item() - 1) < 4 * error
        assert error < 0.05


@pytest.mark.parametrize(
    ("shape", "levels"),
    [((1, 8, 8), 17), ((1, 5, 7), 3), ((3, 6, 4), 256), ((1,), None), ((43,), None)],
)
def test_every_shape_is_sampled_and_scored(shape, levels):
    flow = zoo.build("iresnet", DataSpec(shape, levels)).eval()
    x = flow.sample(2, seed=0)
    assert x.shape == (2, *shape)
    flow.spec.check(x)
    assert torch.isfinite(flow.log_prob(x)).all()
    details = flow.likelihood_details()
    assert flow.likelihood == ("estimate" if flow.spec.dim > 64 else "exact")
    if flow.likelihood == "estimate":
        assert details["terms"] == 20
        tail = sum((0.9**3) ** k / k for k in range(21, 400))
        assert details["bias_bound_nats"] == pytest.approx(6 * flow.spec.dim * tail, rel=1e-6)


def test_sampling_evaluates_no_log_determinant():
    flow = model((1, 4, 4), 5)
    with count_nfe() as counter:
        x = flow.sample(3, seed=0)
    blocks = [m for m in flow.modules() if isinstance(m, InvertibleResidual)]
    assert counter.count == sum(b.last_iterations for b in blocks)
    with rng.keyed(rng.keys(0, count=3)), torch.no_grad():
        y, _ = flow.transform.inverse(flow.base.sample(3))
    assert torch.equal(x, flow.dequantise.inverse(y).clamp(0, 4))
