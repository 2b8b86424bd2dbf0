"""Tests of the planar pairs of flow matching: moments in closed form, and the peers that the paper calls."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.datasets
import torch

from zoo.data.planar_pairs import PAIRS, PlanarPair, s_curve, thin_moons
from zoo.errors import ZooError

N = 20_000


def points(name, **sizes):
    data = PlanarPair(name, **sizes)
    data.setup()
    return data


@pytest.mark.parametrize(
    ("name", "radius", "deviation"), [("normal_8gaussians", 5, 1), ("moons_8gaussians", 12, 1.5)]
)
def test_gaussians_have_the_published_radius_and_deviation(name, radius, deviation):
    x = points(name, train=N).splits["train"].double()
    assert x.mean(0).abs().max() < 4 * radius / math.sqrt(N)
    assert x.square().sum(1).mean().item() == pytest.approx(radius**2 + 2 * deviation**2, rel=0.02)
    angle = torch.atan2(x[:, 1], x[:, 0]) / (math.pi / 4)
    centre = radius * torch.stack(
        [(angle.round() * math.pi / 4).cos(), (angle.round() * math.pi / 4).sin()], 1
    )
    near = x[(angle - angle.round()).abs() < 0.5] - centre[(angle - angle.round()).abs() < 0.5]
    assert near.std().item() == pytest.approx(deviation, rel=0.05)


def test_sources_are_a_normal_or_moons_of_deviation_7():
    for name in ("normal_8gaussians", "normal_moons", "normal_scurve"):
        source = points(name, train=N).sources["train"].double()
        assert source.std().item() == pytest.approx(1, abs=0.02)
        assert (source**4).mean().item() == pytest.approx(3, abs=0.15)
    data = points("moons_8gaussians", train=N, val=1, test=1)
    everything = torch.cat([*data.sources.values()]).double()
    assert everything.mean().abs() < 1e-4
    assert everything.std().item() == pytest.approx(7, rel=1e-4)


@pytest.mark.parametrize(
    ("own", "peer"),
    [
        (thin_moons, lambda n: 2 * sklearn.datasets.make_moons(n, noise=0.05, random_state=0)[0] - [1, 0]),
        (s_curve, lambda n: 1.5 * sklearn.datasets.make_s_curve(n, noise=0.05, random_state=0)[0][:, [0, 2]]),
    ],
)
def test_moons_and_s_curve_have_the_moments_of_scikit_learns(own, peer):
    a, b = own(N, np.random.default_rng(0)), peer(N)
    for power in (1, 2, 3):
        np.testing.assert_allclose((a**power).mean(0), (b**power).mean(0), atol=0.04 * 3**power)
    np.testing.assert_allclose(np.cov(a.T), np.cov(b.T), atol=0.1)


def test_splits_are_disjoint_parts_of_one_draw_of_the_data_seed():
    data, other = points("normal_moons"), points("normal_moons", data_seed=1)
    assert {s: len(x) for s, x in data.splits.items()} == {"train": 10_000, "val": 1_000, "test": 1_000}
    assert {s: len(x) for s, x in data.sources.items()} == {"train": 10_000, "val": 1_000, "test": 1_000}
    rows = {tuple(row) for x in data.splits.values() for row in x.tolist()}
    assert len(rows) == 12_000
    assert not torch.equal(data.splits["train"], other.splits["train"])
    assert torch.equal(data.splits["train"], points("normal_moons").splits["train"])


def test_an_unknown_pair_is_named_with_the_nearest_ones():
    assert len(PAIRS) == 4
    with pytest.raises(ZooError, match="did you mean normal_moons"):
        PlanarPair("normal_moon")
