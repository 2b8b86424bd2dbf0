"""Flow matching: couplings, straightness, labels, and the U-Net it shares with diffusion."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

import zoo
from zoo import factory
from zoo.config import compose_run, to_dict
from zoo.errors import ZooError
from zoo.factory import instantiate
from zoo.models.core import rng
from zoo.models.core.nfe import count_nfe
from zoo.models.ffjord import FFJORD
from zoo.models.flow_matching import FlowMatching, assignment
from zoo.models.networks.unet import UNet, UNetSettings
from zoo.sweep.plan import plan_sweep
from zoo.training.matching import Matching

PLANE = zoo.DataSpec((2,))


def test_assignment_is_the_cheapest_of_all():
    x, e = torch.randn(2, 6, 3)
    cost = torch.cdist(x, e).square()
    best = min(
        itertools.permutations(range(6)), key=lambda p: sum(cost[i, j].item() for i, j in enumerate(p))
    )
    assert tuple(assignment(x, e).tolist()) == best
    many_x, many_e = torch.randn(2, 128, 3)
    paired = (many_x - many_e[assignment(many_x, many_e)]).square().sum()
    assert paired < 0.7 * (many_x - many_e).square().sum()


def test_minibatch_ot_needs_the_batch_in_one_piece():
    model = zoo.build("flow_matching", PLANE, coupling="minibatch_ot")
    Matching(model, updates=1, batch_size=4).setup("fit")
    with pytest.raises(ZooError, match="accumulate=1"):
        Matching(model, updates=1, batch_size=4, accumulate=2).setup("fit")


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
    """dx/dt = 2 t b: the chord is b, and int |b - 2 t b|^2 dt = b^2 / 3."""

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


def test_conditional_matching_learns_each_labels_data():
    """Label 0 is black, label 1 is white: samples follow the label, and so does the density."""
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


# The U-Net ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ddpm_cifar10", "iddpm_cifar10", "flow_matching_cifar10"])
def test_published_sizes(name):
    """Ho et al. 2020, appendix B: 35.7 million weights (35,746,307 in the authors' programs)."""
    settings = to_dict(compose_run([f"model=published/{name}", "data=cifar10"]).model)
    with torch.device("meta"):
        model = instantiate(settings, zoo.DataSpec((3, 32, 32), levels=256, classes=10))
    assert sum(p.numel() for p in model.parameters()) == 35_746_307


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 2), (3, 6, 4), (1, 5, 7), (1, 28, 28), (3, 64, 64)])
def test_u_net_takes_every_size(shape):
    net = UNet(shape, UNetSettings(channels=4, attention=(4, 14), dropout=0.1), context=3)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x, t, y = torch.randn(3, *shape), torch.tensor([0.1, 0.1, 0.7]), torch.eye(3)
    out = net.eval()(t, x, y)
    assert out.shape == x.shape
    torch.testing.assert_close(net(t[:1].squeeze(), x[:1], y[:1]), out[:1], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(net(t + 0.1, x, y), out), "time matters"
    assert not torch.allclose(net(t, x, y.flip(0)), out), "the label matters"


def test_u_net_attends_where_it_is_told():
    def attentions(**settings):
        net = UNet((1, 16, 16), UNetSettings(channels=4, **settings))
        return sum(type(module).__name__ == "_Attention" for module in net.modules())

    assert attentions() == 1, "the middle"
    assert attentions(attention=[8]) == 1 + 1 + 2
    assert attentions(attention=[8, 16]) == 1 + 2 * (1 + 2)
    for wrong in ({"channels": 3}, {"blocks": 0}, {"multipliers": []}, {"dropout": 1.0}):
        with pytest.raises(ZooError):
            UNet((1, 4, 4), UNetSettings(**wrong))


def test_time_embedding_is_ho_et_als():
    net = UNet((1, 4, 4), UNetSettings(channels=8, frequency=1000.0))
    t, steps = 0.123, 123.0  # their time counts steps
    theirs = torch.tensor([steps * math.exp(-math.log(10_000) * i / 3) for i in range(4)])
    torch.testing.assert_close(t * net.frequencies, theirs, rtol=1e-5, atol=0)


def test_the_sweep_against_ffjord_trains_the_same_network():
    """Weights of the same names and shapes on each data set, averaged alike, for the same seconds."""
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


def test_matching_makes_more_of_as_many_evaluations_than_the_likelihood():
    """The same field on 8 gaussians, started and fed alike, for 800 evaluations of the network in training.

    A budget that no clock disturbs, and in the likelihood's favour: its evaluations have a trace too, and the
    ways back of both are not counted.
    """
    rows = torch.Generator().manual_seed(0)

    def points(n):
        angle = torch.randint(8, (n,), generator=rows) * (math.pi / 4)
        return torch.stack([angle.cos(), angle.sin()], 1) * 2 + 0.2 * torch.randn(n, 2, generator=rows)

    nll, updates, fields, test = {}, {}, [], points(500)
    for kind in (FlowMatching, FFJORD):
        torch.manual_seed(0)
        rows.manual_seed(1)
        model = kind(PLANE, hidden=(64, 64), solver={"atol": 1e-4, "rtol": 1e-4}).train()
        fields.append({name: p.clone() for name, p in model.ode.field.named_parameters()})
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        updates[kind] = 0
        with count_nfe() as counter:
            while counter.count < 800:
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
    assert updates[FlowMatching] == 800 > 5 * updates[FFJORD]
    assert nll[FlowMatching] < nll[FFJORD] - 0.4, (nll, updates)  # with longer budgets the two come closer
