"""The densities of the toys against their samplers and their entropies."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from zoo.data.densities import DENSITIES, log_density
from zoo.data.mixtures import MIXTURES, PlanarMixture
from zoo.data.toys import TOYS


def test_every_toy_has_a_density():
    assert set(DENSITIES) == set(TOYS)


@pytest.mark.parametrize("name", TOYS)
def test_a_density_has_mass_one_and_its_entropy(name):
    """By the midpoint rule on a grid that is finer than the noise and has lines at the cells' edges."""
    wide = name == "maf_figure1"
    step = 0.3 if wide else 1 / 16
    ends = [(-6, 40), (-11, 11)] if wide else [(-5, 5), (-5, 5)]
    axes = [torch.arange(low, high, step, dtype=torch.float64) + step / 2 for low, high in ends]
    cell = step**2
    values = log_density(name, torch.cartesian_prod(*axes))
    p = values.exp()
    assert p.sum().item() * cell == pytest.approx(1, abs=3e-3)
    entropy = -(p * torch.where(p > 0, values, 0.0)).sum().item() * cell
    assert entropy == pytest.approx(TOYS[name][1], abs=0.01)


@pytest.mark.parametrize("name", TOYS)
def test_a_density_is_that_of_its_sampler(name):
    """The share of draws in each cell of a grid is the density's integral over it, by chi squared."""
    draws = torch.from_numpy(TOYS[name][0](20_000, np.random.default_rng(5)))
    side, parts = 0.5, 6
    keys, counts = (draws / side).floor().unique(dim=0, return_counts=True)
    keys, counts = keys[counts >= 40], counts[counts >= 40]
    inner = (torch.arange(parts, dtype=torch.float64) + 0.5) / parts
    points = (keys[:, None] + torch.cartesian_prod(inner, inner)) * side
    p = log_density(name, points.reshape(-1, 2)).exp().view(len(keys), -1).mean(1) * side**2
    expected = 20_000 * p
    gap = ((counts - expected).square() / expected / (1 - p)).sum().item()
    assert len(keys) > 20
    assert gap < len(keys) + 5 * math.sqrt(2 * len(keys))


def test_every_drawn_point_has_a_density_also_after_rounding_to_float32():
    for name, (sampler, entropy) in TOYS.items():
        x = torch.from_numpy(sampler(2000, np.random.default_rng(2)).astype(np.float32))
        values = log_density(name, x)
        assert values.isfinite().all(), name
        error = values.std().item() / math.sqrt(2000)
        assert -values.mean().item() == pytest.approx(entropy, abs=4 * error + 1e-3), name
    corners = torch.tensor([[-4.0, 2.0], [0.0, 0.0], [2.0, 2.0], [4.0, 4.0]])
    assert log_density("checkerboard", corners).tolist() == pytest.approx([-math.log(32)] * 4)
    assert log_density("checkerboard", torch.tensor([[1.0, 3.0], [5.0, 1.0]])).tolist() == [-math.inf] * 2


@pytest.mark.parametrize("name", MIXTURES)
def test_a_mixtures_density_is_that_of_its_points(name):
    data = PlanarMixture(name, train=4000)
    data.setup()
    values = data.log_density(data.splits["train"])
    error = values.std().item() / math.sqrt(len(values))
    assert -values.mean().item() == pytest.approx(data.entropy, abs=4 * error + 1e-3)
