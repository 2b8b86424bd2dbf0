"""Tests of all latent variable models: importance weights, diagnostics, beta, noise."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from latent_tools import all_images, moved
from shapes import data

from zoo.data.spec import DataSpec
from zoo.models.core import rng
from zoo.models.families.decoder_likelihood import discretised_logistic_log_prob
from zoo.models.families.latent import LatentVariableModel
from zoo.models.vae import VAE
from zoo.models.vae_hierarchical import HierarchicalVAE


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def with_a_posterior_unlike_the_prior(name: str) -> LatentVariableModel:
    """Return a model of vectors whose posterior differs from the prior in mean and standard deviation."""
    if name == "hierarchical":
        model = moved(HierarchicalVAE(DataSpec((2,), 4), width=8, latents=1, layers=2), 0.3)
        with torch.no_grad():
            for layer, b in zip(model.network.down, (-0.4, 0.2), strict=True):
                layer.posterior.bias[1] = b
        return model
    model = moved(
        VAE(DataSpec((2,), 4), latent_dim=2, hidden=8, latents={"posterior": name, "flow_hidden": (8,)}), 0.15
    )
    with torch.no_grad():
        model.encoder.layers[-1].bias[2:4] = torch.tensor([0.4, 0.2])
    return model


@pytest.mark.parametrize("name", ["gaussian", "iaf", "hierarchical"])
def test_importance_weights_average_to_the_evidence(name: str) -> None:
    model = with_a_posterior_unlike_the_prior(name)
    x = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0)).double()
    n = 20_000
    with torch.no_grad(), rng.keyed(rng.keys(1, count=n)):
        location, log_scale = model.decode(model.sample_prior(n, 1.0))
        masses = discretised_logistic_log_prob(x[:, None], location, log_scale, 4).sum(2).exp()
        for image, mass in zip(x, masses, strict=True):
            many = image.expand(n, 2)
            draw = model.sample_posterior(model.encode(many))
            weights = (model.decoder_likelihood.log_prob(many, *model.decode(draw.z)) + draw.log_ratio).exp()
            spread = math.hypot(weights.std().item(), mass.std().item()) / math.sqrt(n)
            assert abs(weights.mean() - mass.mean()) < 5 * spread
            assert spread < 0.05 * mass.mean(), "the standard error is small"
            excess = draw.kl + draw.log_ratio
            assert abs(excess.mean()) < 5 * excess.std() / math.sqrt(n) + 1e-9


@pytest.mark.parametrize("posterior", ["gaussian", "iaf"])
def test_active_units_have_a_posterior_mean_that_varies(posterior: str) -> None:
    spec = DataSpec((3,))
    model = moved(
        VAE(spec, latent_dim=4, hidden=8, latents={"posterior": posterior, "flow_hidden": (8,)}), 0.02
    )
    x = torch.randn(1000, 3, dtype=torch.float64)
    with torch.no_grad():
        last = model.encoder.layers[-1]
        last.weight.zero_()
        last.bias.zero_()

        def active() -> float:
            with rng.keyed(rng.keys(0, count=len(x))):
                return model.diagnostics(x)["active_units"].value

        assert active() == 0
        last.weight[1] = 1.0  # now only the mean of the second unit depends on x
        assert active() == 1


@pytest.mark.parametrize("make", [VAE, HierarchicalVAE])
def test_diagnostics_use_the_most_likely_labels(
    make: type[LatentVariableModel],
) -> None:
    model = moved(make(DataSpec((1, 2, 2), 4, classes=3), width=8, conditional=True), 0.1)
    x = all_images()[::9]
    with torch.no_grad():
        labels = torch.stack([model.log_prob(x, torch.full((len(x),), y)) for y in range(3)]).argmax(0)
        diagnostics, encoding = model.diagnostics(x), model.encode(x, model.one_hot(labels, len(x)))
        kl = torch.stack(
            [model.sample_posterior(encoding, model.one_hot(labels, len(x))).kl for _ in range(64)]
        )
    assert len(labels.unique()) > 1
    assert diagnostics["rate"].value == pytest.approx(kl.mean().item(), rel=0.05)


def test_beta_changes_log_prob_in_training_only() -> None:
    spec = DataSpec((1, 8, 8), 17)
    x = data(spec, 8)
    model = VAE(spec)
    values = {}
    for mode, beta in itertools.product((True, False), (0.0, 1.0, 4.0)):
        model.train(mode).beta = beta
        with rng.keyed(rng.keys(5, count=len(x))):
            values[mode, beta] = model.log_prob(x)
    assert values[False, 0.0].equal(values[False, 4.0])
    torch.testing.assert_close(values[True, 1.0], values[False, 1.0])
    kl = values[True, 0.0] - values[True, 1.0]
    assert (kl > 0).all()
    torch.testing.assert_close(values[True, 0.0] - 4 * kl, values[True, 4.0], atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("copies", [1, 20])
def test_evaluation_is_deterministic_and_independent_of_the_batch(copies: int) -> None:
    spec = DataSpec((1, 8, 8), 17)
    model = VAE(spec, importance_samples=copies).double().eval()
    x = data(spec, 6, torch.float64)
    whole = model.log_prob(x)
    assert whole.equal(model.log_prob(x))
    parts = torch.cat([model.log_prob(x[4:]), model.log_prob(x[:4])])
    torch.testing.assert_close(parts, torch.cat([whole[4:], whole[:4]]))
    assert model.likelihood_details() == {
        "bound": "IWAE" if copies > 1 else "ELBO",
        "importance_samples": copies,
    }
    model.train()
    assert not model.log_prob(x).equal(model.log_prob(x))
