"""Tests of dropout from keyed noise."""

from __future__ import annotations

import pytest
import torch

from zoo.models.networks.dropout import Dropout


def test_dropout_drops_its_share_and_keeps_the_mean():
    layer = Dropout(0.25)
    x = torch.ones(100, 50, 20)
    dropped = layer(x)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert torch.equal(layer.eval()(x), x)
