"""Tests of Lipschitz networks: slopes, Jacobians and converged norms."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from zoo.models.networks.lipschitz import LipschitzNetwork, LipSwish, SinCos
from zoo.models.networks.spectral_norm import Spectral, SpectralNorm


def network(shape, train_tolerance=None, **settings):
    torch.manual_seed(2)
    g = LipschitzNetwork(shape, (8, 8), Spectral(train_tolerance=train_tolerance), **settings)
    with torch.no_grad():
        for layer in g.layers:
            layer.layer.weight.mul_(3)
    return g.double()


def points(n, *shape):
    return torch.randn(n, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("shape", [(7,), (2, 4, 4), (1, 3, 5)], ids=str)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_converged_norms_keep_every_layer_below_its_bound(shape, mode):
    g = network(shape, train_tolerance=1e-3)
    getattr(g, mode)()
    g(points(2, *shape))
    for layer in g.layers:
        inside = layer.shape if layer.layer.weight.ndim == 2 else (layer.shape[0], *shape[1:])
        basis = torch.eye(math.prod(inside), dtype=torch.float64).view(-1, *inside)
        matrix = (layer(basis) - layer(torch.zeros_like(basis))).flatten(1)
        sigma = torch.linalg.matrix_norm(matrix, 2).item()
        assert 0.9 * (1 - 2e-3) <= sigma <= 0.9 * (1 + 1e-9)


def test_a_layer_of_zeros_recovers():
    layer = SpectralNorm(nn.Linear(3, 3), (3,)).train()
    for factor in (0.0, 1.0):
        with torch.no_grad():
            layer.layer.weight.copy_(5 * factor * torch.eye(3))
        layer(torch.ones(1, 3))
    assert torch.linalg.matrix_norm(layer(torch.eye(3)) - layer(torch.zeros(1, 3)), 2) <= 0.91


def test_lipswish_is_one_lipschitz_and_nearly_attains_it():
    x = torch.linspace(-30, 30, 20001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(LipSwish().double()(x).sum(), x)
    assert 0.999 < slope.max() <= 1
    assert slope.min() > -1


def test_a_pair_of_waves_has_slopes_of_norm_one():
    x = torch.linspace(-30, 30, 2001, dtype=torch.float64)[:, None]
    activation = SinCos().double()
    jacobian = torch.func.vmap(torch.func.jacrev(lambda v: activation(v[None])[0]))(x)
    torch.testing.assert_close(jacobian.norm(dim=(1, 2)), torch.ones(2001, dtype=torch.float64))
    assert activation(torch.zeros(1, 1, dtype=torch.float64)).abs().max() == 0


@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("activate_input", [True, False])
@pytest.mark.parametrize("activation", ["elu", "lipswish", "sincos"])
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_jacobian_of_linearise_equals_that_of_autograd(dim, activation, activate_input, context):
    g = network((dim,), activation=activation, activate_input=activate_input, context=context).eval()
    x = 3 * points(4, dim)
    given = (points(4, context),) if context else ()
    with torch.no_grad():
        out, jacobian = g.linearise(x, *given)
        torch.testing.assert_close(out, g(x, *given), rtol=0, atol=1e-12)
    expected = torch.func.vmap(torch.func.jacrev(lambda *row: g(*[v[None] for v in row])[0]))(x, *given)
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(jacobian, expected, rtol=0, atol=1e-12)
    assert torch.linalg.matrix_norm(jacobian, 2).max() <= g.lipschitz


@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("activate_input", [True, False])
@pytest.mark.parametrize("activation", ["elu", "lipswish", "sincos"])
def test_products_with_the_transposed_jacobian_equal_those_of_autograd(activation, activate_input, context):
    g = network((5,), activation=activation, activate_input=activate_input, context=context).eval()
    x, v = (3 * points(4, 5)).requires_grad_(), points(8, 5)[4:]
    given = (points(4, context),) if context else ()
    out, transposed = g.with_products(x, *given)
    torch.testing.assert_close(out, g(x, *given), rtol=0, atol=1e-12)
    (expected,) = torch.autograd.grad(out, x, v, retain_graph=True)
    assert expected.abs().max() > 0.01
    kept = v.clone()
    torch.testing.assert_close(transposed(v, False), expected, rtol=0, atol=1e-12)
    assert torch.equal(v, kept), "the function does not change its argument"
    assert not transposed(v, False).requires_grad
    inputs = (x, *(p for p in g.parameters() if p.requires_grad))
    (twice,) = torch.autograd.grad(g(x, *given), x, v, create_graph=True)
    found, wanted = (
        torch.autograd.grad(product.square().sum(), inputs, allow_unused=True)
        for product in (transposed(v, True), twice)
    )
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)


def test_slopes_of_lipswish_are_finite_where_its_argument_overflows():
    activation, x = LipSwish(), torch.tensor([[3e38, -3e38]])
    with torch.no_grad():
        activation.scale.fill_(4.0)
    value, slope = activation.linearise(x)
    torch.testing.assert_close(slope, torch.tensor([[1 / 1.1, 0.0]]))
    torch.testing.assert_close(value, activation(x))


@pytest.mark.parametrize("far", [1e4, 1e30])
@pytest.mark.parametrize("activation", ["elu", "lipswish", "sincos"])
def test_jacobian_keeps_its_bound_far_from_the_data(activation, far):
    g = LipschitzNetwork((2,), (8, 8), activation=activation, activate_input=True).eval()
    x = torch.tensor([[far, -far], [-far, far]])
    jacobian = g.linearise(x)[1]
    assert torch.linalg.matrix_norm(jacobian, 2).max() <= g.lipschitz * (1 + 1e-5)


@pytest.mark.parametrize("rate", [-200.0, -10.0, 0.5, 3.0])
def test_a_pair_of_waves_is_accurate_at_any_rate(rate):
    activation, x = SinCos(), torch.linspace(-3, 3, 7)[:, None]
    with torch.no_grad():
        activation.scale.fill_(rate)
    result = activation(x)
    expected = copy.deepcopy(activation).double()(x.double())
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(activation.linearise(x)[0], result)
    result.sum().backward()
    assert activation.scale.grad.isfinite()
