"""Couplings of published sizes compose, build, and have the number of parameters that their papers state."""

from __future__ import annotations

import pytest
import torch

import zoo
from zoo.config import PUBLISHED, options

IMAGES = {"cifar10": (3, 32, 32), "imagenet64": (3, 64, 64)}
TABLES = {"power": 6, "gas": 8, "hepmass": 21, "miniboone": 43, "bsds300": 63}
STATED = {
    "glow_cifar10": 44e6,
    "glow_imagenet64": 110.9e6,
    "nsf_coupling_cifar10": 11.8e6,
    "nsf_coupling_imagenet64": 15.6e6,
}
PREFIXES = ("glow_", "realnvp_", "realnvp10_", "nsf_coupling_")
COUPLINGS = [
    name for name in options("model", PUBLISHED) if name.removeprefix(PUBLISHED).startswith(PREFIXES)
]


@pytest.mark.parametrize("name", COUPLINGS)
def test_published_couplings_have_their_size(name):
    short = name.removeprefix(PUBLISHED)
    data = short.rpartition("_")[2]
    if data in IMAGES:
        with torch.device("meta"):  # nothing is allocated
            model = zoo.build(name, zoo.DataSpec(IMAGES[data], levels=256))
    else:
        model = zoo.build(name, zoo.DataSpec((TABLES[data],))).eval()
        assert model.log_prob(model.sample(2, seed=0)).isfinite().all()
    size = sum(p.numel() for p in model.parameters())
    assert size > 0
    if short in STATED:
        assert size == pytest.approx(STATED[short], rel=0.01)


def test_published_sizes_are_all_looked_at():
    assert {PUBLISHED + name for name in STATED} <= set(COUPLINGS)
    assert len(COUPLINGS) >= 19
