"""Couplings and the layers beside them, against hand calculation and autograd."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import zoo
from zoo.errors import InvalidData
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.coupling import AffineCoupling, make_mask
from zoo.models.bijections.invertible_conv import InvertibleConv1x1
from zoo.models.bijections.squeeze import Squeeze


class Exercise(nn.Module):
    """s = x1/2 - 1 and t = 2 x1 + 1 for the second dimension."""

    def forward(self, x):
        first = x[:, :1]
        return torch.cat([first * 0, 0.5 * first - 1, first * 0, 2 * first + 1], 1)


def test_the_lectures_exercise():
    coupling = AffineCoupling(torch.tensor([True, False]), Exercise(), bound=None)
    z, log_det = coupling(torch.tensor([[2.0, 3.0], [0.0, 1.0]]))
    torch.testing.assert_close(z, torch.tensor([[2.0, 8.0], [0.0, 1 + math.exp(-1)]]))
    torch.testing.assert_close(log_det, torch.tensor([0.0, -1.0]))
    x, log_det = coupling.inverse(torch.tensor([[2.0, 8.0], [0.0, 1.0]]))
    torch.testing.assert_close(x, torch.tensor([[2.0, 3.0], [0.0, 0.0]]))
    torch.testing.assert_close(log_det, torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("name", ["realnvp", "glow", "maf"])
@pytest.mark.parametrize("shape", [(2,), (5,), (1, 2, 2), (1, 3, 3), (2, 4, 2), (1, 4, 4)])
@pytest.mark.parametrize("batch", [1, 4])
def test_exact_inverse_and_log_det(name, shape, batch):
    model = (
        zoo.build(name, zoo.DataSpec(shape), width=8)
        if name != "maf"
        else zoo.build(name, zoo.DataSpec(shape))
    )
    model = model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    model.eval()
    x = torch.randn(batch, *shape, dtype=torch.float64)
    z, log_det = model.transform(x)
    back, back_log_det = model.transform.inverse(z)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-10)
    torch.testing.assert_close(back_log_det, -log_det, rtol=0, atol=1e-10)
    for i in range(batch):
        jacobian = torch.autograd.functional.jacobian(lambda v: model.transform(v[None])[0].flatten(), x[i])
        expected = torch.linalg.slogdet(jacobian.reshape(len(jacobian), -1))[1]
        torch.testing.assert_close(log_det[i], expected, rtol=0, atol=1e-8)


def test_actnorm_sets_itself_once_and_remembers():
    layer = ActNorm(3)
    x = 5 + 2 * torch.randn(500, 3, 4, 4)
    layer.eval()
    torch.testing.assert_close(layer(x)[0], x)
    layer.train()
    z, _ = layer(x)
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)
    before = layer.bias.clone()
    layer(x + 100)
    assert torch.equal(layer.bias, before)
    fresh = ActNorm(3)
    fresh.load_state_dict(layer.state_dict())
    fresh.train()(x + 100)
    assert torch.equal(fresh.bias, before)


def test_actnorm_survives_a_constant_channel():
    z, log_det = ActNorm(2).train()(torch.full((4, 2), 3.0))
    assert torch.isfinite(z).all()
    assert torch.isfinite(log_det).all()


def test_convolution_mixes_every_pixel_alike():
    layer = InvertibleConv1x1(4)
    x = torch.randn(2, 4, 3, 5)
    z, log_det = layer(x)
    weight = layer(torch.eye(4)[:, :, None, None])[0][:, :, 0, 0].T
    torch.testing.assert_close(z, torch.einsum("ij,bjhw->bihw", weight, x))
    torch.testing.assert_close(log_det, 15 * torch.linalg.slogdet(weight)[1].expand(2), atol=1e-5, rtol=0)


def test_refusals():
    with pytest.raises(InvalidData, match="odd"):
        Squeeze()(torch.zeros(1, 1, 3, 4))
    with pytest.raises(InvalidData, match="mask"):
        make_mask("channel", (4,))
    with pytest.raises(zoo.ZooError, match="at least 2"):
        zoo.build("glow", zoo.DataSpec((1,)))
