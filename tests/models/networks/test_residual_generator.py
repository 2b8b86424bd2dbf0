"""Tests of conditional norms and of residual features, whose Lipschitz bound is attained."""

from __future__ import annotations

import torch
from torch import nn

from zoo.models.networks.residual import ConditionalNorm, ResidualFeatures


def test_a_conditional_norm_scales_and_shifts_the_norm_by_label() -> None:
    layer = ConditionalNorm(8, "group", context=3)
    h, y = torch.randn(3, 8, 4, 4), torch.eye(3)
    torch.testing.assert_close(layer(h, y), layer.norm(h))  # at the start, as without labels
    nn.init.normal_(layer.of_label.weight)
    gain, shift = layer.of_label.weight.T[:, :, None, None].chunk(2, 1)
    torch.testing.assert_close(layer(h, y), layer.norm(h) * (1 + gain) + shift)
    torch.testing.assert_close(layer(h), layer.norm(h))


def test_lipschitz_features_attain_their_bound_of_1_and_stay_below_it() -> None:
    """With kernels that are identities, a constant image is stretched as much as the network can."""
    for side in (16, 15, 32):
        features = ResidualFeatures((4, side, side), width=4, norm="lipschitz")
        for layer in features.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.dirac_(layer.weight)
        x = torch.ones(1, 4, side, side)
        stretch = (features.eval()(x).norm() / x.norm()).item()
        assert stretch <= 1.001
        assert stretch > 0.97 if side % 2 == 0 else stretch > 0.5
