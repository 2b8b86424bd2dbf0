"""Samples of flows follow their densities."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from flow_tools import COUPLINGS, mean_log_prob_gaps, on_a_grid, perturbed, smooth

from zoo.data.spec import DataSpec
from zoo.models.core import rng


@pytest.mark.parametrize("name", COUPLINGS)
def test_density_on_the_plane_integrates_to_one(name):
    model = smooth(name)
    log_p, cell = on_a_grid(model)
    assert abs(log_p.exp().sum().item() * cell - 1) < 1e-3


@pytest.mark.parametrize("name", COUPLINGS)
def test_mass_of_all_small_images_is_one(name):
    """P(x) is the mean over the dequantisation noise of p(x + u); over all 256 images it sums to 1."""
    model = perturbed(name, DataSpec((1, 2, 2), levels=4), width=8)
    images = torch.tensor(list(product(range(4), repeat=4))).view(-1, 1, 2, 2)
    total = 0.0
    with torch.no_grad():
        for salt in range(0, 100, 10):  # ten draws a pass
            keys = torch.cat([rng.content_keys(images, salt + i) for i in range(10)])
            with rng.keyed(keys):
                total += model.log_prob(images.repeat(10, 1, 1, 1)).exp().sum().item() / 100
    assert abs(total - 1) < 0.04


@pytest.mark.parametrize("name", COUPLINGS)
def test_samples_follow_the_density(name):
    """The mean log-density over samples is minus the entropy; samples 5% too wide are detected."""
    model = smooth(name)
    gap, gap_of_wide_samples = mean_log_prob_gaps(model)
    assert gap < 4
    assert gap_of_wide_samples > 6


SOLVED = {
    "iresnet": {"hidden": [16, 16], "blocks": 2},
    "residual_flow": {"hidden": [16, 16], "blocks": 2, "scales": 1},
    "ffjord": {"hidden": [16, 16], "solver": {"method": "rk4", "steps": 8}},
}


@pytest.mark.parametrize("name", SOLVED)
def test_samples_of_iterative_inverses_follow_the_density(name):
    """Fixed points and ODEs compute samples and densities differently."""
    model = perturbed(name, DataSpec((2,)), amount=0.3, **SOLVED[name])
    gap, gap_of_wide_samples = mean_log_prob_gaps(model, points=100)
    assert gap < 4
    assert gap_of_wide_samples > 6


MASKED = {
    "made": (0.3, {"hidden": [16, 16]}),
    "maf": (0.3, {"hidden": [16, 16], "layers": 3, "log_scale_bound": 1.0}),
    "iaf": (0.3, {"hidden": [16, 16], "layers": 3, "log_scale_bound": 1.0}),
    # with larger weights its bins are too narrow for a grid
    "nsf_autoregressive": (0.1, {"hidden": 12, "blocks": 1, "steps": 2, "bins": 5}),
}


@pytest.mark.parametrize("name", MASKED)
def test_samples_of_masked_networks_follow_the_density(name):
    """One direction is a pass, the other one dimension at a time; mixtures and TarFlow have other tests."""
    amount, settings = MASKED[name]
    model = perturbed(name, DataSpec((2,)), amount=amount, **settings)
    gap, gap_of_wide_samples = mean_log_prob_gaps(model)
    assert gap < 4
    assert gap_of_wide_samples > 6
