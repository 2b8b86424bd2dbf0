"""Tests of small tensor functions."""

from __future__ import annotations

import pytest
import torch

from zoo.models.core.functional import (
    from_symmetric,
    patch_side,
    soft_bound,
    soft_clamp,
    sum_event,
    to_symmetric,
)


def test_sum_event_adds_in_float32_at_least():
    ones = torch.ones(2, 4096, dtype=torch.bfloat16)
    assert sum_event(ones).dtype == torch.float32
    assert sum_event(ones).tolist() == [4096.0, 4096.0]
    assert sum_event(ones.double()).dtype == torch.float64


def test_soft_clamp_is_the_identity_near_zero_and_stays_within_the_bound():
    x = torch.tensor([-1e6, -1e-3, 0.0, 1e-3, 1e6], dtype=torch.float64, requires_grad=True)
    y = soft_clamp(x, 3.0)
    assert y.detach().tolist() == pytest.approx([-3.0, -1e-3, 0.0, 1e-3, 3.0])
    assert torch.autograd.grad(y.sum(), x)[0][2] == 1


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 0.02)])
def test_soft_clamp_is_the_tanh_of_its_definition(dtype, tolerance):
    x = torch.linspace(-20, 20, 999).to(dtype)
    expected = 5 * torch.tanh(x.double() / 5)
    with torch.inference_mode():
        torch.testing.assert_close(soft_clamp(x, 5.0).double(), expected, rtol=tolerance, atol=tolerance)
    x.requires_grad_()
    slope = torch.autograd.grad(soft_clamp(x, 5.0).sum(), x)[0]
    torch.testing.assert_close(slope.double(), 1 - expected.square() / 25, rtol=tolerance, atol=tolerance)


def test_soft_bound_maps_onto_the_interval_with_slope_one_at_its_middle():
    x = torch.tensor([-1e6, 0.0, 1e6], dtype=torch.float64, requires_grad=True)
    y = soft_bound(x, -1.0, 5.0)
    assert y.detach().tolist() == pytest.approx([-1.0, 2.0, 5.0])
    assert torch.autograd.grad(y.sum(), x)[0][1] == 1


def test_pixels_are_mapped_to_the_symmetric_interval_and_back():
    pixels = torch.arange(256.0, dtype=torch.float64)
    mapped = to_symmetric(pixels, 256)
    assert (mapped[0], mapped[-1]) == (-1, 1)
    assert torch.allclose(from_symmetric(mapped, 256), pixels)
    assert torch.equal(to_symmetric(pixels, None), pixels)
    assert torch.equal(from_symmetric(pixels, None), pixels)


def test_a_patch_side_divides_the_size_and_leaves_two_patches():
    for size in range(1, 40):
        for patch in range(1, 10):
            side = patch_side(size, patch)
            assert size % side == 0
            assert side == 1 or (side <= patch and size // side >= 2)
