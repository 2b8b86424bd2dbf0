"""The Gaussian: its fit is the sample's moments, and its density torch's."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

import zoo
from zoo.errors import ZooError

MIXING = torch.tensor([[1.0, 0.0, 0.0], [0.5, 2.0, 0.0], [-1.0, 0.3, 0.7]], dtype=torch.float64)


def points(n, seed=0):
    noise = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return noise @ MIXING.T + torch.tensor([1.0, -2.0, 3.0])


def fitted(x, y=None, **settings):
    spec = zoo.DataSpec((3,), classes=2)
    model = zoo.build("gaussian", spec, **settings).double()
    labels = {} if y is None else {"y": y}
    half = len(x) // 2
    parts = [
        model.statistics(x[rows], **{name: value[rows] for name, value in labels.items()})
        for rows in (slice(half), slice(half, None))
    ]
    before = model.maximise({name: parts[0][name] + parts[1][name] for name in parts[0]})
    return model.eval(), before


def test_the_fit_has_the_mean_and_the_covariance_of_the_training_set():
    x, test = points(400), points(50, seed=1)
    model, before = fitted(x)
    reference = MultivariateNormal(x.mean(0), torch.cov(x.T, correction=0))
    torch.testing.assert_close(model.log_prob(test), reference.log_prob(test))
    standard = MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    assert before.item() == pytest.approx(standard.log_prob(x).mean().item())


def test_no_other_gaussian_has_a_higher_likelihood_on_the_training_set():
    x = points(400)
    model, _ = fitted(x)
    best = model.log_prob(x).mean()
    best.backward()
    assert all(p.grad.tril(-1).abs().max() < 1e-10 for p in [model.normal.below])
    assert model.normal.mean.grad.abs().max() < 1e-10
    assert model.normal.log_diagonal.grad.abs().max() < 1e-10


def test_with_labels_each_has_a_gaussian_and_the_density_is_their_mixture():
    x = points(400)
    y = torch.arange(400) % 2
    x[y == 1] += 2.0
    model, _ = fitted(x, y, conditional=True)
    parts = [MultivariateNormal(x[y == k].mean(0), torch.cov(x[y == k].T, correction=0)) for k in (0, 1)]
    values = torch.stack([part.log_prob(x[:9]) for part in parts])
    torch.testing.assert_close(model.log_prob(x[:9], y[:9]), values[y[:9], torch.arange(9)])
    torch.testing.assert_close(model.log_prob(x[:9]), values.logsumexp(0) - math.log(2))


def test_samples_have_the_moments_of_the_fit():
    x = points(400)
    model, _ = fitted(x)
    samples = model.sample(20_000, seed=0)
    torch.testing.assert_close(samples.mean(0), x.mean(0), atol=0.06, rtol=0)
    torch.testing.assert_close(torch.cov(samples.T), torch.cov(x.T, correction=0), atol=0.15, rtol=0)


def test_dependent_columns_need_a_ridge_and_the_error_says_so():
    x = points(100)
    x[:, 2] = x[:, 1]
    with pytest.raises(ZooError, match=r"model\.ridge"):
        fitted(x)
    assert fitted(x, ridge=1e-3)[0].log_prob(x).isfinite().all()


def test_learned_dequantisation_is_refused():
    with pytest.raises(ZooError, match="uniform"):
        zoo.build("gaussian", zoo.DataSpec((1, 2, 2), 4), pixels={"dequantisation": "variational"})
