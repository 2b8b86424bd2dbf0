"""Tests of dequantisation: densities integrate to 1, and the mean weight is the probability."""

from __future__ import annotations

import math

import pytest
import torch
from contract import roughen

import zoo
from zoo.evaluation.likelihood import likelihood, repeats
from zoo.models.bijections.base import Chain
from zoo.models.bijections.dequantise import (
    GaussianNoise,
    UniformDequantisation,
    VariationalDequantisation,
    make_dequantisation,
)
from zoo.models.bijections.elementwise import Affine
from zoo.models.core import rng
from zoo.models.families.flow import Flow, preprocess

PAIR = zoo.DataSpec((2,), levels=3)


def test_the_learned_noise_has_a_density():
    """q(u | x) integrates to 1 over the unit square and is the density of the draws."""
    q = roughen(VariationalDequantisation(PAIR), 0.04).double().eval()
    axis = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    u = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        for values in ([0.0, 0.0], [2.0, 1.0]):
            x = torch.tensor(values, dtype=torch.float64).expand(len(u), 2)
            density = q.log_prob(u, x).exp()
            assert density.mean().item() == pytest.approx(1, abs=2e-3)
            assert density.std() > 0.02, "the noise is not uniform any more"
            y, log_weight = q.weigh(x)
            torch.testing.assert_close(-log_weight, q.log_prob(y - x, x), rtol=1e-7, atol=1e-7)
            # one density over the other has mean 1: E_q[1 / q] is the area of the square
            ratio = log_weight.exp()
            assert abs(ratio.mean() - 1) < 4 * ratio.std() / math.sqrt(len(u))


@pytest.mark.parametrize("shape", [(3,), (1, 3, 2), (3, 1, 1)])
def test_learned_noise_starts_uniform_and_stays_in_its_cell(shape):
    spec = zoo.DataSpec(shape, levels=256)
    q = VariationalDequantisation(spec)
    x = torch.randint(256, (2000, *shape)).float()
    y, log_weight = q.weigh(x)
    torch.testing.assert_close(log_weight, torch.zeros(len(x)), rtol=0, atol=1e-5)
    assert torch.equal(q.inverse(y), x)
    assert (y - x).mean().item() == pytest.approx(0.5, abs=0.02)
    y, log_weight = roughen(q, 3.0).weigh(x)
    assert torch.equal(q.inverse(y), x)
    assert torch.isfinite(log_weight).all()


@pytest.mark.parametrize("std", [0.05, 0.4, 6.4, 100.0])
@pytest.mark.parametrize("levels", [2, 5, 256])
def test_the_conditional_of_gaussian_noise_is_a_distribution(std, levels):
    """P(x|y) = w q(y|x) / p(y) sums to 1 over x at every y, even outside the range; samples follow it."""
    way = GaussianNoise(std, levels)
    x = torch.arange(levels, dtype=torch.float64)[:, None]
    for at in (-1.5 * std, 0.5, levels / 3, levels + 2.5 * std):
        e = (at - 0.5 - x) / std  # the noise from each x to the same y

        def given(like, e=e):
            return e

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rng, "normal", given)
            y, log_weight = way.weigh(x)
        torch.testing.assert_close(y, torch.full_like(y, at))
        log_q = -0.5 * (e[:, 0] ** 2 + math.log(2 * math.pi)) - math.log(std)
        p = (log_weight + log_q).exp()
        assert p.sum().item() == pytest.approx(1, abs=1e-9)
        drawn = way.inverse(torch.full((20000,), at, dtype=torch.float64))
        mean, variance = (p * x[:, 0]).sum(), (p * x[:, 0] ** 2).sum() - (p * x[:, 0]).sum() ** 2
        assert abs(drawn.mean() - mean) < 4.5 * (variance / 20000).sqrt() + 1e-3


def test_gaussian_weights_are_finite_in_float32_far_out(monkeypatch):
    x = torch.tensor([[0.0, 255.0, 128.0]]).expand(3, 3)
    far = torch.tensor([-8.0, 0.0, 8.0])[:, None].expand(3, 3)
    monkeypatch.setattr(rng, "normal", lambda like: far)
    for std in (0.1, 6.4, 128.0):
        _, log_weight = GaussianNoise(std, 256).weigh(x)
        assert torch.isfinite(log_weight).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("far", [8.5, 10, 60])
def test_far_outside_the_range_the_conditional_is_the_nearest_level(far, dtype):
    std, n = 6.4, 2000
    way = GaussianNoise(std, 256)
    below, above = (torch.full((n,), y, dtype=dtype) for y in (-far * std, 256 + far * std))
    assert way.inverse(below).max() <= 8  # beyond it, at most exp(-8 * 8.5 / 6.4) of the mass
    assert way.inverse(below).median() == 0
    assert way.inverse(above).min() >= 255 - 8
    assert way.inverse(above).median() == 255
    assert way.inverse(below).dtype == dtype


def small(spec: zoo.DataSpec, dequantisation) -> Flow:
    return Flow(spec, preprocess(spec), base="diagonal", dequantisation=dequantisation)


@pytest.mark.parametrize("name", ["uniform", "variational", "gaussian"])
def test_weights_average_to_a_probability(name):
    """Summed over all 9 pairs of 3 levels, the mean weight is 1; the mean log-weight gives a smaller sum."""
    if name == "gaussian":
        inner = Chain([Affine(2 / 3, -1.0)])
        flow = Flow(PAIR, inner, base="diagonal", dequantisation=GaussianNoise(0.7, 3))
    else:
        flow = small(PAIR, name)
    flow = roughen(flow.double(), 0.3).eval()
    x = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    keys = torch.cat([rng.content_keys(x, salt) for salt in range(1500)])
    with torch.no_grad(), rng.keyed(keys):
        values = flow.log_prob(x.repeat(1500, 1)).view(1500, 9)
    masses = values.exp().sum(1)
    assert abs(masses.mean() - 1) < 4 * masses.std() / math.sqrt(len(masses))
    assert masses.std() / math.sqrt(len(masses)) < 0.05
    # K-sample bounds rise with K towards the probability
    bounds = [values.view(-1, k, 9).logsumexp(1).mean(0) - math.log(k) for k in (1, 10, 300)]
    assert bounds[0].exp().sum() < 1
    assert bounds[0].mean() < bounds[1].mean() < bounds[2].mean()
    assert (bounds[2] <= values.exp().mean(0).log() + 1e-9).all()


def test_learned_noise_makes_the_bound_tighter():
    """After the same training on the same data, the variational bound is above the uniform one."""
    spec = zoo.DataSpec((2,), levels=2)
    x = (torch.rand(256, 2) < 0.9).float()

    def trained(name: str) -> float:
        torch.manual_seed(1)
        flow = small(spec, name).train()
        optimiser = torch.optim.Adam(flow.parameters(), 1e-2)
        for _ in range(300):
            optimiser.zero_grad()
            (-flow.log_prob(x).mean()).backward()
            optimiser.step()
        with torch.no_grad():
            return flow.train().log_prob(x.repeat(200, 1)).mean().item()  # fresh noise

    assert trained("variational") > trained("uniform") + 0.01


def test_the_kind_of_likelihood_depends_on_the_dequantisation():
    flow = small(PAIR, "variational")
    assert flow.likelihood == "lower bound"
    assert flow.likelihood_details() == {"dequantisation": "variational"}
    metrics = likelihood(flow.eval(), torch.tensor([[0, 1], [2, 2]]), PAIR, dequantisation_samples=5)
    assert metrics["bits_per_dim"].kind == "lower bound"
    assert metrics["bits_per_dim"].details["dequantisation_samples"] == 5
    assert small(PAIR, "uniform").likelihood == "exact"
    assert repeats("exact", {"dequantisation": "uniform"}, 7) == 7
    assert repeats("lower bound", {"dequantisation": "gaussian"}, 7) == 7
    assert repeats("lower bound", {"dequantisation": "uniform"}, 7) == 1, "an ELBO on dequantised data"
    assert repeats("estimate", {"dequantisation": "uniform"}, 7) == 1
    assert repeats("lower bound", {}, 7) == 1


def test_an_unknown_dequantisation_is_an_error():
    assert isinstance(make_dequantisation("uniform", PAIR), UniformDequantisation)
    assert make_dequantisation("variational", zoo.DataSpec((2,))) is None
    with pytest.raises(zoo.ZooError, match="uniform or variational"):
        make_dequantisation("gauss", PAIR)
    with pytest.raises(zoo.ZooError, match="above zero"):
        GaussianNoise(0.0)


def test_uniform_dequantisation_fills_its_cell_and_stays_in_it():
    x = torch.tensor([[0.0, 255.0]]).expand(2000, 2)
    y = UniformDequantisation()(x)
    assert torch.equal(UniformDequantisation().inverse(y), x)
    assert y.min() >= 0
    assert y.max() < 256
    assert abs((y - x).mean().item() - 0.5) < 0.03
    assert abs((y - x).var().item() - 1 / 12) < 0.006
