"""Autoregressive neural spline flow: its size."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

import zoo
from zoo.data.spec import DataSpec


@pytest.mark.parametrize(("dim", "hidden", "blocks"), [(6, 256, 2), (43, 32, 1)])
@pytest.mark.filterwarnings("ignore:MADE with")
def test_a_spline_flow_has_the_expected_number_of_weights(dim: int, hidden: int, blocks: int) -> None:
    """The number includes masked weights."""
    model = zoo.build(
        "nsf_autoregressive", DataSpec((dim,)), steps=10, bins=8, hidden=hidden, blocks=blocks
    ).eval()
    widths = [dim, *[hidden] * (1 + 2 * blocks), (3 * 8 - 1) * dim]
    conditioner = sum((a + 1) * b for a, b in pairwise(widths))
    mixing = dim * dim + dim  # L, U and a shift
    assert sum(p.numel() for p in model.parameters()) == 2 * dim + 10 * conditioner + 11 * mixing
    assert torch.isfinite(model.log_prob(model.sample(2, seed=0))).all()
