"""Tests of the series of the log-determinant: unbiased values and gradients, agreement with normflows."""

from __future__ import annotations

import math

import normflows
import pytest
import torch
from torch import nn

from zoo.data.spec import DataSpec
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Chain
from zoo.models.bijections.residual import InvertibleResidual, Series
from zoo.models.core import rng
from zoo.models.families.flow import Flow
from zoo.models.networks.lipschitz import LipschitzNetwork
from zoo.models.networks.spectral_norm import Spectral

ESTIMATORS = [("truncated", "series"), ("roulette", "series"), ("roulette", "neumann")]


class Scale(nn.Module):
    """The branch g(x) = c x, for which all results are known."""

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


@pytest.mark.parametrize(("count", "none"), [("geometric", 0.5), ("poisson", math.exp(-2))])
def test_the_number_of_further_terms_has_its_distribution(count, none):
    """A row without further terms has exactly the value of the truncated series."""
    n = 20000
    x, settings = points(n, 2), {"eval_terms": 2}
    with torch.no_grad():
        cut = block(Scale(0.6), **settings).eval()(x)[1]
        drawn = block(Scale(0.6), estimator="roulette", count=count, **settings).eval()(x)[1]
    share = ((drawn - cut).abs() < 1e-12).double().mean().item()
    assert share == pytest.approx(none, abs=4 * math.sqrt(none * (1 - none) / n))


@pytest.mark.parametrize(("estimator", "gradient"), ESTIMATORS[1:])
def test_training_values_and_weighted_gradients_are_unbiased(estimator, gradient):
    g, rows, repeats = network((3,), activation="lipswish"), points(2, 3), 150
    residual_block = block(g, estimator=estimator, gradient=gradient, terms=2).train()
    # Some implementations fail if the first row has weight zero.
    weights = torch.tensor([0.0, 2.0], dtype=torch.float64)
    jacobians = [
        torch.autograd.functional.jacobian(lambda v: residual_block.g(v[None])[0], r, True) for r in rows
    ]
    truth = torch.linalg.slogdet(torch.stack(jacobians) + torch.eye(3))[1]
    first = g.layers[0].layer.weight
    (expected,) = torch.autograd.grad((weights * truth).sum(), first)
    values, gradients = [], []
    for _ in range(repeats):  # each pass draws one number of terms
        log_det = residual_block(rows.repeat(16, 1))[1].view(16, 2)
        values.append(log_det.mean(0).detach())
        gradients.append(torch.autograd.grad((weights * log_det.mean(0)).sum(), first)[0])
    for result, wanted, errors in ((values, truth.detach(), 4), (gradients, expected, 5)):
        result = torch.stack(result)
        error = result.std(0) / math.sqrt(repeats)
        assert wanted.abs().max() > 1e-2
        assert ((result.mean(0) - wanted).abs() <= errors * error + 1e-5).all()


@pytest.mark.parametrize(("estimator", "gradient"), ESTIMATORS)
def test_the_gradient_does_not_change_the_value(estimator, gradient):
    residual_block = block(network((4,)), estimator=estimator, gradient=gradient).train()
    x = points(6, 4)
    with rng.keyed(rng.keys(1, count=6)), torch.no_grad():
        value = residual_block(x)[1]
    with rng.keyed(rng.keys(1, count=6)):
        torch.testing.assert_close(residual_block(x)[1], value)


class Opaque(nn.Module):
    """A branch that hides its products with the transposed Jacobian."""

    def __init__(self, g):
        super().__init__()
        self.g, self.lipschitz = g, g.lipschitz

    def forward(self, x):
        return self.g(x)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("estimator", "gradient"), ESTIMATORS)
def test_products_without_differentiation_give_the_same_series_and_gradients(estimator, gradient, training):
    x, results = points(6, 4), []
    for hide in (lambda g: g, Opaque):
        g = network((4,), activation="lipswish")
        made = block(hide(g), estimator=estimator, gradient=gradient, eval_terms=4).train(training)
        with rng.keyed(rng.keys(1, count=6), lambda row: rng.key(1, row=row)):
            log_det = made(x)[1]
        grads = torch.autograd.grad(
            (log_det * torch.arange(6)).sum(), list(g.parameters()), allow_unused=True
        )
        results.append([log_det.detach(), *(grad for grad in grads if grad is not None)])
    assert results[0][0].abs().min() > 1e-4
    assert len(results[0]) > 5
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_roulette_draws_a_count_per_row_in_evaluation_and_one_in_training():
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


def copied_block(theirs):
    """Return a residual branch with the weights of normflows' LipschitzMLP, scaled below both bounds."""
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
    # normflows' fixed point stops at 1e-5
    for mine, other, error in ((block, flow.forward, 1e-6), (block.inverse, flow.inverse, 1e-5)):
        result, log_det = mine(x)
        expected, expected_log_det = other(x)
        torch.testing.assert_close(result, expected.detach(), rtol=0, atol=error)
        torch.testing.assert_close(log_det, expected_log_det.detach().to(log_det), rtol=0, atol=error)


def test_normflows_agrees_on_the_density_of_a_whole_flow():
    """Three activation normalisations and blocks; in two dimensions normflows' determinant is exact."""
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
