"""Tests of the continuous flow against closed forms and autograd."""

from __future__ import annotations

import math

import pytest
import torch
import torchdiffeq
import zuko
from contract import jacobian_log_det
from torch import nn

import zoo
from zoo.errors import Diverged, Unsound
from zoo.models.bijections.continuous import ContinuousFlow, Penalty, Solver
from zoo.models.core import rng
from zoo.models.core.nfe import count_nfe
from zoo.models.families.flow import Flow
from zoo.models.networks.unet import UNet, UNetSettings
from zoo.models.networks.vector_field import DenseField, LearnedTime, PatchField, PatchSettings

FIELDS = {
    "1": lambda: DenseField(1, (8, 8)),
    "2": lambda: DenseField(2, (16, 16)),
    "3": lambda: DenseField(3, (16,)),
    "43": lambda: DenseField(43, (16,)),
    "softplus": lambda: DenseField(3, (8, 6), activation="softplus"),
    "learned-time": lambda: LearnedTime(DenseField(2, (8, 8)), 1.5),
    "learned-time-deep": lambda: LearnedTime(DenseField(2, (8,)), 1.5),
    "patches": lambda: PatchField((2, 4, 4), PatchSettings(hidden=(8,))),
    "patches-softplus": lambda: PatchField(
        (1, 2, 4), PatchSettings(hidden=(8,), patch=1, activation="softplus")
    ),
    "patches-odd": lambda: PatchField((1, 3, 5), PatchSettings(hidden=(8,))),
    "u-net": lambda: UNet((1, 4, 4), UNetSettings(channels=4)),
    "u-net-odd": lambda: UNet((2, 3, 2), UNetSettings(channels=4)),
}
SHAPES = {
    "1": (1,), "2": (2,), "3": (3,), "43": (43,), "softplus": (3,),
    "learned-time": (2,), "learned-time-deep": (2,),
    "patches-softplus": (1, 2, 4), "patches": (2, 4, 4), "patches-odd": (1, 3, 5),
    "u-net": (1, 4, 4), "u-net-odd": (2, 3, 2),
}  # fmt: skip


class Linear(nn.Module):
    """The field v = A x, whose flow is the matrix exponential."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = nn.Parameter(matrix)

    def forward(self, t, x):
        return x @ self.matrix.T


class Watch(nn.Module):
    """A field that records the times at which it is called."""

    def __init__(self, field):
        super().__init__()
        self.field, self.times = field, []

    def forward(self, t, x):
        self.times.append(t.item())
        return self.field(t, x)


def random_field(name, scale=0.1):
    torch.manual_seed(3)
    field = FIELDS[name]().double()
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return field


def tight(field, penalty=Penalty(), **settings):  # noqa: B008
    solver = Solver(**({"atol": 1e-8, "rtol": 1e-8, "exact_dim": 64} | settings))
    return ContinuousFlow(field, solver, penalty).eval()


def batch(name, n=3):
    return torch.randn(n, *SHAPES[name], dtype=torch.float64)


@pytest.mark.parametrize("name", FIELDS)
def test_the_flow_inverts_and_has_autograds_log_det(name):
    tolerance = 1e-7 if name.startswith("u-net") else 1e-8
    field = random_field(name, 0.05 if name.startswith("u-net") else 0.1)
    flow, x = tight(field, atol=tolerance, rtol=tolerance), batch(name, 2)
    with torch.no_grad():
        z, log_det = flow(x)
        back, log_det_back = flow.inverse(z)
    assert (z - x).abs().max() > 1e-2, "the field is not zero"
    # the tolerance is of a step; the U-net's normalisation, steep at its tiny width, amplifies it on the way,
    # to about 12 times (the other fields: to 2 at most)
    error = (20 if name.startswith("u-net") else 10) * tolerance
    assert (back - x).abs().max() < error
    assert (log_det + log_det_back).abs().max() < error
    assert log_det.abs().min() > 1e-3
    # the derivative of the solution, by autograd through the solver, does not use the divergence
    truth = jacobian_log_det(lambda rows, _: (flow.transport(rows),), z[:1])
    assert abs(log_det_back[0] - truth[0]) < 1e-5


@pytest.mark.parametrize("solver", ["dopri5", "rk4", "midpoint", "euler"])
def test_linear_field_has_the_known_solution(solver):
    matrix = 0.5 * torch.randn(3, 3, dtype=torch.float64)
    flow, x = tight(Linear(matrix), method=solver, steps=50), torch.randn(4, 3, dtype=torch.float64)
    with torch.no_grad():
        z, log_det = flow(x)
    tolerance = {"dopri5": 1e-7, "rk4": 1e-7, "midpoint": 1e-3, "euler": 0.1}[solver]
    torch.testing.assert_close(z, x @ torch.matrix_exp(matrix).T, rtol=0, atol=tolerance)
    torch.testing.assert_close(log_det, matrix.trace().detach().expand(4), rtol=0, atol=1e-7)
    if solver != "dopri5":
        assert flow.last_evaluations == 50 * {"rk4": 4, "midpoint": 2, "euler": 1}[solver]


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_eulers_steps_are_those_of_torchdiffeq(start):
    field, x = random_field("43").float(), torch.randn(4, 43)
    flow = tight(field, method="euler", steps=7).eval()
    times = torch.cat([start + (1 - 2 * start) * (torch.arange(7) / 7), torch.tensor([1 - start])])
    with torch.no_grad():
        ours = flow.path(x, (start, 1 - start))[-1]
        theirs = torchdiffeq.odeint(lambda t, x: field(t, x), x, times, method="euler")[-1]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    assert (ours - x).abs().max() > 0.1


@pytest.mark.parametrize("settings", [{}, {"adjoint": True}, {"method": "rk4", "steps": 7}])
@pytest.mark.parametrize("scale", [1e-3, 0.3, 3.0])
def test_field_is_never_called_outside_the_unit_interval(settings, scale):
    watch = Watch(random_field("2", scale))
    flow = tight(watch, atol=1e-4, rtol=1e-4, **settings)
    x = 100 * torch.randn(5, 2, dtype=torch.float64)  # far from zero torchdiffeq chooses a long first step
    for direction in (flow, flow.inverse):
        with count_nfe() as counter:
            (direction(x)[0].sum() + direction(x)[1].sum()).backward()
        assert counter.count == len(watch.times) > 0
        assert min(watch.times) >= 0
        assert max(watch.times) <= 1
        assert min(watch.times) < 1e-12
        assert max(watch.times) > 1 - 1e-12
        watch.times.clear()


def test_hutchinson_is_unbiased_and_fixed_within_a_solve():
    field, n = random_field("patches-odd", 0.3), 1500
    x = batch("patches-odd", 1)
    exact = tight(field, atol=1e-5, rtol=1e-5)
    estimate = tight(field, atol=1e-5, rtol=1e-5, exact_dim=1)
    with torch.no_grad():
        truth = exact(x)[1].item()
        values = estimate(x.expand(n, *x.shape[1:]))[1]
        assert values.std() > 1e-3
        assert abs(values.mean().item() - truth) < 4 * values.std().item() / math.sqrt(n) + 1e-4
        keys = rng.keys(1, count=1)
        with rng.keyed(keys):
            z, log_det = estimate(x)
        with rng.keyed(keys):
            assert abs(estimate.inverse(z)[1] + log_det) < 1e-3, "the same probe cancels"


def test_a_stiff_row_is_solved_as_accurately_among_a_thousand_as_alone():
    """For v = a x^2 one row is near a pole, which an error averaged over the batch would hide."""

    class Square(nn.Module):
        def forward(self, t, x):
            return x.square()

    flow = ContinuousFlow(Square(), Solver(atol=1e-6, rtol=1e-6)).eval()
    stiff = torch.full((1, 1), 0.99, dtype=torch.float64)  # x / (1 - x): 99
    x = torch.cat([stiff, torch.zeros(1000, 1, dtype=torch.float64)])
    with torch.no_grad():
        alone, together = flow(stiff)[0], flow(x)[0][:1]
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=0)
    torch.testing.assert_close(alone, stiff / (1 - stiff), rtol=1e-4, atol=0)


@pytest.mark.parametrize("trace", ["exact", "hutchinson"])
def test_adjoint_gradients_equal_direct_gradients(trace):
    field, x = random_field("3"), batch("3")

    def gradients(adjoint):
        flow = tight(field, train_trace=trace, adjoint=adjoint, atol=1e-9, rtol=1e-9).train()
        point = x.clone().requires_grad_()
        with rng.keyed(rng.keys(0, count=3)):
            z, log_det = flow(point)
        return torch.autograd.grad((z.square().sum(1) + log_det).sum(), [point, *field.parameters()])

    for direct, adjoint in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(adjoint, direct, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("direction", ["forward", "inverse", "invert"])
def test_adjoint_gradients_reach_the_context(direction):
    """The context is a learned embedding, so it is not a leaf of the graph."""
    torch.manual_seed(4)
    field, embedding = DenseField(3, (8,), context=2).double(), torch.randn(3, 2, dtype=torch.float64)
    x = torch.randn(3, 3, dtype=torch.float64)

    def gradient(adjoint):
        flow = tight(field, train_trace="exact", adjoint=adjoint, atol=1e-9, rtol=1e-9).train()
        learned = embedding.clone().requires_grad_()
        result = getattr(flow, direction)(x, learned.tanh())
        parts = [result] if direction == "invert" else [result[0].square(), result[1]]
        return torch.autograd.grad(sum(part.sum() for part in parts), learned)[0]

    direct = gradient(False)
    assert direct.norm() > 0.1
    torch.testing.assert_close(gradient(True), direct, rtol=1e-5, atol=1e-6)


def test_gradient_of_the_log_det_of_a_linear_field_is_the_identity():
    matrix = 0.3 * torch.randn(2, 2, dtype=torch.float64)
    field = Linear(matrix)
    flow = tight(field, train_trace="exact").train()
    flow(torch.randn(1, 2, dtype=torch.float64))[1].sum().backward()
    torch.testing.assert_close(field.matrix.grad, torch.eye(2, dtype=torch.float64))


class Broken(nn.Module):
    """A field without a solution: x' = 9 x^2, which explodes in finite time, NaN, or too rough."""

    def __init__(self, how):
        super().__init__()
        self.how, self.weight = how, nn.Parameter(torch.ones(()))

    def forward(self, t, x):
        if self.how == "explodes":
            return 9 * self.weight * x.square()
        if self.how == "nan":
            return x * self.weight * math.nan
        return self.weight * torch.sin(1e6 * (x + t)) * 1e3


@pytest.mark.parametrize(
    ("how", "solver"),  # a fixed-step solver does not detect a rough field
    [("explodes", "dopri5"), ("explodes", "rk4"), ("nan", "dopri5"), ("nan", "rk4"), ("rough", "dopri5")],
)
def test_a_failed_solve_raises_an_error_of_one_sentence(how, solver, monkeypatch):
    monkeypatch.setattr("zoo.models.bijections.continuous.MOST_STEPS", 50)
    flow = ContinuousFlow(Broken(how), Solver(method=solver, steps=40))
    x = torch.ones(2, 3)
    for solve in (flow.train(), flow.inverse) if how == "nan" else (flow.train(),):
        with pytest.raises(Diverged, match=r"^The ODE[^.\n]*; lower training\.lr\.$"):
            solve(x)
    with pytest.raises(Unsound, match=r"^The ODE[^\n]*loosen") as caught, torch.no_grad():
        flow.eval()(x)
    assert not isinstance(caught.value, Diverged)


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
def test_penalties_of_a_linear_field_are_known_and_absent_in_evaluation(adjoint, probe):
    """For v = a x the path is x e^{at}: int |v|^2 = a |x|^2 (e^{2a} - 1) / 2, int |e^T J|^2 = a^2 |e|^2."""
    a, x = 0.7, torch.randn(3, 4, dtype=torch.float64)
    settings = {"adjoint": adjoint, "train_trace": "exact", "probe": probe}
    plain = tight(Linear(a * torch.eye(4, dtype=torch.float64)), **settings)
    truth = a * x.square().sum(1) * (math.exp(2 * a) - 1) / 2
    for kinetic, jacobian in ((0.5, 0.0), (0.0, 2.0)):
        flow = tight(plain.field, Penalty(kinetic=kinetic, jacobian=jacobian), **settings)
        with rng.keyed(rng.keys(0, count=3)), torch.no_grad():
            torch.testing.assert_close(flow(x)[1], plain(x)[1])
        with rng.keyed(rng.keys(0, count=3)):
            gap = 4 * a - flow.train()(x)[1]
        with rng.keyed(rng.keys(0, count=3)):
            e = rng.rademacher(x) if probe == "rademacher" else rng.normal(x)
        expected = kinetic * truth + jacobian * a**2 * e.square().sum(1)
        torch.testing.assert_close(gap.detach(), expected, rtol=1e-5, atol=1e-6)
        assert torch.autograd.grad(gap.sum(), plain.field.matrix)[0].abs().max() > 0.1


@pytest.mark.parametrize("adjoint", [False, True])
def test_learned_time_scales_the_solution_and_gets_a_gradient(adjoint):
    """The flow of v = A x over [0, T] is exp(T A), with the log-determinant T tr A."""
    matrix = 0.4 * torch.randn(3, 3, dtype=torch.float64)
    field, x = LearnedTime(Linear(matrix), 1.7).double(), torch.randn(4, 3, dtype=torch.float64)
    flow = tight(field, train_trace="exact", adjoint=adjoint).train()
    z, log_det = flow(x)
    end = field.root.detach().square()
    torch.testing.assert_close(z, x @ torch.matrix_exp(end * matrix).T, rtol=0, atol=1e-6)
    torch.testing.assert_close(log_det, (end * matrix.trace()).expand(4), rtol=0, atol=1e-6)
    (slope,) = torch.autograd.grad(log_det.sum(), field.root)
    assert slope.item() == pytest.approx(4 * 2 * field.root.item() * matrix.trace().item(), abs=1e-4)
    watch = Watch(Linear(matrix))
    tight(LearnedTime(watch, 1.7).double())(x)
    assert min(watch.times) < 1e-12
    assert max(watch.times) == pytest.approx(1.7)


def test_zuko_agrees_on_a_continuous_flow():
    torch.manual_seed(0)
    theirs = zuko.flows.CNF(3, hidden_features=(8,), activation=nn.Tanh, atol=1e-10, rtol=1e-10).double()
    transform = theirs.eval().transform
    transform.atol = transform.rtol = 1e-10

    class Field(nn.Module):
        def forward(self, t, x):
            return transform.f(t, x)

    x = torch.randn(5, 3, dtype=torch.float64)
    with torch.no_grad():
        ours, other = tight(Field(), atol=1e-9, rtol=1e-9), transform()
        for found, expected in (
            (ours(x), other.call_and_ladj(x)),
            (ours.inverse(x), other.inv.call_and_ladj(x)),
        ):
            torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-6)
            torch.testing.assert_close(found[1], expected[1], rtol=0, atol=1e-6)
        whole = Flow(zoo.DataSpec((3,)), ours, base="diagonal").double().eval().log_prob(x)
        torch.testing.assert_close(whole, theirs().log_prob(x), rtol=0, atol=1e-6)
