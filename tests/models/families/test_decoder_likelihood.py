"""Tests of the discretised logistic and the decoder likelihood against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from shapes import data, every_spec

from zoo.data.spec import DataSpec
from zoo.models.core import rng
from zoo.models.families.binary import sample_bits
from zoo.models.families.decoder_likelihood import discretised_logistic_log_prob
from zoo.models.vae import VAE


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("levels", [2, 4, 17, 256])
def test_masses_sum_to_one_at_any_mean_and_scale(levels: int) -> None:
    x = torch.arange(levels, dtype=torch.float64)[:, None, None]
    mean = torch.tensor([-1e6, -40.0, -0.5, 0.0, 0.3, 1.0, levels / 2, levels - 1, levels + 50.0, 1e6])
    log_scale = torch.tensor([-7.0, math.log(0.1), -1.0, 0.0, 2.0, math.log(levels), 20.0])
    mean = mean.double()[:, None].requires_grad_()
    log_scale = log_scale.double()[None, :].requires_grad_()
    log_mass = discretised_logistic_log_prob(x, mean, log_scale, levels)
    assert log_mass.shape == (levels, 10, 7)
    assert log_mass.isfinite().all()
    assert (log_mass <= 1e-12).all()
    torch.testing.assert_close(
        log_mass.exp().sum(0), torch.ones(10, 7, dtype=torch.float64), atol=1e-12, rtol=0
    )
    log_mass.sum().backward()
    assert mean.grad.isfinite().all()
    assert log_scale.grad.isfinite().all()


def test_the_mass_is_a_difference_of_the_distribution_function() -> None:
    x = torch.arange(6, dtype=torch.float64)
    mean, scale = 2.3, 0.8
    upper = torch.sigmoid((x + 0.5 - mean) / scale)
    upper[-1] = 1
    expected = torch.diff(upper, prepend=torch.zeros(1, dtype=torch.float64))
    m, s = torch.full_like(x, mean), torch.full_like(x, math.log(scale))
    torch.testing.assert_close(discretised_logistic_log_prob(x, m, s, 6).exp(), expected)


@every_spec
def test_decoder_likelihoods_are_normalised_even_at_extreme_latents(spec: DataSpec) -> None:
    model = VAE(spec).double().eval()
    z = torch.randn(4, model.latent_dim, dtype=torch.float64) * torch.tensor([[0.0], [1.0], [1e3], [1e6]])
    mean, log_scale = model.decode(z)
    assert mean.shape == log_scale.shape == (4, *spec.shape)
    if spec.levels is not None:
        values = torch.arange(spec.levels, dtype=torch.float64).view(-1, 1, *[1] * len(spec.shape))
        mass = discretised_logistic_log_prob(values, mean, log_scale, spec.levels).exp().sum(0)
        torch.testing.assert_close(mass, torch.ones_like(mass), atol=1e-6, rtol=0)
    assert model.decoder_likelihood.log_prob(data(spec, 4, torch.float64), mean, log_scale).isfinite().all()


def test_sampled_pixels_follow_the_decoder_likelihood() -> None:
    model = VAE(DataSpec((1,), 5), sample_pixels=True).double().eval()
    samples = model.sample(20000, temperature=0.0, seed=1)
    mean, log_scale = model.decode(torch.zeros(1, model.latent_dim, dtype=torch.float64))
    values = torch.arange(5, dtype=torch.float64)[:, None]
    mass = discretised_logistic_log_prob(values, mean, log_scale, 5).exp().flatten()
    counts = torch.bincount(samples.long().flatten(), minlength=5) / 20000
    torch.testing.assert_close(counts, mass.detach().to(counts.dtype), atol=0.015, rtol=0)
    model.sample_pixels = False
    rounded = model.spec.quantise(mean.detach())
    assert (model.sample(3, temperature=0.0, seed=1) == rounded).all()


def test_the_more_likely_bits_count_as_a_draw_of_noise():
    logits = torch.tensor([[-1.0, 0.0, 2.0]])
    with rng.keyed(rng.keys(0, count=1)):
        assert sample_bits(logits, temperature=0).tolist() == [[0, 1, 1]]
        after = rng.uniform(logits)
        rng.seek(0)
        sample_bits(logits)
        assert rng.uniform(logits).equal(after)
