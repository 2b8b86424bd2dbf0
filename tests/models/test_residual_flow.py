"""Tests of residual flows: densities, recomputed activations, architectures, published sizes."""

from __future__ import annotations

import copy

import pytest
import torch
from recipe_tools import recipe_model

import zoo
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.residual import InvertibleResidual
from zoo.models.core import rng
from zoo.models.core.distributions import MixtureOfNormals, StandardNormal
from zoo.models.networks.spectral_norm import SpectralNorm
from zoo.models.residual_flow import ResidualFlow


def points(n, *shape):
    return torch.randn(n, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("activation", ["lipswish", "sincos"])
def test_density_on_the_plane_integrates_to_one(activation):
    torch.manual_seed(0)
    flow = ResidualFlow(DataSpec((2,)), blocks=3, scales=1, hidden=[16, 16], activation=activation).double()
    flow.train().log_prob(torch.randn(64, 2))  # sets the activation normalisation
    flow.eval()
    with torch.no_grad():
        for block in flow.transform.modules():
            if isinstance(block, SpectralNorm):
                block.layer.weight.mul_(4)  # every layer at its bound
        axis = torch.linspace(-12, 12, 161, dtype=torch.float64)
        points = torch.cartesian_prod(axis, axis)
        total = sum(flow.log_prob(part).exp().sum() for part in points.split(50_000))
    assert abs(total * (axis[1] - axis[0]) ** 2 - 1) < 1e-3


@pytest.mark.parametrize("gradient", ["series", "neumann"])
@pytest.mark.parametrize("shape", [(3,), (1, 4, 4)], ids=str)
def test_recomputed_activations_give_the_plain_gradients(shape, gradient):
    spec = DataSpec(shape)
    settings = {"series": {"gradient": gradient, "exact_dim": 0}, "hidden": (8, 8), "width": 4, "blocks": 2}
    torch.manual_seed(0)
    plain = ResidualFlow(spec, **settings).double().train()
    saving = ResidualFlow(spec, memory_efficient=True, **settings).double().train()
    x, weights = points(6, *shape), points(6)
    plain.log_prob(x)  # sets the activation normalisation
    saving.load_state_dict(plain.state_dict())
    saving.train()
    result = []
    for flow in (copy.deepcopy(plain).train(), saving):
        with rng.keyed(rng.keys(3, count=6)):
            loss = (weights * flow.log_prob(x)).sum()
        result.append(torch.autograd.grad(loss, list(flow.parameters())))
    for a, b in zip(*result, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("activation", ["lipswish", "sincos"])
def test_recomputation_leaves_an_exact_log_det_as_it_is(activation):
    torch.manual_seed(0)
    plain = ResidualFlow(DataSpec((2,)), hidden=(8, 8), blocks=3, activation=activation).double().train()
    plain.log_prob(points(6, 2))
    with torch.no_grad():
        for layer in plain.modules():
            if isinstance(layer, SpectralNorm):
                layer.layer.weight.mul_(6)  # far above the bound, as after a large step
    saving = ResidualFlow(
        DataSpec((2,)), hidden=(8, 8), blocks=3, activation=activation, memory_efficient=True
    ).double()
    saving.load_state_dict(plain.state_dict())
    result = []
    for flow in (copy.deepcopy(plain).train(), saving.train()):
        values = flow.log_prob(points(6, 2))
        result.append((values, *torch.autograd.grad((values * points(6)).sum(), list(flow.parameters()))))
    for a, b in zip(*result, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-8)
    fresh = copy.deepcopy(plain).train()
    with torch.no_grad():
        torch.testing.assert_close(fresh.log_prob(points(6, 2)), result[0][0].detach())


@pytest.mark.parametrize(
    "settings", [{"split": True}, {"dense_blocks": 1, "activation": "sincos"}, {"squeeze_first": False}]
)
def test_architectures_invert_and_are_exact_where_small(settings):
    flow = zoo.build("residual_flow", DataSpec((1, 4, 4), 5, 3), width=4, hidden=[8], blocks=1, **settings)
    flow = flow.double().eval()
    assert flow.likelihood_details() == {"dequantisation": "uniform", "log_det": "exact"}
    x = 4.9 * torch.rand(2, 1, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        z, log_det = flow.transform(x)
        back, back_log_det = flow.transform.inverse(z)
        torch.testing.assert_close(back, x, rtol=0, atol=1e-8)
        torch.testing.assert_close(flow.transform.invert(z), back)
        torch.testing.assert_close(back_log_det, -log_det, rtol=0, atol=1e-8)
        jacobian = torch.autograd.functional.jacobian(lambda v: flow.transform(v)[0][0], x[:1])
    truth = torch.linalg.slogdet(jacobian.reshape(16, 16))[1]
    assert abs(truth - log_det[0]) < 1e-8
    assert torch.isfinite(flow.log_prob(torch.full((1, 1, 4, 4), 4))).all()


def test_autocast_and_inference_mode_change_no_density():
    flow = zoo.build("residual_flow", DataSpec((100,)), blocks=1, scales=1, hidden=[8]).eval()
    details = flow.likelihood_details()
    assert details["estimator"] == "roulette"
    assert details["extra_terms"] == "geometric"
    assert 0 <= details["bias_bound_nats"] < 2  # 100 dimensions, L = 0.96, 73 terms within reach
    x = torch.randn(3, 100)
    with torch.no_grad():
        plain = flow.log_prob(x)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(flow.log_prob(x), plain)
        assert torch.isfinite(flow.log_prob(1e4 * x)).all()
    with torch.inference_mode():
        torch.testing.assert_close(flow.log_prob(x), plain)
    flow.log_prob(x).sum().backward()


@pytest.mark.parametrize("name", ["estimator", "gradient", "count"])
def test_unknown_names_of_the_series_are_an_error(name):
    with pytest.raises(ZooError, match=rf"model\.series\.{name}"):
        ResidualFlow(DataSpec((3,)), series={name: "magic"})


def test_unknown_activations_are_an_error():
    with pytest.raises(ZooError, match=r"model\.activation"):
        ResidualFlow(DataSpec((3,)), activation="magic")


@pytest.mark.parametrize(
    ("name", "blocks", "width", "coefficient", "terms", "estimator", "base"),
    [
        ("iresnet_mnist", 64, 32, 0.9, 10, "truncated", StandardNormal),
        ("iresnet_cifar10", 48, 512, 0.9, 5, "truncated", MixtureOfNormals),
        ("iresnet_cifar10_paper", 96, 512, 0.9, 5, "truncated", MixtureOfNormals),
        ("residual_flow_mnist", 48, 512, 0.98, 2, "roulette", StandardNormal),
        ("residual_flow_cifar10", 48, 512, 0.98, 2, "roulette", StandardNormal),
    ],
)
def test_models_of_recipes_have_the_stated_layers(name, blocks, width, coefficient, terms, estimator, base):
    model = recipe_model(name)
    residuals = [m for m in model.modules() if isinstance(m, InvertibleResidual)]
    dense = [r for r in residuals if isinstance(r.g.layers[0].layer, torch.nn.Linear)]
    convolutional = [r for r in residuals if r not in dense]
    assert len(convolutional) == blocks
    for block in convolutional:
        channels = block.g.layers[0].layer.in_channels
        maps = [(m.layer.in_channels, m.layer.out_channels, m.layer.kernel_size) for m in block.g.layers]
        assert maps == [
            (channels, width, (3, 3)),
            (width, width, (1, 1)),
            (width, channels, (3, 3)),
        ]
    assert len(dense) == (4 if estimator == "roulette" else 0)
    for block in dense:
        assert [m.layer.out_features for m in block.g.layers] == [
            128,
            128,
            block.g.layers[0].layer.in_features,
        ]
    for block in residuals:
        assert {m.coefficient for m in block.g.layers} == {coefficient}
        assert block.lipschitz == pytest.approx(coefficient**3)
        series = block.series
        assert (series.terms, series.eval_terms, series.estimator) == (terms, 20, estimator)
        if estimator == "truncated":  # 5 power iterations, as in the script
            assert {(m.iterations, m.train_tolerance) for m in block.g.layers} == {(5, None)}
        else:
            assert {m.train_tolerance for m in block.g.layers} == {1e-3}
    assert type(model.base) is base
    assert model.likelihood == "estimate"
