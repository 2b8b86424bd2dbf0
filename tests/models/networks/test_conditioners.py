"""Conditioners of couplings."""

from __future__ import annotations

import torch
from torch import nn

from zoo.models.core.nfe import count_nfe
from zoo.models.networks.convnet import ConvNet
from zoo.models.networks.glow_net import GlowNet
from zoo.models.networks.mlp import MLP
from zoo.models.networks.residual_net import ResidualConvNet, ResidualMLP


def test_conditioners_count_their_evaluations_and_start_at_zero():
    with count_nfe() as counter:
        assert not MLP(3, 4)(torch.randn(2, 3)).any()
        assert not ConvNet(2, 4, 8, 1)(torch.randn(2, 2, 3, 3)).any()
        assert not GlowNet(2, 4, 8)(torch.randn(2, 2, 3, 3)).any()
        assert not ResidualMLP(3, 4, 8, 2)(torch.randn(2, 3)).any()
        assert not ResidualConvNet(2, 4, 8, 1)(torch.randn(2, 2, 3, 3)).any()
    assert counter.count == 5
    assert MLP(3, 4, [8], nn.Tanh, zero_init_last=False)(torch.randn(2, 3)).any()
