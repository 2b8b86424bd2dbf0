"""Parts that autoregressive flows share: mixtures, orders and drawn degrees."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from autoregressive_tools import normal, perturbed
from torch import Tensor

import zoo
from zoo.data.spec import DataSpec
from zoo.models.bijections.autoregressive import MaskedAffineAutoregressive
from zoo.models.bijections.permutation import Permutation
from zoo.models.families.autoregressive import MixtureMADE, Order
from zoo.models.families.flow import Flow
from zoo.models.made import GaussianMADE
from zoo.models.made_mog import MADEMoG
from zoo.models.maf import MAF
from zoo.models.maf_mog import MAFMoG
from zoo.models.networks.made import MADE


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


def test_mixtures_without_a_bound_are_the_unclamped_ones() -> None:
    spec, x = DataSpec((3,)), normal(5, 3)
    free = perturbed(MADEMoG(spec, components=2, hidden=(8,), log_scale_bound=None), scale=0.05).double()
    wide = MADEMoG(spec, components=2, hidden=(8,), log_scale_bound=1e4).double()
    wide.load_state_dict(free.state_dict())
    torch.testing.assert_close(free.log_prob(x), wide.log_prob(x))
    parameters = torch.full((1, 6), 9.0)
    assert torch.equal(free.base.mixture(parameters)[2], torch.full((1, 2), 9.0))
    assert torch.isfinite(
        MAFMoG(spec, layers=1, hidden=(8,), components=2, log_scale_bound=None).log_prob(x.float())
    ).all()
    with pytest.raises(zoo.ZooError, match="log_scale_bound"):
        MADEMoG(spec, log_scale_bound=0.0)


def test_a_mixture_of_log_precisions_is_the_sum_of_its_gaussians() -> None:
    torch.manual_seed(0)
    mixture = MixtureMADE(4, 3, (16,), start="normal", scale="log_precision", log_scale_bound=None).double()
    z = normal(10, 4)
    logits, mean, log_precision = mixture.network(z).unflatten(-1, (3, 3)).unbind(-2)
    gaussians = torch.distributions.Normal(mean, log_precision.exp().rsqrt()).log_prob(z[..., None]).exp()
    expected = (logits.softmax(-1) * gaussians).sum(-1).log().sum(1)
    torch.testing.assert_close(mixture.log_prob(z), expected, rtol=1e-12, atol=1e-12)


def test_mixtures_start_with_normal_biases_or_spread_out() -> None:
    torch.manual_seed(0)
    bias = MixtureMADE(300, 10, (300,), start="normal").network.output.bias.detach()
    assert bias.std() == pytest.approx(1, abs=0.03)
    assert abs(bias.mean()) < 0.03
    assert bias.abs().max() > 3
    z = normal(20, 2).float()
    spread, precise = (MixtureMADE(2, 10, (8,), scale=s) for s in ("log_deviation", "log_precision"))
    torch.testing.assert_close(spread.log_prob(z), precise.log_prob(z))


@pytest.mark.parametrize("make", [MAF, GaussianMADE, MADEMoG, MAFMoG])
def test_start_and_scale_reach_every_network(make: Any) -> None:
    model = make(DataSpec((4,)), hidden=(8,), start="normal", scale="log_precision")
    parts = [m for m in model.modules() if isinstance(m, MixtureMADE | MaskedAffineAutoregressive)]
    assert len(parts) == sum(isinstance(m, MADE) for m in model.modules())
    for part in parts:
        assert part.scale == "log_precision"
        assert part.network.output.weight.all()


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


@pytest.mark.parametrize("make", [MAF, GaussianMADE, MADEMoG, MAFMoG])
def test_a_model_of_drawn_degrees_is_built_again_with_the_same_masks(make: Any) -> None:
    spec, x = DataSpec((6,)), normal(5, 6)
    torch.manual_seed(1)
    model = perturbed(make(spec, hidden=(30, 30), degrees="random"))
    torch.manual_seed(2)
    again = make(spec, hidden=(30, 30), degrees="random").double().eval()
    assert [m.degrees[0].tolist() for m in again.modules() if isinstance(m, MADE)] == [
        m.degrees[0].tolist() for m in model.modules() if isinstance(m, MADE)
    ]
    draws = {tuple(m.degrees[0].tolist()) for m in model.modules() if isinstance(m, MADE)}
    assert len(draws) == sum(isinstance(m, MADE) for m in model.modules()), "each layer has different degrees"
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.log_prob(x), model.log_prob(x), rtol=0, atol=0)
    spread = make(spec, hidden=(30, 30)).double().eval()
    spread.load_state_dict({k: v for k, v in model.state_dict().items() if "mask" not in k}, strict=False)
    assert (spread.log_prob(x) - model.log_prob(x)).abs().min() > 0
    with pytest.raises(zoo.ZooError, match=r"model\.degrees must be spread, cyclic or random; got 'drawn'"):
        make(spec, degrees="drawn")
