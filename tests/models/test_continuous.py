"""The continuous family: one ODE, its divergence, and the two ways to train it."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import zuko
from torch import nn

import zoo
from zoo.errors import Diverged, Unsound, ZooError
from zoo.models.bijections.continuous import ContinuousFlow, Penalty, Solver
from zoo.models.core import rng
from zoo.models.core.nfe import count_nfe
from zoo.models.families.flow import Flow
from zoo.models.ffjord import FFJORD
from zoo.models.flow_matching import FlowMatching
from zoo.models.networks.unet import UNet, UNetSettings
from zoo.models.networks.vector_field import DenseField, LearnedTime, PatchField, PatchSettings

PLANE = zoo.DataSpec((2,))
TINY = zoo.DataSpec((1, 2, 2), levels=4)
FIELDS = {
    "1": lambda: DenseField(1, (8, 8)),
    "2": lambda: DenseField(2, (16, 16)),
    "3": lambda: DenseField(3, (16,)),
    "43": lambda: DenseField(43, (16,)),
    "softplus": lambda: DenseField(3, (8, 6), activation="softplus"),
    "stretched": lambda: LearnedTime(DenseField(2, (8, 8)), 1.5),
    "stretched-deep": lambda: LearnedTime(DenseField(2, (8,)), 1.5),
    "patches": lambda: PatchField((2, 4, 4), PatchSettings(hidden=(8,))),
    "patches-softplus": lambda: PatchField(
        (1, 2, 4), PatchSettings(hidden=(8,), patch=1, activation="softplus")
    ),
    "patches-odd": lambda: PatchField((1, 3, 5), PatchSettings(hidden=(8,))),
    "u-net": lambda: UNet((1, 4, 4), UNetSettings(channels=4)),
    "u-net-odd": lambda: UNet((2, 3, 2), UNetSettings(channels=4)),
}
SHAPES = {
    "1": (1,), "2": (2,), "3": (3,), "43": (43,), "softplus": (3,), "stretched": (2,), "stretched-deep": (2,),
    "patches-softplus": (1, 2, 4), "patches": (2, 4, 4), "patches-odd": (1, 3, 5),
    "u-net": (1, 4, 4), "u-net-odd": (2, 3, 2),
}  # fmt: skip


class Linear(nn.Module):
    """v = A x, whose flow is the matrix exponential."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = nn.Parameter(matrix)

    def forward(self, t, x):
        return x @ self.matrix.T


class Watch(nn.Module):
    """Records the times at which a field is called."""

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
def test_inverse_and_log_det(name):
    tolerance = 1e-7 if name.startswith("u-net") else 1e-8
    field = random_field(name, 0.05 if name.startswith("u-net") else 0.1)
    flow, x = tight(field, atol=tolerance, rtol=tolerance), batch(name, 2)
    with torch.no_grad():
        z, log_det = flow(x)
        back, log_det_back = flow.inverse(z)
    assert (z - x).abs().max() > 1e-2, "a field that moves nothing tests nothing"
    # the tolerance is of a step; the U-net's normalisation, steep at its tiny width, amplifies it on the way,
    # to about 12 times (the other fields: to 2 at most)
    error = (20 if name.startswith("u-net") else 10) * tolerance
    assert (back - x).abs().max() < error
    assert (log_det + log_det_back).abs().max() < error
    assert log_det.abs().min() > 1e-3
    # the solution's own derivative, by autograd through the solver, knows nothing of the divergence
    jacobian = torch.autograd.functional.jacobian(lambda row: flow.transport(row).flatten(), z[:1])
    truth = torch.linalg.slogdet(jacobian.view(x[0].numel(), -1))[1]
    assert abs(log_det_back[0] - truth) < 1e-5


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


@pytest.mark.parametrize("settings", [{}, {"adjoint": True}, {"method": "rk4", "steps": 7}])
@pytest.mark.parametrize("scale", [1e-3, 0.3, 3.0])
def test_field_is_never_called_outside_the_unit_interval(settings, scale):
    watch = Watch(random_field("2", scale))
    flow = tight(watch, atol=1e-4, rtol=1e-4, **settings)
    x = 100 * torch.randn(5, 2, dtype=torch.float64)  # far from zero torchdiffeq guesses a long first step
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


@pytest.mark.parametrize("trace", ["exact", "hutchinson"])
def test_adjoint_gradients_are_the_direct_ones(trace):
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
    """Of a learned embedding, so that the context is no leaf of the graph."""
    torch.manual_seed(4)
    field, embedding = DenseField(3, (8,), context=2).double(), torch.randn(3, 2, dtype=torch.float64)
    x = torch.randn(3, 3, dtype=torch.float64)

    def gradient(adjoint):
        flow = tight(field, train_trace="exact", adjoint=adjoint, atol=1e-9, rtol=1e-9).train()
        learned = embedding.clone().requires_grad_()
        found = getattr(flow, direction)(x, learned.tanh())
        parts = [found] if direction == "invert" else [found[0].square(), found[1]]
        return torch.autograd.grad(sum(part.sum() for part in parts), learned)[0]

    direct = gradient(False)
    assert direct.norm() > 0.1
    torch.testing.assert_close(gradient(True), direct, rtol=1e-5, atol=1e-6)


def test_gradients_of_the_log_det_are_those_of_differences():
    matrix = 0.3 * torch.randn(2, 2, dtype=torch.float64)
    field = Linear(matrix)
    flow = tight(field, train_trace="exact").train()
    flow(torch.randn(1, 2, dtype=torch.float64))[1].sum().backward()
    torch.testing.assert_close(field.matrix.grad, torch.eye(2, dtype=torch.float64))


def perturbed(model, scale=0.2):
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model.double().eval()


@pytest.mark.parametrize("kind", [FFJORD, FlowMatching])
def test_density_on_the_plane_integrates_to_one(kind):
    model = perturbed(kind(PLANE, hidden=(16, 16)))
    axis = torch.linspace(-10, 10, 101, dtype=torch.float64)
    with torch.no_grad():
        mass = model.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * (axis[1] - axis[0]) ** 2
    assert mass.item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("kind", [FFJORD, FlowMatching])
@pytest.mark.parametrize("spec", [PLANE, TINY, zoo.DataSpec((1, 8, 8), levels=17)], ids=["2", "2x2", "8x8"])
def test_log_prob_is_a_function_of_the_row(kind, spec):
    model = perturbed(kind(spec, hidden=(16, 16)), 0.05)
    x = torch.randn(5, 2) if spec.levels is None else torch.randint(spec.levels, (5, *spec.shape))
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
def test_images_of_every_shape(kind, shape):
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


class Optimal(nn.Module):
    """E[e - x | x_t] for x ~ N(0, s^2): x_t (t - (1-t) s^2) / ((1-t)^2 s^2 + t^2), times a factor."""

    def __init__(self, s, factor=1.0):
        super().__init__()
        self.s, self.factor = s, nn.Parameter(torch.tensor(factor, dtype=torch.float64))

    def forward(self, t, x):
        t = t.reshape(-1, 1)
        variance = ((1 - t) * self.s) ** 2 + t**2
        return self.factor * x * (t - (1 - t) * self.s**2) / variance


def test_the_optimal_velocity_minimises_the_matching_loss_and_has_the_density_of_the_data():
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


def test_matching_learns_in_either_coupling_and_transport_straightens():
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
    # paths that do not cross leave less for the regression to average over
    assert losses["minibatch_ot"] < 0.6 * losses["independent"]


class Broken(nn.Module):
    """A field that explodes in finite time, x' = 9 x^2, or is not a number, or is too rough to follow."""

    def __init__(self, how):
        super().__init__()
        self.how, self.weight = how, nn.Parameter(torch.ones(()))

    def forward(self, t, x):
        if self.how == "explodes":
            return 9 * self.weight * x.square()
        if self.how == "nan":
            return x * self.weight * math.nan
        return self.weight * torch.sin(1e6 * (x + t)) * 1e3


@pytest.mark.parametrize("solver", ["dopri5", "rk4"])
@pytest.mark.parametrize("how", ["explodes", "nan", "rough"])
def test_a_solve_that_fails_is_one_sentence(how, solver, monkeypatch):
    if (how, solver) == ("rough", "rk4"):
        return  # a fixed-step solver cannot notice
    monkeypatch.setattr("zoo.models.bijections.continuous.MOST_STEPS", 50)
    flow = ContinuousFlow(Broken(how), Solver(method=solver, steps=40))
    x = torch.ones(2, 3)
    for solve in (flow.train(), flow.inverse) if how == "nan" else (flow.train(),):
        with pytest.raises(Diverged, match=r"^The ODE[^.\n]*; lower training\.lr\.$"):
            solve(x)
    with pytest.raises(Unsound, match=r"^The ODE[^\n]*loosen") as caught, torch.no_grad():
        flow.eval()(x)
    assert not isinstance(caught.value, Diverged)


def test_settings_that_make_no_sense_are_refused():
    for settings in ({"method": "magic"}, {"train_trace": "none"}, {"steps": 0}, {"atol": 0.0}):
        with pytest.raises(ZooError, match=next(iter(settings))):
            Solver(**settings)
    for settings in ({"flows": 0}, {"scales": 0}, {"activation": "relu"}):
        with pytest.raises(ZooError, match="model"):
            FFJORD(PLANE, **settings)
    with pytest.raises(ZooError, match="coupling"):
        FlowMatching(PLANE, coupling="random")


@pytest.mark.parametrize("activation", ["tanh", "softplus"])
@pytest.mark.parametrize("context", [0, 3])
def test_the_divergence_in_closed_form_is_autograds(context, activation):
    torch.manual_seed(0)
    field = LearnedTime(DenseField(5, (7, 6), context=context, activation=activation), 2.0).double()
    x, t = torch.randn(4, 5, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)
    given = (torch.randn(4, context, dtype=torch.float64),) if context else ()
    velocity, trace = field.divergence(t, x, *given)
    torch.testing.assert_close(velocity, field(t, x, *given), rtol=0, atol=1e-14)
    for i in range(4):
        one = [c[i : i + 1] for c in given]
        jacobian = torch.autograd.functional.jacobian(lambda v, one=one: field(t, v[None], *one)[0], x[i])
        assert abs(jacobian.trace() - trace[i]) < 1e-12
    assert ContinuousFlow(field).trace(10**6, training=True) == "exact"


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
def test_penalties_are_those_of_a_linear_field_and_leave_evaluation_be(adjoint, probe):
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
def test_the_time_is_learned(adjoint):
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


@pytest.mark.parametrize(
    ("shape", "settings", "dims"),
    [
        ((2,), {"flows": 3}, [2, 2, 2]),
        ((1, 4, 4), {"scales": 3}, [16, 16, 8, 8, 4]),  # half of 4x2x2 leaves, then half of 8x1x1
        ((1, 4, 4), {"scales": 2, "flows": 2, "patch": 1}, [16] * 4 + [8] * 2),
        ((1, 6, 2), {"scales": 9}, [12, 12, 6]),
        ((1, 3, 5), {"scales": 2}, [15]),
        ((1, 3, 4), {"flows": 2}, [12, 12]),
    ],
    ids=str,
)
def test_flows_in_a_row_and_scales(shape, settings, dims):
    """Every ODE sees its part; the whole inverts and has autograd's log-determinant."""
    spec = zoo.DataSpec(shape)
    if len(shape) == 3:
        spec = zoo.DataSpec(shape, levels=4, classes=3)
        settings = settings | {"conditional": True}
    model = perturbed(
        FFJORD(
            spec,
            hidden=(8, 8),
            channels=(8,),
            solver={"method": "rk4", "steps": 5, "exact_dim": 64},
            learn_time=True,
            **settings,
        ),
        0.1,
    )
    seen = []
    for ode in model.odes:
        ode.register_forward_hook(lambda _, given, __: seen.append(given[0][0].numel()))
    x = (
        torch.randn(2, *shape)
        if spec.levels is None
        else torch.randint(4, (2, *shape)) + torch.rand(2, *shape)
    )
    x, context = x.double(), None if spec.levels is None else model.one_hot(torch.tensor([0, 2]), 2)
    with torch.no_grad():
        z, log_det = model.transform(x, context)
        back, log_det_back = model.transform.inverse(z, context)
        assert seen == dims
        assert z.shape == (2, *model.base.shape)
        torch.testing.assert_close(model.transform.invert(z, context), back, rtol=0, atol=1e-5)
        assert model.likelihood_details()["trace"] == "exact"
    torch.testing.assert_close(back, x, rtol=0, atol=1e-5)
    torch.testing.assert_close(log_det_back, -log_det, rtol=0, atol=1e-4)
    row = None if context is None else context[:1]
    jacobian = torch.autograd.functional.jacobian(
        lambda latents: model.transform.invert(latents, row).flatten(), z[:1]
    )
    truth = torch.linalg.slogdet(jacobian.view(spec.dim, spec.dim))[1]
    assert abs(log_det_back[0] - truth) < 1e-4
    spec.check(model.sample(2, seed=0))


def test_half_of_the_channels_leave_as_they_are_and_every_scale_learns():
    model = FFJORD(zoo.DataSpec((1, 4, 4), levels=4), channels=(8,), scales=2)
    with torch.no_grad():
        for ode in model.odes:
            for parameter in ode.parameters():
                parameter.zero_()
    x = 4 * torch.rand(3, 1, 4, 4)
    z, _ = model.transform(x)
    squeezed = nn.functional.pixel_unshuffle(model.before(x)[0], 2)
    torch.testing.assert_close(z, torch.cat([squeezed[:, 2:].flatten(1), squeezed[:, :2].flatten(1)], 1))
    model = FFJORD(zoo.DataSpec((1, 4, 4), levels=4), channels=(8,), scales=2, flows=2, learn_time=True)
    model.train().log_prob(torch.randint(4, (3, 1, 4, 4))).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def dense_size(dim, *hidden):
    widths = [dim, *hidden, dim]
    return sum(a * b + 4 * b for a, b in itertools.pairwise(widths)) + 1  # and the time


PUBLISHED = {
    "toy": ((2,), 1, dense_size(2, 64, 64, 64)),
    "power": ((6,), 5, 5 * dense_size(6, 60, 60, 60)),
    "gas": ((8,), 5, 5 * dense_size(8, 160, 160, 160)),
    "hepmass": ((21,), 10, 10 * dense_size(21, 210, 210)),
    "miniboone": ((43,), 1, dense_size(43, 860, 860)),
    "bsds300": ((63,), 2, 2 * dense_size(63, 1260, 1260, 1260)),
    "mnist": ((1, 28, 28), 4 + 4 + 2, None),
    "cifar10": ((3, 32, 32), 4 + 4 + 4 + 2, None),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_build(name):
    shape, odes, size = PUBLISHED[name]
    with torch.device("meta"):
        model = zoo.build(
            f"published/ffjord_{name}", zoo.DataSpec(shape, levels=256 if len(shape) == 3 else None)
        )
    assert len(model.odes) == odes
    if size is not None:
        assert sum(p.numel() for p in model.parameters()) == size
        assert model.likelihood_details()["trace"] == "exact"
    else:
        fields = [ode.field.field for ode in model.odes]
        assert {field.fold for field in fields} == {(1, 1)}
        assert [layer.layer.out_channels for layer in fields[0].layers] == [64, 64, 64, shape[0]]


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


def test_autocast_changes_nothing():
    model, x = FFJORD(PLANE, hidden=(8, 8)).eval(), torch.randn(3, 2)
    with torch.no_grad():
        plain = model.log_prob(x)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(model.log_prob(x), plain)
