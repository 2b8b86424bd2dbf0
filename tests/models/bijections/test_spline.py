"""Tests of rational-quadratic splines: shape, edges, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from contract import check_bijection, roughen
from torch.autograd import gradcheck

from zoo.models.bijections.spline import ElementwiseSpline, knots, rational_quadratic

BOUND, BINS = 3.0, 6


def some_knots(scale=2.0, rows=40, dtype=torch.float64):
    return knots(scale * torch.randn(rows, 3 * BINS - 1, dtype=dtype), BINS, BOUND)


@pytest.mark.parametrize("scale", [0.0, 2.0, 50.0, 1e4])
def test_monotone_on_the_bound_and_the_identity_outside(scale):
    x = torch.linspace(-5, 5, 4001, dtype=torch.float64).expand(40, -1).T
    y, log_slope = rational_quadratic(x, *some_knots(scale))
    assert (y.diff(dim=0) > 0).all()
    outside = x.abs() >= BOUND
    torch.testing.assert_close(y[outside], x[outside], rtol=0, atol=1e-12)
    assert (log_slope[x.abs() > BOUND] == 0).all()
    assert log_slope.isfinite().all()
    if scale == 0:
        torch.testing.assert_close(y, x)
        torch.testing.assert_close(log_slope, torch.zeros_like(x))


def test_slope_is_autograds_and_continuous_at_knots():
    x_knots, y_knots, slopes = some_knots()
    x = (torch.rand(40, dtype=torch.float64) * 8 - 4).requires_grad_()
    y, log_slope = rational_quadratic(x, x_knots, y_knots, slopes)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(slope.log(), log_slope)
    for i in range(BINS + 1):
        at = x_knots[:, i].clone()
        value, log_slope = rational_quadratic(at, x_knots, y_knots, slopes)
        torch.testing.assert_close(value, y_knots[:, i])
        torch.testing.assert_close(log_slope, slopes[:, i].log())
        below, log_below = rational_quadratic(at - 1e-12, x_knots, y_knots, slopes)
        torch.testing.assert_close(below, value, rtol=0, atol=1e-8)
        torch.testing.assert_close(log_below, log_slope, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(torch.float32, 1.0), (torch.float32, 3.0)] + [(torch.float64, s) for s in (1, 10, 50)],
)
def test_the_inverse_loses_no_more_than_the_rounding_of_its_argument(dtype, scale):
    """A rounding of the value by eps B moves the point by eps B / slope, so no inverse can do better."""
    places = some_knots(scale, 200, dtype)
    near = places[0][:, 1:-1].T + BOUND * 1e-5 * torch.randn(BINS - 1, 200, dtype=dtype)
    x = torch.cat([BOUND * (2 * torch.rand(400, 200, dtype=dtype) - 1), near.clamp(-BOUND, BOUND)])
    y, log_slope = rational_quadratic(x, *places)
    back, _ = rational_quadratic(y, *places, inverse=True)
    rounding = torch.finfo(dtype).eps * BOUND * (1 + (-log_slope).exp())
    assert ((back - x).abs() / rounding).max() < 8
    again, _ = rational_quadratic(back, *places)
    assert ((again - y).abs() / (torch.finfo(dtype).eps * BOUND * (1 + log_slope.exp()))).max() < 8


@pytest.mark.parametrize("inverse", [False, True])
def test_gradients_equal_finite_differences(inverse):
    raw = torch.randn(5, 3 * BINS - 1, dtype=torch.float64, requires_grad=True)
    x = torch.tensor([-4.0, -2.2, 0.1, 1.9, 3.5], dtype=torch.float64, requires_grad=True)
    assert gradcheck(
        lambda x, raw: rational_quadratic(x, *knots(raw, BINS, BOUND), inverse=inverse), (x, raw)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [-BOUND, BOUND, math.nextafter(BOUND, 0), 0.0, 1e30, -1e30])
@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_values_and_gradients_at_the_edges_are_finite(value, scale, dtype):
    raw = (scale * torch.randn(30, 3 * BINS - 1, dtype=dtype)).requires_grad_()
    x = torch.full((30,), value, dtype=dtype, requires_grad=True)
    for inverse in (False, True):
        out = rational_quadratic(x, *knots(raw, BINS, BOUND), inverse=inverse)
        assert all(part.isfinite().all() for part in out)
        grads = torch.autograd.grad(out[0].sum() + out[1].sum(), [x, raw])
        assert all(grad.isfinite().all() for grad in grads)


def test_nan_stays_visible():
    y, _ = rational_quadratic(torch.full((40,), math.nan, dtype=torch.float64), *some_knots())
    assert y.isnan().all()


@pytest.mark.parametrize("shape", [(3,), (2, 3, 1)])
@pytest.mark.parametrize("bins", [2, 5])
def test_elementwise_splines_meet_the_contract(shape, bins):
    check_bijection(roughen(ElementwiseSpline(shape[0], bins, 1.5), 0.7), torch.randn(4, *shape))
