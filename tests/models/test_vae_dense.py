"""The dense VAE: Bernoulli likelihood, softplus deviations, importance sampling, parts of the bound."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn import functional as F

import zoo
from zoo.models.core import rng

SPEC = zoo.DataSpec((1, 2, 3), levels=2, classes=2)
X = torch.tensor([[[[1.0, 0, 1], [0, 0, 1]]], [[[0, 0, 0], [1, 1, 1]]]]).double()


def build(spec=SPEC, **settings):
    torch.manual_seed(0)
    small = {"latent_dim": 1, "encoder": [5], "decoder": [4]} | settings
    return zoo.build("vae_dense", spec, **small).double().eval()


def truth(model, x):
    """Return log p(x) by the trapezoid rule over the one latent."""
    z = torch.linspace(-9, 9, 4001).double()[:, None]
    (logits,) = model.decode(z)
    conditional = Bernoulli(logits=logits).log_prob(x).flatten(1).sum(1)
    prior = Normal(0.0, 1.0).log_prob(z[:, 0])
    return (conditional + prior).logsumexp(0) + math.log(float(z[1, 0] - z[0, 0]))


def test_the_bound_is_a_bernoulli_reconstruction_less_the_divergence():
    model = build()
    mean, log_std = model.encode(X)
    raw = model.encoder(X.flatten(1))[:, 1:]
    torch.testing.assert_close(log_std.exp(), F.softplus(raw))
    with rng.keyed(rng.content_keys(X)):
        z = mean + log_std.exp() * rng.normal(mean)
    expected = Bernoulli(logits=model.decoder(z).view(2, 1, 2, 3)).log_prob(X).flatten(1).sum(1)
    divergence = kl_divergence(Normal(mean, log_std.exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(model.log_prob(X), expected - divergence)
    reconstruction, kl = model.bound_parts(X)
    torch.testing.assert_close(reconstruction, expected)
    torch.testing.assert_close(kl, divergence)


def test_many_importance_samples_reach_the_likelihood_in_evaluation_only():
    model, elbo = build(importance_samples=3000), build()
    exact = torch.stack([truth(model, x) for x in X])
    torch.testing.assert_close(model.log_prob(X), exact, atol=0.02, rtol=0)
    torch.testing.assert_close(model.validation_log_prob(X), elbo.log_prob(X))


def test_the_memory_of_the_importance_bound_is_constant_in_the_samples(monkeypatch):
    rows = []
    model = build(importance_samples=2000)
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda z, c=None: rows.append(len(z)) or decode(z, c))
    model.log_prob(X)
    assert sum(rows) == 2000 * len(X)
    assert max(rows) <= 16 * len(X)


def test_training_weighs_the_divergence_by_beta_and_evaluation_does_not():
    model = build(beta=0.25)
    with rng.keyed(rng.keys(0, count=2)):
        trained = model.train().log_prob(X)
    with rng.keyed(rng.keys(0, count=2)):
        evaluated = model.eval().log_prob(X)
    mean, log_std = model.encode(X)
    kl = kl_divergence(Normal(mean, log_std.exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(trained - evaluated, 0.75 * kl)


def test_samples_are_the_likely_bits_or_draws_of_them():
    likely, drawn = build(), build(sample_pixels=True)
    with rng.keyed(rng.keys(1, count=4000)):
        (logits,) = likely.decode(likely.sample_prior(4000, 1.0))
    assert torch.equal(likely.sample(4000, seed=1), (logits >= 0).double())
    samples = drawn.sample(4000, seed=1)
    assert set(samples.unique().tolist()) == {0.0, 1.0}
    error = (samples.mean(0) - torch.sigmoid(logits).mean(0)).abs().max()
    assert error < 5 * math.sqrt(0.25 / 4000)


@pytest.mark.parametrize("spec", [zoo.DataSpec((3,)), zoo.DataSpec((1, 2, 2), 4)], ids=str)
def test_other_data_have_the_usual_likelihood_of_a_decoder(spec):
    model = build(spec, std="exp", activation="softplus")
    x = torch.zeros(2, *spec.shape)
    assert len(model.decode(torch.zeros(2, 1).double())) == 2
    assert model.log_prob(x).isfinite().all()


def test_the_parts_of_a_conditional_bound_are_those_of_the_likely_label():
    model = build(conditional=True)
    reconstruction, kl = model.bound_parts(X)
    given = torch.stack([model.log_prob(X, torch.full((2,), label)) for label in range(2)])
    torch.testing.assert_close(reconstruction - kl, given.max(0).values)


def circle_truth(model, x):
    """Return log p(x) by the mean over a grid of the circle, on which the prior is uniform."""
    t = torch.linspace(0, 2 * math.pi, 2001).double()[:-1, None]
    (logits,) = model.decode(torch.cat([t.cos(), t.sin()], 1))
    return Bernoulli(logits=logits).log_prob(x).flatten(1).sum(1).logsumexp(0) - math.log(len(t))


def on_sphere(**settings):
    model = build(posterior="vmf", **settings)
    with torch.no_grad():
        model.encoder[-1].weight.mul_(
            2
        )  # so that directions and concentrations differ from example to example
        model.decoder[-1].weight.mul_(4)
    return model


def test_the_bound_on_a_sphere_is_below_the_likelihood_and_many_samples_reach_it():
    model, elbo = on_sphere(importance_samples=3000), on_sphere()
    exact = torch.stack([circle_truth(model, x) for x in X])
    torch.testing.assert_close(model.log_prob(X), exact, atol=0.02, rtol=0)
    reconstruction, kl = elbo.bound_parts(X)
    torch.testing.assert_close(reconstruction - kl, elbo.log_prob(X))
    many = X.repeat(500, 1, 1, 1)
    with rng.keyed(rng.keys(0, count=len(many))):
        bounds = elbo.train().log_prob(many).view(500, 2)
    assert (bounds.mean(0) < exact).all()
    assert (bounds.mean(0) > exact - 3).all()


def test_latents_on_a_sphere_are_unit_vectors_of_one_more_coordinate_and_have_no_temperature():
    model = build(posterior="vmf", latent_dim=2)
    with rng.keyed(rng.keys(1, count=500)):
        z = model.sample_prior(500, 1.0)
    assert z.shape == (500, 3)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(500).double())
    assert z.mean(0).norm() < 4 / math.sqrt(500)
    mean, concentration = model.encode(X)
    torch.testing.assert_close(mean.norm(dim=1), torch.ones(2).double())
    raw = model.encoder(X.flatten(1))
    torch.testing.assert_close(concentration, 1 + F.softplus(raw[:, -1]))
    torch.testing.assert_close(mean, F.normalize(raw[:, :3]))
    with pytest.raises(zoo.ZooError, match="no temperature"):
        model.sample(2, temperature=0.5)
    assert model.to_latents(X).norm(dim=1).allclose(torch.ones(2).double())


def test_training_on_a_sphere_reaches_every_parameter_and_raises_the_bound():
    model = build(posterior="vmf", latent_dim=3, encoder=[16], decoder=[16]).train()
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    losses = []
    for step in range(60):
        with rng.keyed(rng.keys(step, count=2)):
            loss = -model.log_prob(X).mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and bool((p.grad != 0).any()) for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) / 20 < sum(losses[:20]) / 20 - 0.5
