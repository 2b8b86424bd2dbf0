"""Tests of the diagnostics of flows: planted errors, dense Jacobians and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import zoo
from zoo.data.spec import DataSpec
from zoo.errors import Unsound
from zoo.evaluation import flows
from zoo.evaluation.likelihood import likelihood, log_probs
from zoo.evaluation.protocol import evaluate
from zoo.models.bijections.base import Bijection, zeros
from zoo.models.bijections.continuous import ContinuousFlow, Solver
from zoo.models.bijections.residual import InvertibleResidual, Series
from zoo.models.core import rng
from zoo.models.families.flow import Flow
from zoo.models.vae import VAE

POINTS = DataSpec((3,))
PIXELS = DataSpec((1, 2, 2), levels=5, classes=3)
PARTS = {"invertibility/float32", "invertibility/bfloat16", "log_det_error"}


class Planted(Bijection):
    """The bijection z = x W^T with optional errors in its inverse and log-determinant."""

    def __init__(self, weight, inverse=0.0, log_det=0.0, latents=None, raises=False):
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.under_autocast = []
        self.inverse_error, self.log_det_error, self.latents, self.raises = inverse, log_det, latents, raises

    def forward(self, x, context=None):
        wrong = self.log_det_error * (x[:, 0] > 0)  # only for some examples
        return nn.functional.linear(x, self.weight)[:, : self.latents], zeros(
            x
        ) + self.weight.det().abs().log() + wrong

    def invert(self, z, context=None):
        self.under_autocast.append(torch.is_autocast_enabled("cpu"))
        if self.raises:
            raise Unsound("The way back\nis lost.")
        x = torch.linalg.solve(self.weight, z.float().T).T
        return x + torch.tensor([0.0, self.inverse_error, 0.0])

    def inverse(self, z, context=None):
        return self.invert(z), zeros(z) - self.weight.det().abs().log()


def planted(**errors):
    return Flow(POINTS, Planted(torch.eye(3) + 0.3 * torch.randn(3, 3), **errors)).eval()


def perturbed(name, spec, **settings):
    """Return a model whose weights are far from their initial values."""
    model = zoo.build(name, spec, **settings).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter) / math.sqrt(math.prod(parameter.shape[1:])))
    return model.eval()


def examples(spec, n=20):
    return (
        torch.randn(n, *spec.shape)
        if spec.levels is None
        else torch.randint(spec.levels, (n, *spec.shape)).float()
    )


def test_an_error_planted_in_the_inverse_is_found():
    exact, wrong = (flows.report(planted(inverse=e), examples(POINTS), 0) for e in (0.0, -0.25))
    assert set(exact) == PARTS
    name = "invertibility/float32"
    assert exact[name].value < 1e-5
    assert wrong[name].value == pytest.approx(0.25, abs=1e-5)
    assert (wrong[name].unit, wrong[name].direction, wrong[name].n) == ("data units", "none", 8)
    assert wrong["log_det_error"].value < 1e-5


def test_an_error_planted_in_the_log_determinant_is_found():
    x = torch.tensor([[-1.0, 0, 0], [1.0, 2, 3], [1.0, 0, 0]])
    metric = flows.report(planted(log_det=-0.5), x, 0)["log_det_error"]
    assert metric.value == pytest.approx(0.5, abs=1e-5), "the error of the worst example counts"
    assert (metric.unit, metric.direction, metric.n) == ("nats", "none", 2)
    assert flows.report(planted(log_det=-0.5), x[:1], 0)["log_det_error"].value < 1e-5


# FFJORD's error is only the solver's tolerance, since its trace is exact here
SOUND = {"realnvp": 1e-4, "maf": 1e-4, "nsf_coupling": 1e-4, "tarflow": 1e-4, "iresnet": 1e-4, "ffjord": 3e-3}


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("name", SOUND)
def test_flows_of_zoo_have_small_errors_and_all_diagnostics(name, conditional):
    small = {"iresnet": {"blocks": 2}}.get(name, {})
    model = perturbed(name, PIXELS, conditional=conditional, **small)
    numbers = flows.report(model, examples(PIXELS), 0)
    assert all(metric.reason is None for metric in numbers.values())
    assert numbers["log_det_error"].value < SOUND[name]
    assert numbers["invertibility/float32"].value < 3e-3
    assert numbers["invertibility/float32"].unit == "levels"
    own = {"ffjord": PARTS - {"invertibility/bfloat16"}, "iresnet": PARTS | {"lipschitz"}}
    assert set(numbers) == own.get(name, PARTS)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ffjord", {"solver": {"adjoint": True}}),
        ("residual_flow", {"memory_efficient": True, "scales": 1, "blocks": 2}),
        ("realnvp", {"memory_efficient": True}),
    ],
)
def test_custom_gradients_are_bypassed_for_the_jacobian_and_restored(name, settings):
    model = perturbed(name, PIXELS, **settings)
    x = examples(PIXELS)
    before = model.log_prob(x)
    numbers = flows.report(model, x, 0)
    assert numbers["log_det_error"].value < SOUND.get(name, 1e-4)
    assert not any("forward" in vars(module) for module in model.modules())
    assert all(m.solver.adjoint for m in model.modules() if isinstance(m, ContinuousFlow))
    assert torch.equal(model.log_prob(x), before)


def test_the_inverse_runs_under_autocast_too():
    model = planted()
    flows.report(model, examples(POINTS), 0)
    assert model.transform.under_autocast == [False, True]


def test_bfloat16_has_larger_errors_than_float32():
    numbers = flows.report(planted(), examples(POINTS), 0)
    single, half = (numbers[f"invertibility/{kind}"] for kind in ("float32", "bfloat16"))
    assert half.value > 1e-3 > 100 * single.value
    assert half.details["latent_change"] > 1e-3
    pixels = DataSpec((1, 4, 4), levels=17)
    autoregressive = flows.report(perturbed("maf", pixels), examples(pixels), 0)
    assert (
        autoregressive["invertibility/bfloat16"].value > 100 * autoregressive["invertibility/float32"].value
    )
    coupling = flows.report(perturbed("realnvp", pixels), examples(pixels), 0)["invertibility/bfloat16"]
    assert coupling.details["latent_change"] > 1e-3, "even if the inverse is exact"
    residual = flows.report(perturbed("iresnet", pixels), examples(pixels), 0)["invertibility/bfloat16"]
    assert residual.details["latent_change"] == 0, "residual blocks disable autocast"


class Scaled(nn.Module):
    """The function g(x) = W x."""

    def __init__(self, weight, lipschitz=0.9):
        super().__init__()
        self.weight, self.lipschitz = nn.Parameter(weight), lipschitz

    def forward(self, x):
        return x @ self.weight.T


def test_lipschitz_constants_are_singular_values():
    weights = [torch.randn(3, 3, dtype=torch.float64) for _ in range(3)]
    weights = [(0.8 - 0.2 * i) * w / torch.linalg.matrix_norm(w, 2) for i, w in enumerate(weights)]
    weights = [weights[1], weights[0], weights[2]]
    blocks = [InvertibleResidual(Scaled(w.float(), 0.9 - 0.01 * i)) for i, w in enumerate(weights)]
    model = Flow(POINTS, zoo.models.bijections.base.Chain(blocks)).eval()
    metric = flows.report(model, examples(POINTS), 0)["lipschitz"]
    true = [float(torch.linalg.svdvals(w)[0]) for w in weights]
    assert metric.details["by_block"] == pytest.approx(true, rel=1e-3)
    assert metric.value == pytest.approx(0.8, rel=1e-3)
    assert metric.details["bound"] == 0.9


def test_the_lipschitz_constant_is_the_largest_over_the_examples():
    model = perturbed("iresnet", POINTS, hidden=[16], blocks=1)
    x = 2 * examples(POINTS, 8)
    block = next(m for m in model.modules() if isinstance(m, InvertibleResidual))
    inputs = []
    block.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    metric = flows.report(model, x, 0)["lipschitz"]
    jacobians = torch.func.vmap(torch.func.jacrev(block.g))(inputs[-1].detach())
    by_example = torch.linalg.matrix_norm(jacobians, 2)
    assert by_example.max() > 1.01 * by_example.median()
    assert metric.value == pytest.approx(float(by_example.detach().max()), rel=1e-2)
    assert metric.value <= metric.details["bound"]


def test_a_diagnostic_that_fails_has_a_reason_and_spares_the_others():
    x = examples(POINTS)
    numbers = flows.report(planted(raises=True), x, 0)
    for name in ("invertibility/float32", "invertibility/bfloat16"):
        assert (numbers[name].value, numbers[name].reason) == (None, "The way back is lost.")
    assert numbers["log_det_error"].value < 1e-5
    numbers = flows.report(planted(inverse=math.nan), x, 0)
    assert numbers["invertibility/float32"].value is None
    assert "nan" in numbers["invertibility/float32"].reason
    assert "Jacobian is not square" in flows.report(planted(latents=2), x, 0)["log_det_error"].reason


def test_large_jacobians_are_of_one_example_or_not_computed(monkeypatch):
    wide = DataSpec((200,))
    model = perturbed("realnvp", wide, layers=2).eval()
    number = flows.report(model, examples(wide, 2), 0)["log_det_error"]
    assert (number.n, number.details) == (1, {"dim": 200})
    assert 0 < number.value < 1e-2
    # A Jacobian of 2 examples has 3 rows, each of 9 products.
    monkeypatch.setitem(flows.MOST_OPERATIONS, "cpu", 3 * 2 * 2 * 9 - 1)
    assert "operations" in flows.report(planted(), examples(POINTS), 0)["log_det_error"].reason
    monkeypatch.setitem(flows.MOST_OPERATIONS, "cpu", 3 * 2 * 2 * 9)
    assert flows.report(planted(), examples(POINTS), 0)["log_det_error"].value is not None


def test_models_that_are_not_flows_have_no_report():
    x = examples(PIXELS)
    assert flows.report(VAE(PIXELS, latent_dim=2), x, 0) == {}
    assert flows.report(nn.Linear(2, 2), x, 0) == {}
    assert flows.report(perturbed("maf", PIXELS), x[:0], 0) == {}
    assert flows.estimation(perturbed("maf", PIXELS), x, torch.zeros(20), log_probs) == {}, (
        "nothing is estimated"
    )


class Linear(nn.Module):
    """The velocity field v(t, x) = A x."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = nn.Parameter(matrix)

    def forward(self, t, x, context=None):
        moved = x.flatten(1) @ self.matrix.T
        return (
            moved if context is None else moved + context @ torch.ones(context.shape[1], len(self.matrix))
        ).view_as(x)


def continuous(matrix, spec=POINTS, conditional=False, **settings):
    model = Flow(spec, ContinuousFlow(Linear(matrix), Solver(**settings)), conditional=conditional).eval()
    model.likelihood = "estimate"
    return model


def test_the_deviation_of_a_stochastic_trace_has_its_closed_form(monkeypatch):
    """The variance of e^T A e over signs e is the sum of (A_ij + A_ji)^2 over i < j."""
    monkeypatch.setattr(flows, "PROBED", 4000)
    matrix = torch.tensor([[0.3, 0.5, -0.2], [0.1, -0.4, 0.3], [0.2, 0.4, 0.2]])
    model = continuous(matrix, exact_dim=0)
    x = examples(POINTS, 4000)
    details = likelihood(model, x, POINTS)["nll"].details
    true = math.sqrt(0.6**2 + 0.0**2 + 0.7**2)
    assert details["estimator_deviation_nats"] == pytest.approx(true, rel=0.05)
    assert details["estimator_n"] == 4000
    diagonal = likelihood(continuous(torch.diag(torch.tensor([0.3, 0.1, -0.5])), exact_dim=0), x, POINTS)[
        "nll"
    ]
    assert diagonal.details["estimator_deviation_nats"] < 1e-4


@pytest.mark.parametrize("conditional", [False, True])
def test_the_deviation_excludes_the_dequantisation_noise(conditional):
    """A mixture over labels is estimated as the mixture that was scored."""
    model = continuous(0.5 * torch.randn(4, 4), PIXELS, conditional)
    x = examples(PIXELS)
    details = likelihood(model, x, PIXELS)["nll"].details
    assert details["estimator_deviation_nats"] < 1e-4, "the trace is exact"
    noisy = continuous(model.transform.field.matrix.detach(), PIXELS, conditional, exact_dim=0)
    assert likelihood(noisy, x, PIXELS)["nll"].details["estimator_deviation_nats"] > 0.1


def test_half_the_steps_change_a_linear_field_by_its_closed_form():
    """Euler's z is (1 + a/n)^n x and the trace is a at every step, so only the base's log p changes."""
    spec = DataSpec((1,))
    a, x = 0.7, examples(spec, 40)
    model = continuous(torch.tensor([[a]]), spec, method="euler", steps=8)
    details = likelihood(model, x, spec)["nll"].details
    fine, coarse = ((1 + a / n) ** n for n in (8, 4))
    change = -0.5 * (coarse**2 - fine**2) * x[: flows.PROBED].square()
    assert details["looser"] == "half the steps"
    assert details["looser_change_nats"] == pytest.approx(float(change.mean()), rel=1e-4)
    error = float(change.std()) / math.sqrt(flows.PROBED)
    assert details["looser_change_error"] == pytest.approx(error, rel=1e-4)
    assert model.transform.solver.steps == 8


def test_the_looser_tolerances_are_tenfold_and_restored_after_an_error():
    model = continuous(torch.eye(3), atol=1e-6, rtol=1e-5)
    seen = []

    def again(model, x):
        seen.append((model.transform.solver.atol, model.transform.solver.rtol))
        raise Unsound("It does not end.")

    with pytest.raises(Unsound):
        flows.estimation(model, examples(POINTS), torch.zeros(20, dtype=torch.float64), again)
    assert seen == [pytest.approx((1e-5, 1e-4))]
    assert model.transform.solver == Solver(atol=1e-6, rtol=1e-5), "restored after the error"


def test_the_error_of_a_truncated_series_is_within_its_bound():
    """For g(x) = -L x, tr(J^k) = D (-L)^k for all signs, so the bias of a truncated series equals the bound.

    Other blocks have a smaller bias."""
    rate, terms, dim = 0.8, 6, 3
    block = InvertibleResidual(
        Scaled(-rate * torch.eye(dim), rate), Series(exact_dim=0, eval_exact_dim=0, eval_terms=terms)
    )
    model = Flow(POINTS, block).eval()
    model.likelihood = "estimate"
    x = examples(POINTS)
    exact = torch.distributions.Normal(0, 1).log_prob((1 - rate) * x).sum(1) + dim * math.log(1 - rate)
    bias = (log_probs(model, x) - exact).mean()
    assert float(bias) == pytest.approx(block.bias_bound(dim), rel=1e-4)
    metric = likelihood(model, x, POINTS)["nll"]
    missed = dim * sum(rate**k / k for k in range(terms // 2 + 1, terms + 1))
    assert metric.details["looser"] == "half the terms"
    assert metric.details["looser_change_nats"] == pytest.approx(missed, rel=1e-4)
    assert block.series.eval_terms == terms
    random = torch.randn(dim, dim)
    random *= rate / torch.linalg.matrix_norm(random, 2)
    block.g.weight.data = random
    true = torch.linalg.slogdet(torch.eye(dim) + random)[1]
    with rng.keyed(rng.keys(0, count=4000)):
        result = block(torch.randn(4000, dim))[1]
    assert abs(result.mean() - true) < block.bias_bound(dim) + 4 * result.std() / math.sqrt(4000)


def test_the_report_reaches_the_record():
    splits = {split: examples(PIXELS, 40) for split in ("train", "test")}
    settings = {"samples": 20, "latency_repeats": 1, "throughput_batches": [2], "throughput_repeats": 1}
    model = perturbed(
        "residual_flow", PIXELS, series={"eval_exact_dim": 0, "exact_dim": 0}, scales=1, blocks=2
    )
    metrics = evaluate(model, splits, PIXELS, natural=False, settings=settings).metrics
    assert {*PARTS, "lipschitz"} <= set(metrics)
    assert {"estimator_deviation_nats", "looser_change_nats", "bias_bound_nats"} <= set(
        metrics["bits_per_dim"].details
    )


def test_flows_of_convolutions_have_their_log_det_checked_on_a_crop():
    spec = DataSpec((3, 16, 20), 256)
    x = torch.randint(256, (3, *spec.shape), generator=torch.Generator().manual_seed(0)).float()
    torch.manual_seed(0)
    model = zoo.build("glow", spec, steps=2).eval()
    with torch.no_grad():  # larger weights would overflow the Jacobian in float32
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    seen = []
    hook = model.transform.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    number = flows.report(model, x, 0)["log_det_error"]
    hook.remove()
    assert number.details == {"dim": 192, "crop": [3, 8, 8]}
    assert 0 < number.value < 1e-2
    crops = [points for points in seen if points.shape[2:] == (8, 8)]
    assert crops
    for crop in crops:  # the middle; dequantised pixels are rounded down
        assert torch.equal(crop.detach().floor(), x[: len(crop), :, 4:12, 6:14])
    forward = type(model.transform).forward

    def wrong(self, x, context=None):
        z, log_det = forward(self, x, context)
        return z, log_det + 0.5 * (self is model.transform)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.transform), "forward", wrong)
        assert flows.report(model, x, 0)["log_det_error"].value == pytest.approx(0.5, abs=1e-2)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("maf", {"hidden": [8], "layers": 2}),
        ("realnvp", {"width": 8, "blocks": 1}),
        ("tarflow", {"patch": 4, "width": 16, "blocks": 2, "layers": 1}),
    ],
)
def test_the_log_det_of_a_flow_of_one_size_is_checked_on_a_whole_image(name, settings):
    spec = DataSpec((1, 16, 16), 256)
    x = torch.randint(256, (2, *spec.shape), generator=torch.Generator().manual_seed(0)).float()
    model = perturbed(name, spec, **settings).eval()
    number = flows.report(model, x, 0)["log_det_error"]
    assert (number.n, number.details) == (1, {"dim": 256})
    assert 0 < number.value < 1e-2
