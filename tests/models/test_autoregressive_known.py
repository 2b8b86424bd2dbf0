"""Tests of autoregressive models against known results: MAF's figure 1, probability integrals, sizes."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from autoregressive_tools import normal, perturbed
from torch import Tensor

import zoo
from zoo.data.spec import DataSpec
from zoo.data.toys import TOYS
from zoo.models.bijections.permutation import Permutation
from zoo.models.families.autoregressive import MixtureMADE, Order
from zoo.models.families.flow import Flow
from zoo.models.made import GaussianMADE
from zoo.models.made_mog import MADEMoG
from zoo.models.maf import MAF
from zoo.models.maf_mog import MAFMoG

# MAF's figure 1: x_2 ~ N(0, 4), x_1 ~ N(x_2^2 / 4, 1)


def figure1_log_p(x: Tensor) -> Tensor:
    x1, x2 = x.unbind(1)
    return -math.log(4 * math.pi) - 0.5 * (x2 / 2).square() - 0.5 * (x1 - x2.square() / 4).square()


def figure1_excess_in_the_other_order() -> float:
    """Return the least KL divergence of a Gaussian x_1 and a Gaussian x_2 given x_1, by quadrature.

    x_1 has variance 3 (1, and that of a squared normal, 2), and x_2 given x_1 mean 0 by symmetry.
    """
    x1 = torch.linspace(-8, 60, 3401, dtype=torch.float64)
    x2 = torch.linspace(-16, 16, 1601, dtype=torch.float64)
    p = figure1_log_p(torch.cartesian_prod(x1, x2)).exp().view(len(x1), len(x2))
    p = p / p.sum()
    of_x1 = p.sum(1)
    variance = (p @ x2.square()) / of_x1
    conditional = (of_x1 * variance.log()).sum() / 2
    nll = math.log(2 * math.pi * math.e) + 0.5 * math.log(3) + float(conditional)
    return nll - TOYS["maf_figure1"][1]


def fitted_figure1(order: Order) -> float:
    """Return the KL divergence of a Gaussian MADE that is fitted to fresh samples."""
    rng = np.random.default_rng(0)

    def draw(n: int) -> Tensor:
        return torch.as_tensor(TOYS["maf_figure1"][0](n, rng), dtype=torch.float32)

    model = GaussianMADE(DataSpec((2,)), hidden=(32,), order=order)
    steps = 500
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        loss = -model.log_prob(draw(256)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    x = draw(100_000)
    with torch.no_grad():
        return float((figure1_log_p(x) - model.log_prob(x)).mean())


def test_figure1_has_its_entropy() -> None:
    assert TOYS["maf_figure1"][1] == pytest.approx(3.53102, abs=1e-5)


def test_gaussian_made_is_exact_in_the_order_of_figure1_and_not_in_the_other() -> None:
    excess = figure1_excess_in_the_other_order()
    assert excess > 0.2
    assert abs(fitted_figure1("reversed")) < 0.01
    assert fitted_figure1("natural") == pytest.approx(excess, abs=0.01)


# Samples and densities


def ks_distance(u: Tensor) -> float:
    """Return the largest distance of the empirical distribution of ``u`` from the uniform one."""
    u = u.flatten().double().sort().values
    step = torch.arange(len(u) + 1, dtype=torch.float64) / len(u)
    return float(torch.maximum(step[1:] - u, u - step[:-1]).max())


def probability_integrals(model: Flow, x: Tensor, temperature: float = 1.0) -> Tensor:
    """Return P(Z_i < z_i | z_1 .. z_{i-1}) under the mixture base, ``(B, D)``: uniform for samples."""
    assert isinstance(model.base, MixtureMADE)
    z, _ = model.transform(x)
    log_weight, mean, log_std = model.base.mixture(model.base.network(z))
    standard = (z[..., None] - mean) * torch.exp(-log_std) / temperature
    return (log_weight.exp() * torch.special.ndtr(standard)).sum(-1)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("make", [MADEMoG, MAFMoG])
def test_samples_of_mixtures_have_uniform_probability_integrals(make: Any, temperature: float) -> None:
    settings = {"hidden": (24, 24), "components": 3} | ({"layers": 2} if make is MAFMoG else {})
    model = perturbed(make(DataSpec((3,)), **settings), scale=0.1)
    n = 100_000
    limit = 2.5 / math.sqrt(n)  # exceeded by chance in one of 100 000 draws
    with torch.no_grad():
        x = model.sample(n, temperature, seed=0).double()
        u = probability_integrals(model, x, temperature)
        wrong = probability_integrals(model, 1.05 * x, temperature)
    assert max(ks_distance(column) for column in u.unbind(1)) < limit
    assert max(ks_distance(column) for column in wrong.unbind(1)) > limit, "5 % must not pass"
    # independent of each other, too
    assert torch.corrcoef(u.T).fill_diagonal_(0).abs().max() < 4.5 / math.sqrt(n)


@pytest.mark.parametrize("make", [MADEMoG, MAFMoG])
def test_mass_of_a_square_is_the_share_of_samples_in_it(make: Any) -> None:
    """This also tests densities with heavy tails, which cannot be integrated over the plane."""
    model = perturbed(make(DataSpec((2,)), hidden=(24, 24)), scale=0.05)
    edges = torch.linspace(-1.5, 1.5, 301, dtype=torch.float64)
    middle = (edges[1:] + edges[:-1]) / 2
    n = 100_000
    with torch.no_grad():
        mass = float(model.log_prob(torch.cartesian_prod(middle, middle)).exp().sum()) * 0.01**2
        inside = (model.sample(n, seed=0).abs().amax(1) < 1.5).float().mean().item()
    assert 0.3 < mass < 0.99
    assert inside == pytest.approx(mass, abs=4 * math.sqrt(mass * (1 - mass) / n) + 1e-4)


# Orders


@pytest.mark.parametrize("order", ["natural", "reversed", "random"])
@pytest.mark.parametrize("make", [GaussianMADE, MADEMoG])
def test_the_dependencies_follow_the_order(make: Any, order: Order) -> None:
    """By gradients, a dimension's conditional depends exactly on the dimensions before it in the order."""
    dim = 6
    model = perturbed(make(DataSpec((dim,)), hidden=(32, 32), order=order))
    places = torch.arange(dim)
    if order == "reversed":
        places = places.flip(0)
    elif order == "random":
        places = next(m for m in model.transform.modules() if isinstance(m, Permutation))(places[None])[0][0]
        assert not torch.equal(places, torch.arange(dim))

    def parameters(x: Tensor) -> Tensor:
        *reorder, last = model.transform.layers
        ordered = x[None]
        for layer in reorder if make is GaussianMADE else model.transform.layers:
            ordered, _ = layer(ordered)
        return (last if make is GaussianMADE else model.base).network(ordered)[0].sum(-1)

    slope = sum(torch.autograd.functional.jacobian(parameters, x).abs() for x in normal(20, dim))
    assert torch.equal(slope[:, places] > 0, torch.ones(dim, dim).tril(-1).bool())


# Batch normalisation


def test_batch_norm_evaluates_with_the_statistics_of_the_training_set() -> None:
    """The statistics are those of a training pass with all of the data in one batch."""
    model = perturbed(MAF(DataSpec((4,)), layers=3, hidden=(16,), batch_norm=True), scale=0.1).train()
    x = 3 * normal(300, 4) + 1
    with torch.no_grad():
        expected, expected_log_det = model.transform(x)
    model.on_training_statistics([(part, None) for part in x.split(77)])
    assert model.training
    model.eval()
    with torch.no_grad():
        z, log_det = model.transform(x)
        torch.testing.assert_close(z, expected, rtol=0, atol=1e-10)
        torch.testing.assert_close(log_det, expected_log_det, rtol=0, atol=1e-10)
        alone, alone_log_det = model.transform(x[:1])
        torch.testing.assert_close(alone, z[:1], rtol=0, atol=1e-10)
        back, back_log_det = model.transform.inverse(z)
        torch.testing.assert_close(back, x, rtol=0, atol=1e-9)
        torch.testing.assert_close(back_log_det, -log_det, rtol=0, atol=1e-9)
    jacobian = torch.autograd.functional.jacobian(lambda v: model.transform(v[None])[0][0], x[0])
    assert torch.linalg.slogdet(jacobian)[1].item() == pytest.approx(alone_log_det.item(), abs=1e-8)


def test_batch_norm_learns_in_training() -> None:
    model = MAF(DataSpec((3,)), layers=2, hidden=(16,), batch_norm=True).train()
    x = (20 + 5 * normal(400, 3)).float()
    before = -model.log_prob(x).mean().item()
    model.on_training_statistics([(x, None)])
    after = -model.eval().log_prob(x).mean().item()
    assert after == pytest.approx(before, abs=1e-2)  # the earlier batch was the training set
    entropy = 1.5 * math.log(2 * math.pi * math.e) + 3 * math.log(5)
    assert after == pytest.approx(entropy, abs=0.1), "normalised data are standard normal"


# Sizes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "hidden", "blocks"), [(6, 256, 2), (43, 32, 1)])
@pytest.mark.filterwarnings("ignore:MADE with")
def test_a_spline_flow_has_the_expected_number_of_weights(dim: int, hidden: int, blocks: int) -> None:
    """The number includes masked weights."""
    model = zoo.build(
        "nsf_autoregressive", DataSpec((dim,)), steps=10, bins=8, hidden=hidden, blocks=blocks
    ).eval()
    widths = [dim, *[hidden] * (1 + 2 * blocks), (3 * 8 - 1) * dim]
    conditioner = sum((a + 1) * b for a, b in pairwise(widths))
    mixing = dim * dim + dim  # L, U and a shift
    assert sum(p.numel() for p in model.parameters()) == 2 * dim + 10 * conditioner + 11 * mixing
    assert torch.isfinite(model.log_prob(model.sample(2, seed=0))).all()
