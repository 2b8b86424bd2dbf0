"""Tests of the divergence and the density grid on known densities."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from zoo.data.spec import DataSpec
from zoo.errors import Unsound
from zoo.evaluation.density import density_grid
from zoo.evaluation.likelihood import likelihood

PLANE = DataSpec((2,))
ENTROPY = 2 * 0.5 * math.log(2 * math.pi * math.e)


class Normal(nn.Module):
    family, likelihood = "flow", "exact"

    def __init__(self, scale=1.0, shift=0.0):
        super().__init__()
        self.scale, self.shift = scale, shift

    def log_prob(self, x):
        return torch.distributions.Normal(self.shift, self.scale).log_prob(x).sum(1)


def test_the_divergence_of_known_normals_is_their_kl():
    x = torch.randn(40_000, 2)
    truth = likelihood(Normal(), x, PLANE, entropy=ENTROPY)["kl"]
    assert abs(truth.value) < 4 * truth.standard_error < 0.04
    wide = likelihood(Normal(scale=2.0), x, PLANE, entropy=ENTROPY)["kl"]
    # KL(N(0, 1) || N(0, s^2)) = ln s + 1 / (2 s^2) - 1/2, in each of two dimensions
    assert wide.value == pytest.approx(2 * (math.log(2) + 1 / 8 - 1 / 2), abs=4 * wide.standard_error)
    assert wide.details["entropy"] == ENTROPY
    known = likelihood(Normal(2.0), x, PLANE, entropy=ENTROPY, log_density=Normal().log_prob)["kl"]
    assert known.value == pytest.approx(2 * (math.log(2) + 1 / 8 - 1 / 2), abs=4 * known.standard_error)
    assert known.details["nll_minus_entropy"] == pytest.approx(wide.value)
    near = Normal(scale=1.01)  # both logarithms vary together
    errors = [
        likelihood(near, x, PLANE, entropy=ENTROPY, **more)["kl"].standard_error
        for more in ({}, {"log_density": Normal().log_prob})
    ]
    assert errors[1] < errors[0] / 5
    assert "kl" not in likelihood(Normal(), x[:10], PLANE)


def test_the_grid_sums_to_one_and_its_rows_are_y():
    x = torch.randn(5_000, 2) * torch.tensor([1.0, 0.3]) + torch.tensor([5.0, 0.0])
    grid = density_grid(Normal(shift=torch.tensor([5.0, 0.0])), {"train": x}, PLANE)
    left, right, low, high = grid["extent"]
    cell = (right - left) * (high - low) / grid["density"].size
    assert grid["density"].astype(np.float64).sum() * cell == pytest.approx(1, abs=2e-3)
    assert grid["data"].astype(np.float64).sum() * cell == pytest.approx(1, abs=2e-3)
    across, up = grid["data"].sum(0), grid["data"].sum(1)
    assert (across > 0).sum() > 2 * (up > 0).sum(), "columns are x, the wide axis"


def test_only_densities_on_the_plane_have_a_grid():
    assert density_grid(Normal(), {"train": torch.randn(9, 3)}, DataSpec((3,))) is None
    gan = Normal()
    gan.likelihood = "none"
    assert density_grid(gan, {"train": torch.randn(9, 2)}, PLANE) is None


def test_a_density_that_cannot_be_computed_beyond_the_data_has_no_grid():
    class Near(Normal):
        def log_prob(self, x):
            if bool((x.abs() > 1).any()):
                raise Unsound("The ODE is lost.")
            return super().log_prob(x)

    assert density_grid(Near(), {"train": torch.tensor([[0.0, 0.0], [1.0, 1.0]])}, PLANE) is None
    assert density_grid(Near(), {"train": torch.tensor([[0.0, 0.0], [0.5, 0.5]])}, PLANE) is not None
