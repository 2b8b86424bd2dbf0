"""Tests of residual blocks: inverses and log-determinants against brute force, in float64."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import normflows
import pytest
import torch
from lipschitz_tools import SHAPES, block, jacobians, points
from torch import nn

from zoo.errors import Unsound
from zoo.models.bijections.residual import InvertibleResidual
from zoo.models.core.nfe import count_nfe


@pytest.mark.parametrize("shape", SHAPES)
def test_inverse_is_within_its_tolerance(shape):
    bijection, x = block(shape), 3 * points(32, shape)
    with torch.no_grad():
        z, _ = bijection(x)
        assert torch.linalg.vector_norm(z - x) > 0.1, "the block does something"
        back = bijection.invert(z)
    scale = x.abs().flatten(1).amax(1).clamp(min=1)
    error = ((back - x).abs().flatten(1).amax(1) / scale).max().item()
    tolerance = bijection.tolerance * torch.finfo(torch.float64).eps / torch.finfo(torch.float32).eps
    assert error <= 10 * tolerance
    assert 1 < bijection.last_iterations < bijection.most
    assert bijection.last_residual <= tolerance
    single = copy.deepcopy(bijection).float()
    with torch.no_grad():
        error = ((single.invert(single(x.float())[0]) - x).abs().flatten(1).amax(1) / scale).max().item()
    assert error <= 10 * single.tolerance
    assert single.last_iterations < bijection.last_iterations


def test_an_inverse_that_does_not_converge_is_an_error():
    bijection = block((2,), most=3)
    with pytest.raises(Unsound, match=r"did not converge in 3 iterations"), torch.no_grad():
        bijection.inverse(points(5, (2,)))
    with pytest.raises(Unsound, match="did not converge in 1 iteration"), torch.no_grad():
        bijection.invert(points(5, (2,)) * math.nan)


def test_inverse_has_the_gradient_of_the_inverse_function():
    bijection = block((3,))
    z = points(4, (3,)).requires_grad_()
    weights = points(4, (3,))
    with count_nfe() as counter:
        x, log_det = bijection.inverse(z)
    assert counter.count == bijection.last_iterations + 2  # its gradient and its log-determinant: one each
    loss = (weights * x).sum() + log_det.sum()
    gradients = torch.autograd.grad(loss, [z, *bijection.parameters()])

    def unrolled(z):
        x = z
        for _ in range(200):
            x = z - bijection.g(x)
        return (weights * x).sum() - bijection(x)[1].sum()

    expected = torch.autograd.grad(unrolled(z), [z, *bijection.parameters()])
    for a, b in zip(gradients, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("shape", [(1,), (2,), (3,), (4, 1, 1)])
def test_exact_log_det_equals_that_of_autograd(shape):
    bijection, x = block(shape), points(6, shape)
    with torch.no_grad():
        z, log_det = bijection(x)
        _, back_log_det = bijection.inverse(z)
    expected = torch.linalg.slogdet(jacobians(lambda v: v + bijection.g(v), x))[1]
    assert log_det.abs().max() > 0.01
    torch.testing.assert_close(log_det, expected, rtol=0, atol=1e-8)
    torch.testing.assert_close(back_log_det, -log_det, rtol=0, atol=1e-8)
    assert not log_det.requires_grad


def test_gradients_equal_those_through_the_exact_log_det():
    bijection, x = block((3,)).train(), points(5, (3,))
    for layer in bijection.g.layers:
        layer.iterations = 0  # the same sigma in both passes
    weights = torch.arange(1.0, 6.0, dtype=torch.float64)  # gradients of each row, not only their sum
    z, log_det = bijection(x)
    gradients = torch.autograd.grad((weights * (log_det + z.sum(1))).sum(), list(bijection.parameters()))
    rows = [torch.autograd.functional.jacobian(lambda v: v + bijection.g(v[None])[0], r, True) for r in x]
    loss = (weights * (torch.linalg.slogdet(torch.stack(rows))[1] + (x + bijection.g(x)).sum(1))).sum()
    expected = torch.autograd.grad(loss, list(bijection.parameters()))
    for a, b in zip(gradients, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def truncated(jacobian, terms):
    power, total = torch.eye(jacobian.shape[-1]).to(jacobian).expand_as(jacobian), 0.0
    for k in range(1, terms + 1):
        power = power @ jacobian
        total = total + (-1) ** (k + 1) / k * power.diagonal(dim1=1, dim2=2).sum(1)
    return total


@pytest.mark.parametrize("shape", [(5,), (4, 2, 2)])
def test_truncated_series_is_unbiased_and_converges_to_the_exact_value(shape):
    bijection, x = block(shape, exact_dim=0, eval_exact_dim=0), points(1, shape)
    jacobian = jacobians(bijection.g, x)
    exact = torch.linalg.slogdet(torch.eye(x[0].numel()).to(x) + jacobian)[1].item()
    n, errors = 4000, []
    for terms in (1, 2, 4, 8, 16, 32):
        bijection.series = replace(bijection.series, eval_terms=terms)
        target = truncated(jacobian, terms).item()
        errors.append(abs(target - exact))
        assert errors[-1] <= bijection.bias_bound(x[0].numel()) + 1e-12
        if terms in (1, 4, 16):
            with torch.no_grad():
                values = bijection(x.expand(n, *shape))[1]
            assert values.std() > 0
            assert abs(values.mean().item() - target) < 4 * values.std().item() / math.sqrt(n)
    assert errors[-1] < 1e-4 < errors[0]
    assert errors[2] < errors[0]
    assert errors[4] < errors[2]


def test_series_gradient_is_unbiased():
    bijection, x = block((3,), exact_dim=0, terms=12).train(), points(1, (3,))
    for layer in bijection.g.layers:
        layer.iterations = 0
    first = bijection.g.layers[0].layer.weight
    parts = []
    for _ in range(40):
        (gradient,) = torch.autograd.grad(bijection(x.expand(200, 3))[1].mean(), first)
        parts.append(gradient)
    jacobian = torch.autograd.functional.jacobian(lambda v: bijection.g(v[None])[0], x[0], True)
    (expected,) = torch.autograd.grad(truncated(jacobian[None], 12).sum(), first)
    parts = torch.stack(parts)
    error = parts.std(0) / math.sqrt(len(parts))
    assert expected.abs().max() > 1e-3
    assert ((parts.mean(0) - expected).abs() <= 5 * error + 1e-12).all()  # 48 entries: 5 errors, not 4


def test_normflows_agrees_on_a_residual_block():
    """Its block in two dimensions sums the whole determinant; the same branch gives the same numbers."""
    branch = normflows.nets.LipschitzMLP([2, 16, 2], init_zeros=False, lipschitz_const=0.9)
    theirs = normflows.flows.Residual(branch, reverse=False).double().eval()
    branch.lipschitz = 0.9**2
    ours = InvertibleResidual(branch).double().eval()
    x = points(5, (2,))
    z, log_det = theirs.forward(x)
    back, back_log_det = ours(x)
    if (z - back).abs().max() > 1e-9:  # normflows' forward is the other direction
        z, log_det = theirs.inverse(x)
    torch.testing.assert_close(back, z, rtol=0, atol=1e-10)
    torch.testing.assert_close(back_log_det, log_det.to(torch.float64), rtol=0, atol=1e-6)


class Rounded(nn.Module):
    """A contraction with a different rounding error in every evaluation."""

    lipschitz = 0.94

    def __init__(self, error: float) -> None:
        super().__init__()
        self.error, self.calls = error, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return 0.9 * x + self.error * (-1) ** self.calls


def test_rounding_may_leave_ten_times_the_tolerance_and_no_more():
    x = torch.linspace(-1, 1, 20).view(10, 2)
    block = InvertibleResidual(Rounded(2e-7))
    with torch.no_grad():
        assert (block.invert(1.9 * x) - x).abs().max() < 10 * block.tolerance
        assert block.last_residual > 10 * torch.finfo(torch.float32).eps
        with pytest.raises(Unsound, match="did not converge in 500 iterations"):
            InvertibleResidual(Rounded(1e-6)).invert(1.9 * x)
