"""Tests of linear layers: LU and 1x1 convolutions."""

from __future__ import annotations

import pytest
import torch
from contract import check_bijection, roughen
from torch import nn

from zoo.errors import ZooError
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.invertible_conv import FullConv1x1, InvertibleConv1x1, rotation
from zoo.models.bijections.linear import LULinear


@pytest.mark.parametrize("layer", [InvertibleConv1x1, FullConv1x1])
@pytest.mark.parametrize("shape", [(1,), (5,), (3, 2, 3), (4, 1, 1)])
def test_mixing_meets_the_contract(layer, shape):
    check_bijection(roughen(layer(shape[0]), 0.1), torch.randn(3, *shape))


@pytest.mark.parametrize("dim", [1, 2, 7])
def test_lu_meets_the_contract_and_starts_as_the_identity(dim):
    layer, x = LULinear(dim), torch.randn(4, dim)
    torch.testing.assert_close(layer(x)[0], x)
    torch.testing.assert_close(layer(x)[1], torch.zeros(4), rtol=0, atol=1e-5)
    check_bijection(roughen(layer, 0.3), x)


@pytest.mark.parametrize("layer", [InvertibleConv1x1, FullConv1x1])
def test_convolution_mixes_every_pixel_alike(layer):
    layer, x = roughen(layer(4)), torch.randn(2, 4, 3, 5)
    z, log_det = layer(x)
    weight = layer(torch.eye(4)[:, :, None, None])[0][:, :, 0, 0].T
    torch.testing.assert_close(z, torch.einsum("ij,bjhw->bihw", weight, x))
    torch.testing.assert_close(log_det, 15 * torch.linalg.slogdet(weight)[1].expand(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("layer", [InvertibleConv1x1, FullConv1x1])
def test_a_fresh_convolution_is_a_rotation(layer):
    weight = layer(6).weight()
    torch.testing.assert_close(weight @ weight.T, torch.eye(6), atol=1e-5, rtol=0)
    assert not torch.allclose(rotation(3), rotation(3))


def test_a_singular_matrix_is_an_error():
    layer = FullConv1x1(3)
    nn.init.zeros_(layer.matrix)
    with pytest.raises(ZooError, match="singular"):
        layer.inverse(torch.randn(2, 3))


@pytest.mark.parametrize("make", [ActNorm, InvertibleConv1x1, FullConv1x1, LULinear])
def test_log_determinants_are_summed_in_float32(make):
    layer = make(4).bfloat16().eval()
    shape = (2, 4) if make is LULinear else (2, 4, 2, 2)
    for method in (layer.forward, layer.inverse):
        value, log_det = method(torch.randn(*shape, dtype=torch.bfloat16))
        assert value.dtype == torch.bfloat16
        assert log_det.dtype == torch.float32
