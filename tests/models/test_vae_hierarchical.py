"""Tests of the hierarchical VAE against quadrature, and on data of every shape."""

from __future__ import annotations

import math

import pytest
import torch
from latent_tools import assert_ordered, bounds, moved, plane
from shapes import data, every_spec

from zoo.data.spec import DataSpec
from zoo.models.core import rng
from zoo.models.families.decoder_likelihood import discretised_logistic_log_prob
from zoo.models.vae_hierarchical import HierarchicalVAE


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_hierarchical_bounds_are_ordered_below_the_evidence_by_quadrature() -> None:
    spec = DataSpec((2,), 4)
    model = moved(HierarchicalVAE(spec, width=8, latents=1, layers=2), 0.4)
    x = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0)).double()
    nodes, log_area = plane(7, 421)
    log_prior = -0.5 * nodes.square().sum(1) - math.log(2 * math.pi) + log_area
    columns = iter(nodes.T)
    with torch.no_grad():
        h = model.network.descend(len(nodes), lambda like, _: next(columns).view(-1, 1, 1, 1))
        mean, log_scale = model.decode(h)
        log_mass = discretised_logistic_log_prob(x[:, None], mean, log_scale, 4).sum(2)
        evidence = (log_mass + log_prior).logsumexp(1)
    assert evidence.exp().sum().item() == pytest.approx(1, abs=1e-6)
    assert_ordered(bounds(model, x), evidence.mean().item())
    # Draws from the prior estimate the same evidence.
    with rng.keyed(rng.keys(1, count=40_000)), torch.no_grad():
        mean, log_scale = model.decode(model.sample_prior(40_000, 1.0))
    masses = discretised_logistic_log_prob(x[:, None], mean, log_scale, 4).sum(2).exp()
    assert ((masses.mean(1) - evidence.exp()).abs() < 5 * masses.std(1) / 200).all()


@every_spec
def test_a_hierarchical_vae_accepts_every_shape(spec: DataSpec) -> None:
    model = HierarchicalVAE(spec, width=8, latents=2)
    x = data(spec, 3)
    first = model.log_prob(x)
    first.mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    with torch.no_grad():
        diagnostics = model.diagnostics(x)
    assert diagnostics["rate"].value == diagnostics["active_units"].value == 0, (
        "the initial posterior is the prior"
    )
    assert diagnostics["latent_units"].value >= 4
    moved(model, 0.1)
    for copies in (1, 3):
        model.importance_samples = copies
        assert model.log_prob(x).isfinite().all()
    samples = model.sample(3, seed=0)
    spec.check(samples)
    torch.testing.assert_close(model.sample(2, seed=0), samples[:2], atol=1e-4, rtol=1e-4)
