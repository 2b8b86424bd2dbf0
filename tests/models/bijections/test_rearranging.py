"""Permutations, squeezing, preprocessing and scales."""

from __future__ import annotations

import pytest
import torch
from autoregressive_tools import normal
from contract import check_bijection, roughen
from torch import nn

from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Chain
from zoo.models.bijections.elementwise import Affine, Logit
from zoo.models.bijections.multiscale import MultiScale
from zoo.models.bijections.permutation import Permutation
from zoo.models.bijections.reverse import Reverse
from zoo.models.bijections.squeeze import Squeeze
from zoo.models.networks.convnet import ConvNet


@pytest.mark.parametrize("layer", [Permutation([3, 0, 2, 1]), Reverse()])
@pytest.mark.parametrize("shape", [(4,), (4, 2, 3)])
def test_permutations_are_inverted(layer, shape):
    x = torch.randn(5, *shape)
    z, log_det = layer(x)
    assert not torch.equal(z, x)
    assert torch.equal(layer.inverse(z)[0], x)
    assert torch.equal(log_det, torch.zeros(5))


def test_reverse_reverses_the_flattened_event() -> None:
    x = normal(2, 2, 3)
    z, log_det = Reverse()(x)
    assert torch.equal(z.flatten(1), x.flatten(1).flip(1))
    assert torch.equal(Reverse().inverse(z)[0], x)
    assert torch.equal(log_det, torch.zeros(2, dtype=torch.float64))


def test_squeeze_keeps_blocks_together():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    z, _ = Squeeze()(x)
    assert z[0, :, 0, 0].tolist() == [0, 1, 4, 5]
    assert torch.equal(Squeeze().inverse(z)[0], x)


def test_preprocessing_layers_meet_the_contract():
    check_bijection(Affine(-2.5, 0.3), torch.randn(3, 2, 2, 1))
    check_bijection(Logit(), torch.rand(4, 3) * 0.98 + 0.01)
    check_bijection(Squeeze(), torch.randn(2, 1, 2, 4))
    check_bijection(Permutation([2, 0, 1]), torch.randn(2, 3))
    check_bijection(Reverse(), torch.randn(2, 3))
    check_bijection(roughen(ActNorm(3)), torch.randn(2, 3, 2, 1))
    check_bijection(Chain([Squeeze(), roughen(ActNorm(4))]), torch.randn(2, 1, 2, 2))


def test_leaving_channels_are_standardised_by_the_staying_ones():
    prior = ConvNet(2, 4, width=4, blocks=0).double()
    nn.init.normal_(prior.last.weight)
    scale = MultiScale(Permutation(range(4)), (4, 2, 2), Permutation(range(2)), prior)
    inner = MultiScale(Permutation(range(2)), (2, 2, 2), None, None)
    scale.deeper = inner
    x = torch.randn(3, 4, 2, 2, dtype=torch.float64)
    z, log_det = scale(x)
    mean, raw = prior(x[:, :2]).chunk(2, 1)
    log_std = 3 * torch.tanh(raw / 3)
    assert z.shape == (3, 16)
    torch.testing.assert_close(z[:, 8:], x[:, :2].flatten(1))
    normal = torch.distributions.Normal(mean, log_std.exp())
    expected = normal.log_prob(x[:, 2:]).flatten(1).sum(1)
    standard = torch.distributions.Normal(0, 1).log_prob(z[:, :8]).sum(1)
    torch.testing.assert_close(standard + log_det, expected)
