"""Planar and Sylvester flows: log-determinants, invertibility, the density of a posterior."""

from __future__ import annotations

import math

import pytest
import torch

import zoo
from zoo.models.core import rng
from zoo.models.networks.posterior_flows import Planar, PosteriorFlows, Sylvester

FLOWS = {"planar": Planar(3), "sylvester": Sylvester(3, 2), "square": Sylvester(3, 3)}


def draw(flow, rows=6, scale=2.0):
    generator = torch.Generator().manual_seed(0)
    parameters = scale * torch.randn(rows, flow.parameters_needed, generator=generator, dtype=torch.float64)
    return torch.randn(rows, 3, generator=generator, dtype=torch.float64), parameters


@pytest.mark.parametrize("name", FLOWS)
def test_the_log_determinant_is_the_jacobians_and_never_changes_sign(name):
    flow = FLOWS[name]
    z, parameters = draw(flow)
    _, log_det = flow(z, parameters)
    for i in range(len(z)):
        jacobian = torch.autograd.functional.jacobian(
            lambda row, i=i: flow(row[None], parameters[i : i + 1])[0][0], z[i]
        )
        sign, value = torch.linalg.slogdet(jacobian)
        assert sign == 1
        assert log_det[i].item() == pytest.approx(value.item(), abs=1e-9)


def test_a_planar_flow_moves_along_one_direction_by_a_tanh_of_a_plane():
    u, w, b = torch.tensor([[1.0, 0.5]]), torch.tensor([[0.8, -0.3]]), torch.tensor([[0.2]])
    z = torch.tensor([[0.4, -1.0]])
    product = (u * w).sum()
    kept = u + (torch.log1p(product.exp()) - 1 - product) * w / w.square().sum()
    expected = z + kept * torch.tanh((w * z).sum() + b)
    torch.testing.assert_close(Planar(2)(z, torch.cat([u, w, b], 1))[0], expected)


def test_a_sylvester_flow_stays_in_the_span_of_its_columns():
    flow = FLOWS["sylvester"]
    z, parameters = draw(flow)
    moved, _ = flow(z, parameters)
    columns = parameters[:, :6].view(-1, 3, 2)
    shift = (moved - z)[:, :, None]
    projected = columns @ torch.linalg.lstsq(columns, shift).solution
    torch.testing.assert_close(projected, shift)


@pytest.mark.parametrize("name", ["planar", "sylvester"])
def test_the_density_of_a_flow_of_noise_integrates_to_one(name):
    """By importance: E_q [p(z) / q(z)] = 1 for any density p, with q the flow's own."""
    torch.manual_seed(0)
    flows = PosteriorFlows(name, 2, 3, layers=3, columns=2).double()
    torch.nn.init.normal_(flows.amortised.weight, std=0.7)
    e = torch.randn(40_000, 2, dtype=torch.float64)
    z, log_det = flows(e, torch.ones(len(e), 3, dtype=torch.float64))
    log_q = -0.5 * e.square().sum(1) - math.log(2 * math.pi) - log_det
    log_p = -0.5 * ((z - z.mean(0)) / 1.5).square().sum(1) - math.log(2 * math.pi * 2.25)
    weights = (log_p - log_q).exp()
    assert weights.mean().item() == pytest.approx(1, abs=5 * weights.std().item() / 200)


@pytest.mark.parametrize("posterior", ["planar", "sylvester"])
def test_importance_samples_with_posterior_flows_reach_the_likelihood(posterior):
    spec = zoo.DataSpec((5,), levels=2)
    torch.manual_seed(0)
    settings = {"latent_dim": 1, "encoder": [4], "decoder": [4], "posterior": posterior, "flows": 2}
    model = zoo.build("vae_dense", spec, **settings, importance_samples=4000).double().eval()
    assert model.flow is not None
    with torch.no_grad():
        model.flow.amortised.bias.copy_(torch.linspace(0.5, 1.5, len(model.flow.amortised.bias)))
    x = torch.tensor([[1.0, 0, 1, 1, 0]]).double()
    z = torch.linspace(-9, 9, 4001).double()[:, None]
    (logits,) = model.decode(z)
    terms = torch.distributions.Bernoulli(logits=logits).log_prob(x).sum(1) - 0.5 * z[:, 0].square()
    exact = terms.logsumexp(0) + math.log(18 / 4000) - 0.5 * math.log(2 * math.pi)
    assert model.log_prob(x).item() == pytest.approx(exact.item(), abs=0.03)
    with rng.keyed(rng.content_keys(x)):
        sample = model.sample_posterior(model.encode(x))
    torch.testing.assert_close(sample.kl, -sample.log_ratio)
