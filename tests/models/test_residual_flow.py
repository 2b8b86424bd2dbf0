"""Residual flows: unbiased log-determinants and gradients, converged norms, recomputed activations."""

from __future__ import annotations

import copy
import math

import normflows
import pytest
import torch
from torch import nn

import zoo
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Chain
from zoo.models.bijections.residual import InvertibleResidual, Series
from zoo.models.core import rng
from zoo.models.core.distributions import MixtureOfNormals, StandardNormal
from zoo.models.families.flow import Flow
from zoo.models.networks.lipschitz import LipschitzNetwork, LipSwish, SinCos, Spectral, SpectralNorm
from zoo.models.residual_flow import ResidualFlow

ESTIMATORS = [("truncated", "series"), ("roulette", "series"), ("roulette", "neumann")]


class Scale(nn.Module):
    """g(x) = c x, for which everything is known."""

    def __init__(self, c):
        super().__init__()
        self.c, self.lipschitz = nn.Parameter(torch.tensor(c, dtype=torch.float64)), abs(c)

    def forward(self, x):
        return self.c * x


def network(shape, train_tolerance=None, **settings):
    torch.manual_seed(2)
    g = LipschitzNetwork(shape, (8, 8), Spectral(train_tolerance=train_tolerance), **settings)
    with torch.no_grad():
        for layer in g.layers:
            layer.layer.weight.mul_(3)
    return g.double()


def points(n, *shape):
    return torch.randn(n, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


def block(g, **settings):
    return InvertibleResidual(g, Series(exact_dim=0, eval_exact_dim=0, **settings))


def test_a_truncated_series_has_its_known_bias_and_the_roulette_none():
    """For g = c x every probe gives D c^k, so only the number of terms is random."""
    c, dim, n = 0.6, 5, 20000
    x = points(n, dim)
    exact = dim * math.log1p(c)
    with torch.no_grad():
        cut = block(Scale(c), eval_terms=3).eval()(x)[1]
        kept = dim * sum((-1) ** (k + 1) * c**k / k for k in (1, 2, 3))
        torch.testing.assert_close(cut, torch.full_like(cut, kept))
        for count in ("geometric", "poisson"):
            drawn = block(Scale(c), estimator="roulette", count=count, eval_terms=2).eval()(x)[1]
            assert drawn.std() > 1e-3
            assert abs(drawn.mean().item() - exact) < 4 * drawn.std().item() / math.sqrt(n)
            assert abs(drawn.mean().item() - exact) < abs(kept - exact) / 4


@pytest.mark.parametrize(("estimator", "gradient"), ESTIMATORS[1:])
def test_training_values_and_weighted_gradients_are_unbiased(estimator, gradient):
    g, rows, repeats = network((3,), activation="lipswish"), points(2, 3), 150
    made = block(g, estimator=estimator, gradient=gradient, terms=2).train()
    weights = torch.tensor([0.0, 2.0], dtype=torch.float64)  # a first row of no weight is a peer's undoing
    jacobians = [torch.autograd.functional.jacobian(lambda v: made.g(v[None])[0], r, True) for r in rows]
    truth = torch.linalg.slogdet(torch.stack(jacobians) + torch.eye(3))[1]
    first = g.layers[0].layer.weight
    (expected,) = torch.autograd.grad((weights * truth).sum(), first)
    values, gradients = [], []
    for _ in range(repeats):  # one count of terms a pass
        log_det = made(rows.repeat(16, 1))[1].view(16, 2)
        values.append(log_det.mean(0).detach())
        gradients.append(torch.autograd.grad((weights * log_det.mean(0)).sum(), first)[0])
    for found, wanted, errors in ((values, truth.detach(), 4), (gradients, expected, 5)):
        found = torch.stack(found)
        error = found.std(0) / math.sqrt(repeats)
        assert wanted.abs().max() > 1e-2
        assert ((found.mean(0) - wanted).abs() <= errors * error + 1e-5).all()


@pytest.mark.parametrize(("estimator", "gradient"), ESTIMATORS)
def test_the_gradient_does_not_change_the_value(estimator, gradient):
    made = block(network((4,)), estimator=estimator, gradient=gradient).train()
    x = points(6, 4)
    with rng.keyed(rng.keys(1, count=6)), torch.no_grad():
        value = made(x)[1]
    with rng.keyed(rng.keys(1, count=6)):
        torch.testing.assert_close(made(x)[1], value)


def test_evaluation_belongs_to_the_example_and_training_shares_the_count():
    made, x = block(network((4,)), estimator="roulette", terms=2, eval_terms=2), points(64, 4)
    keys = rng.content_keys(x)
    with torch.no_grad():
        with rng.keyed(keys):
            together = made.eval()(x)[1]
        most = made.last_terms
        counts = set()
        for i in range(12):
            with rng.keyed(keys[i : i + 1]):
                alone = made(x[i : i + 1])[1]
            counts.add(made.last_terms)
            torch.testing.assert_close(alone[0], together[i])
        assert len(counts) > 1
        assert max(counts) <= most
        with rng.keyed(keys):
            made.train()(x)
        assert made.last_terms <= most


@pytest.mark.parametrize("shape", [(7,), (2, 4, 4), (1, 3, 5)], ids=str)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_converged_norms_keep_every_layer_below_its_bound(shape, mode):
    g = network(shape, train_tolerance=1e-3)
    getattr(g, mode)()
    g(points(2, *shape))
    for layer in g.layers:
        inside = layer.shape if layer.layer.weight.ndim == 2 else (layer.shape[0], *shape[1:])
        basis = torch.eye(math.prod(inside), dtype=torch.float64).view(-1, *inside)
        matrix = (layer(basis) - layer(torch.zeros_like(basis))).flatten(1)
        sigma = torch.linalg.matrix_norm(matrix, 2).item()
        assert 0.9 * (1 - 2e-3) <= sigma <= 0.9 * (1 + 1e-9)


def test_a_layer_of_zeros_recovers():
    layer = SpectralNorm(nn.Linear(3, 3), (3,)).train()
    for factor in (0.0, 1.0):
        with torch.no_grad():
            layer.layer.weight.copy_(5 * factor * torch.eye(3))
        layer(torch.ones(1, 3))
    assert torch.linalg.matrix_norm(layer(torch.eye(3)) - layer(torch.zeros(1, 3)), 2) <= 0.91


def test_lipswish_is_one_lipschitz_and_nearly_attains_it():
    x = torch.linspace(-30, 30, 20001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(LipSwish().double()(x).sum(), x)
    assert 0.999 < slope.max() <= 1
    assert slope.min() > -1


def test_a_pair_of_waves_has_slopes_of_norm_one():
    x = torch.linspace(-30, 30, 2001, dtype=torch.float64)[:, None]
    activation = SinCos().double()
    jacobian = torch.func.vmap(torch.func.jacrev(lambda v: activation(v[None])[0]))(x)
    torch.testing.assert_close(jacobian.norm(dim=(1, 2)), torch.ones(2001, dtype=torch.float64))
    assert activation(torch.zeros(1, 1, dtype=torch.float64)).abs().max() == 0


@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("activate_input", [True, False])
@pytest.mark.parametrize("activation", ["elu", "lipswish", "sincos"])
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_the_jacobian_that_comes_with_the_output_is_autograds(dim, activation, activate_input, context):
    g = network((dim,), activation=activation, activate_input=activate_input, context=context).eval()
    x = 3 * points(4, dim)
    given = (points(4, context),) if context else ()
    with torch.no_grad():
        out, jacobian = g.linearise(x, *given)
        torch.testing.assert_close(out, g(x, *given), rtol=0, atol=1e-12)
    expected = torch.func.vmap(torch.func.jacrev(lambda *row: g(*[v[None] for v in row])[0]))(x, *given)
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(jacobian, expected, rtol=0, atol=1e-12)
    assert torch.linalg.matrix_norm(jacobian, 2).max() <= g.lipschitz


@pytest.mark.parametrize("activation", ["lipswish", "sincos"])
def test_density_on_the_plane_integrates_to_one(activation):
    torch.manual_seed(0)
    flow = ResidualFlow(DataSpec((2,)), blocks=3, scales=1, hidden=[16, 16], activation=activation).double()
    flow.train().log_prob(torch.randn(64, 2))  # sets the activation normalisation
    flow.eval()
    with torch.no_grad():
        for block in flow.transform.modules():
            if isinstance(block, SpectralNorm):
                block.layer.weight.mul_(4)  # every layer at its bound
        axis = torch.linspace(-12, 12, 401, dtype=torch.float64)
        points = torch.cartesian_prod(axis, axis)
        total = sum(flow.log_prob(part).exp().sum() for part in points.split(50_000))
    assert abs(total * (axis[1] - axis[0]) ** 2 - 1) < 1e-3


def test_slopes_of_lipswish_are_numbers_where_its_argument_overflows():
    activation, x = LipSwish(), torch.tensor([[3e38, -3e38]])
    with torch.no_grad():
        activation.scale.fill_(4.0)
    value, slope = activation.linearise(x)
    torch.testing.assert_close(slope, torch.tensor([[1 / 1.1, 0.0]]))
    torch.testing.assert_close(value, activation(x))


@pytest.mark.parametrize("far", [1e4, 1e30])
@pytest.mark.parametrize("activation", ["elu", "lipswish", "sincos"])
def test_slopes_hold_far_outside(activation, far):
    g = LipschitzNetwork((2,), (8, 8), activation=activation, activate_input=True).eval()
    x = torch.tensor([[far, -far], [-far, far]])
    jacobian = g.linearise(x)[1]
    assert torch.linalg.matrix_norm(jacobian, 2).max() <= g.lipschitz * (1 + 1e-5)


def copied_block(theirs):
    """A residual branch of ours with the weights of their LipschitzMLP, scaled below the bound of either."""
    ours = LipschitzNetwork((2,), (16,), activation="lipswish", activate_input=True).double().eval()
    linears = [m for m in theirs.modules() if hasattr(m, "compute_weight")]
    swishes = [m for m in theirs.modules() if hasattr(m, "beta")]
    with torch.no_grad():
        for linear, swish, layer, activation in zip(
            linears, swishes, ours.layers, ours.activations, strict=True
        ):
            linear.weight.mul_(0.5 / torch.linalg.matrix_norm(linear.weight, 2))
            layer.layer.weight.copy_(linear.weight)
            layer.layer.bias.copy_(linear.bias)
            activation.scale.copy_(swish.beta.squeeze())
    return InvertibleResidual(ours).eval()


def their_branch():
    return normflows.nets.LipschitzMLP([2, 16, 2], init_zeros=False, lipschitz_const=0.9).double().eval()


def test_normflows_agrees_on_a_block_with_copied_weights():
    torch.manual_seed(0)
    theirs = their_branch()
    block = copied_block(theirs)
    x = points(6, 2)
    flow = normflows.flows.Residual(theirs, reverse=False).double().eval()
    # their fixed point stops at 1e-5
    for mine, other, error in ((block, flow.forward, 1e-6), (block.inverse, flow.inverse, 1e-5)):
        found, log_det = mine(x)
        expected, expected_log_det = other(x)
        torch.testing.assert_close(found, expected.detach(), rtol=0, atol=error)
        torch.testing.assert_close(log_det, expected_log_det.detach().to(log_det), rtol=0, atol=error)


def test_normflows_agrees_on_the_density_of_a_whole_flow():
    """Three times an activation normalisation and a block, in the plane, where their determinant is whole."""
    torch.manual_seed(0)
    branches = [their_branch() for _ in range(3)]
    layers, flows = [], []
    for branch in branches:
        norm = normflows.flows.ActNorm((2,))
        norm.data_dep_init_done.fill_(1)
        own = ActNorm(2)
        with torch.no_grad():
            for theirs, ours in ((norm.s, own.log_scale), (norm.t, own.bias)):
                theirs.normal_(0, 0.3)
                ours.copy_(-theirs.flatten())
        layers += [own, copied_block(branch)]
        flows += [norm, normflows.flows.Residual(branch)]
    base = normflows.distributions.DiagGaussian(2, trainable=False)
    theirs = normflows.NormalizingFlow(base, flows[::-1]).double().eval()
    ours = Flow(DataSpec((2,)), Chain(layers)).double().eval()
    x = points(20, 2)
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x).detach(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("gradient", ["series", "neumann"])
@pytest.mark.parametrize("shape", [(3,), (1, 4, 4)], ids=str)
def test_recomputed_activations_give_the_plain_gradients(shape, gradient):
    spec = DataSpec(shape)
    settings = {"series": {"gradient": gradient, "exact_dim": 0}, "hidden": (8, 8), "width": 4, "blocks": 2}
    torch.manual_seed(0)
    plain = ResidualFlow(spec, **settings).double().train()
    saving = ResidualFlow(spec, memory_efficient=True, **settings).double().train()
    x, weights = points(6, *shape), points(6)
    plain.log_prob(x)  # sets the activation normalisation
    saving.load_state_dict(plain.state_dict())
    saving.train()
    found = []
    for flow in (copy.deepcopy(plain).train(), saving):
        with rng.keyed(rng.keys(3, count=6)):
            loss = (weights * flow.log_prob(x)).sum()
        found.append(torch.autograd.grad(loss, list(flow.parameters())))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("activation", ["lipswish", "sincos"])
def test_recomputed_activations_are_those_of_the_same_map_where_the_log_det_is_exact(activation):
    torch.manual_seed(0)
    plain = ResidualFlow(DataSpec((2,)), hidden=(8, 8), blocks=3, activation=activation).double().train()
    plain.log_prob(points(6, 2))
    with torch.no_grad():
        for layer in plain.modules():
            if isinstance(layer, SpectralNorm):
                layer.layer.weight.mul_(6)  # far above the bound, as after a long step
    saving = ResidualFlow(
        DataSpec((2,)), hidden=(8, 8), blocks=3, activation=activation, memory_efficient=True
    ).double()
    saving.load_state_dict(plain.state_dict())
    found = []
    for flow in (copy.deepcopy(plain).train(), saving.train()):
        values = flow.log_prob(points(6, 2))
        found.append((values, *torch.autograd.grad((values * points(6)).sum(), list(flow.parameters()))))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-8)
    fresh = copy.deepcopy(plain).train()
    with torch.no_grad():
        torch.testing.assert_close(fresh.log_prob(points(6, 2)), found[0][0].detach())


@pytest.mark.parametrize("rate", [-200.0, -10.0, 0.5, 3.0])
def test_a_pair_of_waves_is_accurate_at_any_rate(rate):
    activation, x = SinCos(), torch.linspace(-3, 3, 7)[:, None]
    with torch.no_grad():
        activation.scale.fill_(rate)
    found = activation(x)
    expected = copy.deepcopy(activation).double()(x.double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(activation.linearise(x)[0], found)
    found.sum().backward()
    assert activation.scale.grad.isfinite()


@pytest.mark.parametrize(
    "settings", [{"split": True}, {"dense_blocks": 1, "activation": "sincos"}, {"squeeze_first": False}]
)
def test_architectures_invert_and_are_exact_where_small(settings):
    flow = zoo.build("residual_flow", DataSpec((1, 4, 4), 5, 3), width=4, hidden=[8], blocks=1, **settings)
    flow = flow.double().eval()
    assert flow.likelihood_details() == {"dequantisation": "uniform", "log_det": "exact"}
    x = 4.9 * torch.rand(2, 1, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        z, log_det = flow.transform(x)
        back, back_log_det = flow.transform.inverse(z)
        torch.testing.assert_close(back, x, rtol=0, atol=1e-8)
        torch.testing.assert_close(flow.transform.invert(z), back)
        torch.testing.assert_close(back_log_det, -log_det, rtol=0, atol=1e-8)
        jacobian = torch.autograd.functional.jacobian(lambda v: flow.transform(v)[0][0], x[:1])
    truth = torch.linalg.slogdet(jacobian.reshape(16, 16))[1]
    assert abs(truth - log_det[0]) < 1e-8
    assert torch.isfinite(flow.log_prob(torch.full((1, 1, 4, 4), 4))).all()


def test_details_autocast_inference_mode_and_far_inputs():
    flow = zoo.build("residual_flow", DataSpec((100,)), blocks=1, scales=1, hidden=[8]).eval()
    details = flow.likelihood_details()
    assert details["estimator"] == "roulette"
    assert details["extra_terms"] == "geometric"
    assert 0 <= details["bias_bound_nats"] < 2  # 100 dimensions, L = 0.96, 73 terms within reach
    x = torch.randn(3, 100)
    with torch.no_grad():
        plain = flow.log_prob(x)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(flow.log_prob(x), plain)
        assert torch.isfinite(flow.log_prob(1e4 * x)).all()
    with torch.inference_mode():
        torch.testing.assert_close(flow.log_prob(x), plain)
    flow.log_prob(x).sum().backward()


@pytest.mark.parametrize("name", ["estimator", "gradient", "count"])
def test_unknown_names_of_the_series_are_refused(name):
    with pytest.raises(ZooError, match=rf"model\.series\.{name}"):
        ResidualFlow(DataSpec((3,)), series={name: "magic"})


def test_unknown_activations_are_refused():
    with pytest.raises(ZooError, match=r"model\.activation"):
        ResidualFlow(DataSpec((3,)), activation="magic")


@pytest.mark.parametrize(
    ("name", "shape", "blocks", "width", "coefficient", "terms", "estimator", "base"),
    [
        ("iresnet_mnist", (1, 28, 28), 64, 32, 0.9, 10, "truncated", StandardNormal),
        ("iresnet_cifar10", (3, 32, 32), 48, 512, 0.9, 5, "truncated", MixtureOfNormals),
        ("iresnet_cifar10_paper", (3, 32, 32), 96, 512, 0.9, 5, "truncated", MixtureOfNormals),
        ("residual_flow_mnist", (1, 28, 28), 48, 512, 0.98, 2, "roulette", StandardNormal),
        ("residual_flow_cifar10", (3, 32, 32), 48, 512, 0.98, 2, "roulette", StandardNormal),
    ],
)
def test_published_sizes_build(name, shape, blocks, width, coefficient, terms, estimator, base):
    with torch.device("meta"):  # nothing is allocated
        model = zoo.build(f"published/{name}", DataSpec(shape, 256))
    residuals = [m for m in model.modules() if isinstance(m, InvertibleResidual)]
    dense = [r for r in residuals if isinstance(r.g.layers[0].layer, torch.nn.Linear)]
    convolutional = [r for r in residuals if r not in dense]
    assert len(convolutional) == blocks
    for block in convolutional:
        channels = block.g.layers[0].layer.in_channels
        maps = [(m.layer.in_channels, m.layer.out_channels, m.layer.kernel_size) for m in block.g.layers]
        assert maps == [
            (channels, width, (3, 3)),
            (width, width, (1, 1)),
            (width, channels, (3, 3)),
        ]
    assert len(dense) == (4 if estimator == "roulette" else 0)
    for block in dense:
        assert [m.layer.out_features for m in block.g.layers] == [
            128,
            128,
            block.g.layers[0].layer.in_features,
        ]
    for block in residuals:
        assert {m.coefficient for m in block.g.layers} == {coefficient}
        assert block.lipschitz == pytest.approx(coefficient**3)
        series = block.series
        assert (series.terms, series.eval_terms, series.estimator) == (terms, 20, estimator)
        if estimator == "truncated":  # 5 power iterations, of the script
            assert {(m.iterations, m.train_tolerance) for m in block.g.layers} == {(5, None)}
        else:
            assert {m.train_tolerance for m in block.g.layers} == {1e-3}
    assert type(model.base) is base
    assert model.likelihood == "estimate"
