"""Tests of flow matching: couplings, learning, labels, and the comparison with FFJORD."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

import zoo
from zoo import factory
from zoo.data.planar_pairs import bridge_moons
from zoo.errors import ZooError
from zoo.models.core import rng
from zoo.models.core.nfe import count_nfe
from zoo.models.ffjord import FFJORD
from zoo.models.flow_matching import FlowMatching, assignment
from zoo.sweep.plan import plan_sweep
from zoo.training.matching import Matching

PLANE = zoo.DataSpec((2,))


def test_assignment_has_the_least_cost_of_all_permutations():
    x, e = torch.randn(2, 6, 3)
    cost = torch.cdist(x, e).square()
    best = min(
        itertools.permutations(range(6)), key=lambda p: sum(cost[i, j].item() for i, j in enumerate(p))
    )
    assert tuple(assignment(x, e).tolist()) == best
    many_x, many_e = torch.randn(2, 128, 3)
    paired = (many_x - many_e[assignment(many_x, many_e)]).square().sum()
    assert paired < 0.7 * (many_x - many_e).square().sum()


def test_minibatch_ot_with_a_divided_batch_is_an_error():
    model = zoo.build("flow_matching", PLANE, coupling="minibatch_ot")
    Matching(model, updates=1, batch_size=4).setup("fit")
    with pytest.raises(ZooError, match="accumulate=1"):
        Matching(model, updates=1, batch_size=4, accumulate=2).setup("fit")


def test_conditional_matching_learns_the_data_of_each_label():
    """Label 0 is black, label 1 is white: samples and density depend on the label."""
    spec = zoo.DataSpec((1, 2, 2), levels=4, classes=2)
    torch.manual_seed(0)
    model = FlowMatching(
        spec, conditional=True, field="patch", patch={"hidden": [16]}, pixels={"preprocessing": "centre"},
        solver={"method": "rk4", "steps": 8},
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(150):
        y = torch.randint(2, (64,))
        x = 3 * y[:, None, None, None].expand(64, 1, 2, 2)
        loss = model.matching_loss(x, y=y).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    y = torch.tensor([0, 1] * 20)
    samples = model.sample(40, y=y, seed=0).flatten(1).mean(1)
    assert samples[y == 0].mean() < 0.8
    assert samples[y == 1].mean() > 2.2
    x = 3 * y[:, None, None, None].expand(40, 1, 2, 2)
    with torch.no_grad():
        assert (model.log_prob(x, y) > model.log_prob(x, 1 - y)).all()
    with pytest.raises(ZooError, match="independent"):
        FlowMatching(spec, conditional=True, coupling="minibatch_ot")


def test_the_sweep_against_ffjord_trains_the_same_network():
    """On each data set both have weights of the same names and shapes, averaging and seconds."""
    data_specs = {"digits": zoo.DataSpec((1, 8, 8), levels=17), "8gaussians": zoo.DataSpec((2,))}
    for name, spec in data_specs.items():
        fields, training = [], []
        for job in plan_sweep("ffjord_vs_matching", [f"data={name}", "seed=0"], None).jobs:
            config = job.identity.config
            fields.append(factory.instantiate(config["model"], spec).ode.field)
            training.append({k: config["training"][k] for k in ("max_seconds", "batch_size", "ema", "lr")})
        first, second = ({k: v.shape for k, v in field.state_dict().items()} for field in fields)
        assert first == second
        assert training[0] == training[1]


def test_matching_beats_ffjord_at_equal_numbers_of_evaluations():
    """Both train the same field on 8gaussians, from the same weights, with 500 network evaluations.

    Unlike seconds, this budget does not depend on the machine. It favours FFJORD, whose evaluations include a
    trace; backward passes are not counted for either.
    """
    rows = torch.Generator().manual_seed(0)

    def points(n):
        angle = torch.randint(8, (n,), generator=rows) * (math.pi / 4)
        return torch.stack([angle.cos(), angle.sin()], 1) * 2 + 0.2 * torch.randn(n, 2, generator=rows)

    nll, updates, fields, test = {}, {}, [], points(300)
    for kind in (FlowMatching, FFJORD):
        torch.manual_seed(0)
        rows.manual_seed(1)
        model = kind(PLANE, hidden=(64, 64), solver={"atol": 1e-4, "rtol": 1e-4}).train()
        fields.append({name: p.clone() for name, p in model.ode.field.named_parameters()})
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        updates[kind] = 0
        with count_nfe() as counter:
            while counter.count < 500:
                x = points(128)
                loss = model.matching_loss(x) if kind is FlowMatching else -model.log_prob(x)
                optimizer.zero_grad()
                loss.mean().backward()
                optimizer.step()
                updates[kind] += 1
        with torch.no_grad():
            nll[kind] = -model.eval().log_prob(test).mean().item()
    assert fields[0].keys() == fields[1].keys()
    assert all(torch.equal(p, fields[1][name]) for name, p in fields[0].items())
    assert updates[FlowMatching] == 500 > 5 * updates[FFJORD]
    assert nll[FlowMatching] < nll[FFJORD] - 0.4, (nll, updates)  # with larger budgets the difference shrinks


class Optimal(nn.Module):
    """E[e - x | x_t] for x ~ N(0, s^2): x_t (t - (1-t) s^2) / ((1-t)^2 s^2 + t^2), times a factor."""

    def __init__(self, s, factor=1.0):
        super().__init__()
        self.s, self.factor = s, nn.Parameter(torch.tensor(factor, dtype=torch.float64))

    def forward(self, t, x):
        t = t.reshape(-1, 1)
        variance = ((1 - t) * self.s) ** 2 + t**2
        return self.factor * x * (t - (1 - t) * self.s**2) / variance


def test_the_optimal_velocity_has_the_least_loss_and_the_density_of_the_data():
    model, s = FlowMatching(PLANE, solver={"atol": 1e-7, "rtol": 1e-7}).eval(), 0.5
    x = s * torch.randn(4000, 2, dtype=torch.float64)
    losses = {}
    for factor in (0.7, 1.0, 1.3):
        model.ode.field = Optimal(s, factor)
        with rng.keyed(rng.keys(0, count=len(x))):
            loss = model.matching_loss(x)
        assert loss.shape == (4000,)
        losses[factor] = loss.mean().item()
    assert losses[1.0] < min(losses[0.7], losses[1.3]) - 0.02
    model.ode.field = Optimal(s)
    truth = torch.distributions.Normal(0.0, s).log_prob(x[:50]).sum(1)
    torch.testing.assert_close(model.log_prob(x[:50]), truth, rtol=0, atol=1e-5)
    samples = model.double().sample(2000, seed=0)
    assert samples.std().item() == pytest.approx(s, rel=0.05)


def test_both_couplings_learn_and_optimal_transport_has_the_smaller_loss():
    losses = {}
    data = torch.tensor([[2.0, 0.0], [-2.0, 0.0]])[torch.randint(2, (2000,))] + 0.2 * torch.randn(2000, 2)
    for coupling in ("independent", "minibatch_ot"):
        torch.manual_seed(0)
        model = FlowMatching(PLANE, coupling=coupling, hidden=(32, 32))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        history = []
        for _ in range(150):
            loss = model.matching_loss(data[torch.randint(2000, (128,))]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            history.append(loss.item())
        losses[coupling] = sum(history[-30:]) / 30
        assert losses[coupling] < 0.8 * history[0]
    # paths that do not cross have a smaller conditional variance
    assert losses["minibatch_ot"] < 0.6 * losses["independent"]


class Recorded(nn.Module):
    """A field that keeps what it is given and returns zeros."""

    def forward(self, t, x, context=None):
        self.t, self.x = t, x
        return torch.zeros_like(x)


def target_of(**settings):
    """Return the data, the noise, the times and points of a loss, and the loss times D."""
    model = zoo.build("flow_matching", PLANE, **settings).double().train()
    model.ode.field = Recorded()
    x = torch.randn(64, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with rng.keyed(rng.keys(0, count=64)):
        e = model.base.sample(64)
    # the model's dtype is that of its weights
    model.register_parameter("weight", nn.Parameter(torch.zeros(1, dtype=torch.float64)))
    with rng.keyed(rng.keys(0, count=64)):
        loss = 2 * model.matching_loss(x)
    t = model.ode.field.t[:, None]
    return x, e, t, model.ode.field.x, loss


def test_the_gaussian_path_is_the_one_of_lipman_et_al():
    """In their time s = 1 - t the mean is s x, the deviation 1 - (1 - sigma) s (eq. 20-22)."""
    x, e, t, point, loss = target_of(path="gaussian", sigma=0.1)
    deviation = 1 - 0.9 * (1 - t)
    torch.testing.assert_close(point, (1 - t) * x + deviation * e)
    velocity = -(x - 0.9 * point) / deviation  # towards the source
    torch.testing.assert_close(loss, velocity.square().sum(1))


def test_the_straight_path_has_noise_of_a_constant_deviation():
    x, e, t, point, loss = target_of(sigma=0.1)
    torch.testing.assert_close(loss, (e - x).square().sum(1))
    noise = (point - (1 - t) * x - t * e) / 0.1
    assert 0.8 < noise.std().item() < 1.2
    assert noise.abs().max() < 5
    x, e, t, point, loss = target_of()
    torch.testing.assert_close(point, (1 - t) * x + t * e)


def test_pairs_drawn_from_the_plan_are_pairs_of_the_plan_and_some_repeat():
    x, e, *_, loss = target_of(coupling="minibatch_ot", resample=True)
    partner = assignment(x, e)
    shifts = (e[partner] - x).square().sum(1)
    result = (loss[:, None] - shifts[None, :]).abs().min(1)
    assert result.values.max() < 1e-9
    assert 30 < len(result.indices.unique()) < 60, "about 1 - 1/e of the pairs are drawn"
    x, e, *_, loss = target_of(coupling="minibatch_ot")
    torch.testing.assert_close(loss, shifts)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"resample": True}, "resample"),
        ({"path": "gaussian", "source": "moons"}, "path"),
        ({"path": "gaussian", "sigma": 1.0}, "sigma"),
        ({"sigma": -0.1}, "sigma"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(settings, name):
    with pytest.raises(ZooError, match=rf"model\.{name}"):
        zoo.build("flow_matching", PLANE, **settings)


def test_the_source_of_moons_is_the_one_of_the_data_module():
    model = zoo.build("flow_matching", PLANE, source="moons").eval()
    drawn = model.base.sample(20_000)
    data = torch.as_tensor(bridge_moons(20_000, np.random.default_rng(0)), dtype=torch.float32)
    torch.testing.assert_close(drawn.mean(0), data.mean(0), atol=0.3, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(data.T), atol=1.5, rtol=0.03)
    axis = torch.linspace(-28, 30, 150)
    mass = model.base.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * (axis[1] - axis[0]) ** 2
    assert mass.item() == pytest.approx(1, abs=1e-3)
    with pytest.raises(ZooError, match="plane"):
        zoo.build("flow_matching", zoo.DataSpec((3,)), source="moons")


def test_the_selu_field_takes_the_time_as_an_input():
    model = zoo.build("flow_matching", PLANE, dense="selu", hidden=[4])
    first, last = model.ode.field.layers[0], model.ode.field.layers[2]
    x, t = torch.randn(3, 2), torch.tensor([0.1, 0.5, 0.9])
    expected = last(torch.selu(first(torch.cat([t[:, None], x], 1))))
    torch.testing.assert_close(model.ode.field(t, x), expected)
    same = torch.full((3,), 0.1)
    torch.testing.assert_close(model.ode.field(t[0], x), model.ode.field(same, x))
