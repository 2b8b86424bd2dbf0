"""Tests of FFJORD and flow matching: densities, shapes, details and the straightness of paths."""

from __future__ import annotations

import pytest
import torch
from perturb import perturbed
from torch import nn

import zoo
from zoo.errors import ZooError
from zoo.models.bijections.continuous import Solver
from zoo.models.core import rng
from zoo.models.ffjord import FFJORD
from zoo.models.flow_matching import FlowMatching

PLANE = zoo.DataSpec((2,))


TINY = zoo.DataSpec((1, 2, 2), levels=4)


@pytest.mark.parametrize("kind", [FFJORD, FlowMatching])
def test_density_on_the_plane_integrates_to_one(kind):
    model = perturbed(kind(PLANE, hidden=(16, 16)))
    axis = torch.linspace(-10, 10, 101, dtype=torch.float64)
    with torch.no_grad():
        mass = model.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * (axis[1] - axis[0]) ** 2
    assert mass.item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("kind", [FFJORD, FlowMatching])
@pytest.mark.parametrize("spec", [PLANE, TINY, zoo.DataSpec((1, 8, 8), levels=17)], ids=["2", "2x2", "8x8"])
def test_log_prob_of_a_row_is_independent_of_its_batch(kind, spec):
    model = perturbed(kind(spec, hidden=(16, 16)), 0.05)
    x = torch.randn(3, 2) if spec.levels is None else torch.randint(spec.levels, (3, *spec.shape))
    with torch.no_grad():
        together = model.log_prob(x)
        assert torch.equal(together, model.log_prob(x))
        alone = torch.cat([model.log_prob(row[None]) for row in x])
    torch.testing.assert_close(together, alone, rtol=3e-5, atol=1e-3)
    with torch.inference_mode():
        torch.testing.assert_close(model.log_prob(x), together)
    assert model.log_prob(x[:0]).shape == (0,)


@pytest.mark.parametrize("kind", [FFJORD, FlowMatching])
@pytest.mark.parametrize(
    "shape", [(1, 2, 2), (1, 28, 28), (3, 32, 32), (1, 5, 7), (1, 1, 1)], ids=lambda s: "x".join(map(str, s))
)
def test_images_of_every_shape_are_sampled_and_scored(kind, shape):
    spec = zoo.DataSpec(shape, levels=256)
    model = kind(spec, solver={"method": "euler", "steps": 2})
    x = torch.randint(256, (2, *shape))
    loss = model.matching_loss(x) if kind is FlowMatching else -model.log_prob(x)
    assert loss.shape == (2,)
    loss.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    spec.check(model.sample(2, seed=0))


def test_details_name_solver_tolerance_and_trace():
    details = FFJORD(zoo.DataSpec((1, 8, 8), levels=17)).train().likelihood_details()
    assert details == {
        "dequantisation": "uniform", "solver": "dopri5", "atol": 1e-5, "rtol": 1e-5,
        "trace": "hutchinson, 1 rademacher probe",
    }  # fmt: skip
    details = FlowMatching(PLANE, solver={"method": "rk4", "steps": 9}).likelihood_details()
    assert details == {"solver": "rk4", "steps": 9, "trace": "exact"}


def test_invalid_settings_are_an_error():
    for settings in ({"method": "magic"}, {"train_trace": "none"}, {"steps": 0}, {"atol": 0.0}):
        with pytest.raises(ZooError, match=next(iter(settings))):
            Solver(**settings)
    for settings in ({"flows": 0}, {"scales": 0}, {"activation": "relu"}):
        with pytest.raises(ZooError, match="model"):
            FFJORD(PLANE, **settings)
    with pytest.raises(ZooError, match="coupling"):
        FlowMatching(PLANE, coupling="random")


def test_autocast_changes_nothing():
    model, x = FFJORD(PLANE, hidden=(8, 8)).eval(), torch.randn(3, 2)
    with torch.no_grad():
        plain = model.log_prob(x)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(model.log_prob(x), plain)


class Straight(nn.Module):
    """The velocity of x_t = (1 - t) (m + s e) + t e, on which every path is a straight line."""

    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std = nn.Parameter(torch.tensor(mean, dtype=torch.float64)), std

    def forward(self, t, x):
        t = t.reshape(-1, 1)
        e = (x - (1 - t) * self.mean) / ((1 - t) * self.std + t)
        return e - (self.mean + self.std * e)


class Accelerating(nn.Module):
    """The field 2 t b, whose chord is b, with int |b - 2 t b|^2 dt = b^2 / 3."""

    def __init__(self, b):
        super().__init__()
        self.b = nn.Parameter(torch.tensor(b, dtype=torch.float64))

    def forward(self, t, x):
        return (2 * t.reshape(-1, 1) * self.b).expand_as(x)


def test_straightness_is_zero_on_lines_and_known_on_a_parabola():
    model = FlowMatching(PLANE, hidden=(4,), solver={"atol": 1e-8, "rtol": 1e-8}).eval()

    def straightness(field):
        model.ode.field = field
        with torch.no_grad(), rng.keyed(rng.keys(0, count=50)):
            return model.double().diagnostics(torch.zeros(50, 2))["straightness"]

    assert straightness(Straight(3.0, 0.4)).value < 1e-12
    bend = straightness(Accelerating(1.5))
    assert bend.value == pytest.approx(1.5**2 / 3, rel=0.02)  # the midpoint rule: 1 - 1/100
    assert bend.standard_error == pytest.approx(0, abs=1e-9)
