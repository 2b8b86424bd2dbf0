"""Fused updates are those of the loop over parameters, and count as changes of the weights."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from zoo.models.networks.spectral_norm import SpectralNorm
from zoo.training.optimizers import Optimizer


def trained(name, fused):
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.randn(shape)) for shape in ((5, 3), (5,))]
    optimizer = Optimizer(name, 0.1, (0.9, 0.99), 0.01).build(weights)
    if not fused:
        plain = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
        optimizer = plain(weights, lr=0.1, betas=(0.9, 0.99), weight_decay=0.01)
    else:
        assert optimizer.defaults["fused"]
    for _ in range(10):
        optimizer.zero_grad()
        sum(weight.square().sum() for weight in weights).backward()
        optimizer.step()
    return weights


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_fused_updates_equal_those_of_the_loop(name):
    torch.testing.assert_close(trained(name, True), trained(name, False), rtol=1e-5, atol=1e-6)


def test_a_spectral_norm_iterates_after_every_update():
    torch.manual_seed(0)
    layer = SpectralNorm(nn.Linear(8, 8), (8,), iterations=1)
    optimizer = Optimizer("adam", 0.1, (0.9, 0.99), 0.0).build(layer.parameters())
    vectors = []
    for _ in range(4):
        optimizer.zero_grad()
        layer(torch.randn(2, 8)).square().sum().backward()
        optimizer.step()
        vectors.append(layer.right.clone())
    assert all(not torch.equal(a, b) for a, b in pairwise(vectors))
