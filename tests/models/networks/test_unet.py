"""Tests of the U-Net: sizes, attention, time and dropout."""

from __future__ import annotations

import math

import pytest
import torch

import zoo
from zoo.errors import ZooError
from zoo.models.core import rng
from zoo.models.networks.unet import Attention, UNet, UNetSettings


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 2), (3, 6, 4), (1, 5, 7), (1, 28, 28), (3, 64, 64)])
def test_the_u_net_accepts_every_size(shape):
    net = UNet(shape, UNetSettings(channels=4, attention=(4, 14), dropout=0.1), context=3)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x, t, y = torch.randn(3, *shape), torch.tensor([0.1, 0.1, 0.7]), torch.eye(3)
    out = net.eval()(t, x, y)
    assert out.shape == x.shape
    torch.testing.assert_close(net(t[:1].squeeze(), x[:1], y[:1]), out[:1], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(net(t + 0.1, x, y), out), "the output depends on the time"
    assert not torch.allclose(net(t, x, y.flip(0)), out), "the output depends on the label"


def test_the_u_net_has_attention_at_the_given_sizes():
    def attentions(**settings):
        net = UNet((1, 16, 16), UNetSettings(channels=4, **settings))
        return sum(isinstance(module, Attention) for module in net.modules())

    assert attentions() == 1, "the middle"
    assert attentions(attention=[8]) == 1 + 1 + 2
    assert attentions(attention=[8, 16]) == 1 + 2 * (1 + 2)
    for wrong in ({"channels": 3}, {"blocks": 0}, {"multipliers": []}, {"dropout": 1.0}):
        with pytest.raises(ZooError):
            UNet((1, 4, 4), UNetSettings(**wrong))


def test_time_embedding_has_the_frequencies_of_ho_et_al():
    net = UNet((1, 4, 4), UNetSettings(channels=8, frequency=1000.0))
    t, steps = 0.123, 123.0  # their time counts steps
    theirs = torch.tensor([steps * math.exp(-math.log(10_000) * i / 3) for i in range(4)])
    torch.testing.assert_close(t * net.frequencies, theirs, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["diffusion", "flow_matching"])
def test_dropout_of_an_example_is_independent_of_its_batch(name):
    """Pieces of a batch, or ranks, drop what the whole batch does; evaluation drops nothing."""
    torch.manual_seed(0)
    spec = zoo.DataSpec((1, 4, 4), levels=4)
    model = zoo.build(name, spec, unet={"channels": 8, "multipliers": [1], "dropout": 0.5})
    with torch.no_grad():
        for weight in model.parameters():  # last layers start at zero
            weight.add_(0.1 * torch.randn_like(weight))
    x = torch.randint(4, (6, 1, 4, 4)).float()

    def losses(rows: slice) -> torch.Tensor:
        with rng.keyed(rng.keys(1, count=6)[rows]), torch.no_grad():
            return model.matching_loss(x[rows])

    whole = losses(slice(None))
    for rows in (slice(0, None, 2), slice(3, 6)):
        torch.testing.assert_close(losses(rows), whole[rows])
    torch.testing.assert_close(losses(slice(None)), whole)
    model.eval()
    assert (losses(slice(None)) - whole).abs().min() > 1e-4
