"""Wasserstein distances by assignment, and the energy of paths against what optimal transport would cost."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import zoo
from zoo.errors import ZooError
from zoo.evaluation.context import Context
from zoo.evaluation.metrics import measure, wasserstein2
from zoo.evaluation.settings import Settings
from zoo.evaluation.transport import squared_wasserstein
from zoo.models.core import rng
from zoo.models.ffjord import FFJORD

PLANE = zoo.DataSpec((2,))


def test_the_squared_distance_is_the_least_over_all_pairings():
    x, y = torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(0))
    least = min(
        sum(float((x[i] - y[j]).square().sum()) for i, j in enumerate(order)) / 5
        for order in itertools.permutations(range(5))
    )
    assert squared_wasserstein(x, y) == pytest.approx(least)
    with pytest.raises(ZooError, match="5 and 4"):
        squared_wasserstein(x, y[:4])


def test_the_distance_of_normals_is_their_shift():
    """W2 between N(0, I) and N(d, I) is |d|; of two samples it is a little more."""
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, 600, 2, generator=generator)
    floor = math.sqrt(squared_wasserstein(x, y))
    assert 0 < floor < 0.35
    assert math.sqrt(squared_wasserstein(x, y + 6)) == pytest.approx(6 * math.sqrt(2), abs=0.2)


def context(model, samples, test, **settings):
    values = Settings.of({"samples": 60, "pairwise_examples": 200} | settings)
    splits = {"train": test, "val": test + 0.01, "test": test}
    return Context(samples, splits, PLANE, values, model=model)


class Shift(torch.nn.Module):
    """The field of a constant velocity, from the data to the source."""

    def __init__(self, velocity):
        super().__init__()
        self.velocity = torch.nn.Parameter(torch.tensor(velocity))

    def forward(self, t, x, context=None):
        return self.velocity.expand_as(x)


@pytest.mark.parametrize("method", ["euler", "dopri5"])
def test_the_energy_of_straight_paths_is_their_squared_length(method):
    model = zoo.build("flow_matching", PLANE, solver={"method": method, "steps": 7}).eval()
    model.ode.field = Shift([3.0, -4.0])
    with rng.keyed(rng.keys(0, count=50)):
        starts, energy = model.path_energy(50)
    torch.testing.assert_close(energy, torch.full((50,), 25.0))
    ends = starts - torch.tensor([3.0, -4.0])  # a shift is optimal transport: its cost is the distance
    metric = measure(context(model, ends, ends))["normalised_path_energy"]
    assert metric.details["energy"] == pytest.approx(25.0)
    assert metric.value == pytest.approx(abs(25 - metric.details["squared_wasserstein"]) / 25, rel=0.2)


def test_a_detour_costs_more_than_transport():
    """A rotation by pi maps N(0, I) to itself: W2 is zero, and the path energy E (pi |x|)^2 = 2 pi^2."""

    class Rotation(torch.nn.Module):
        def forward(self, t, x, context=None):
            return math.pi * torch.stack([-x[:, 1], x[:, 0]], 1)

    model = zoo.build("flow_matching", PLANE, solver={"rtol": 1e-6, "atol": 1e-6}).eval()
    model.ode.field = Rotation()
    with rng.keyed(rng.keys(0, count=4000)):
        starts, energy = model.path_energy(4000)
    torch.testing.assert_close(energy, math.pi**2 * starts.square().sum(1), rtol=1e-3, atol=1e-3)


def test_an_assignment_has_no_more_points_than_take_seconds(monkeypatch):
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(2))
    monkeypatch.setattr(wasserstein2, "LARGEST", 20)
    metrics = measure(context(None, x + 1, x))
    assert (metrics["wasserstein2"].n, metrics["energy_distance"].n) == (20, 60)


def test_the_plane_alone_has_a_wasserstein_distance_with_its_floor():
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(2))
    metric = measure(context(None, x + 1, x))["wasserstein2"]
    assert metric.value == pytest.approx(math.sqrt(2), abs=1e-5)
    generator = torch.Generator().manual_seed(5)
    draws = [(x + 0.01)[torch.randint(60, (60,), generator=generator)] for _ in range(30)]
    distances = [math.sqrt(squared_wasserstein(draw, x)) for draw in draws]
    assert metric.details["floor"] == pytest.approx(sum(distances) / 30, rel=0.2)
    assert metric.details["floor_split"] == "val"
    space = zoo.DataSpec((3,))
    splits = {"train": torch.randn(9, 3), "test": torch.randn(9, 3)}
    assert "wasserstein2" not in measure(Context(torch.randn(9, 3), splits, space))


def test_several_flows_in_a_row_have_a_reason_instead_of_an_energy():
    model = FFJORD(PLANE, flows=2, hidden=[4]).eval()
    metric = measure(context(model, torch.randn(20, 2), torch.randn(20, 2)))["normalised_path_energy"]
    assert metric.value is None
    assert "one flow" in metric.reason


def test_the_parts_of_a_bound_are_means_over_the_whole_test_set():
    spec = zoo.DataSpec((6,), levels=2)
    torch.manual_seed(0)
    model = zoo.build("vae_dense", spec, latent_dim=2, encoder=[5], decoder=[4], importance_samples=8).eval()
    x = torch.randint(2, (30, 6), generator=torch.Generator().manual_seed(0))
    settings = Settings.of({"samples": 9, "batch_size": 7})
    metrics = measure(Context(model.sample(9, seed=0), {"train": x, "test": x}, spec, settings, model=model))
    reconstruction, kl = model.bound_parts(x)
    assert metrics["reconstruction"].value == pytest.approx(reconstruction.mean().item(), abs=1e-5)
    assert metrics["kl_to_prior"].value == pytest.approx(kl.mean().item(), abs=1e-5)
    assert metrics["elbo"].value == pytest.approx((reconstruction - kl).mean().item(), abs=1e-5)
    assert metrics["elbo"].n == 30
    assert metrics["elbo"].standard_error == pytest.approx(
        (reconstruction - kl).std().item() / math.sqrt(30), rel=1e-4
    )
    assert "elbo" not in measure(Context(x[:9].float(), {"train": x, "test": x}, spec, settings))
