"""Tests of base distributions against torch's, and of samples against their density."""

from __future__ import annotations

import pytest
import torch
from torch import distributions as reference

import zoo
from zoo.models.core import rng
from zoo.models.core.distributions import MixtureOfNormals, make_base


def test_the_standard_normal_has_the_density_of_torchs():
    z = 3 * torch.randn(5, 2, 3, dtype=torch.float64)
    expected = reference.Normal(0.0, 1.0).log_prob(z).sum((1, 2))
    torch.testing.assert_close(make_base("normal", (2, 3)).log_prob(z), expected)


@pytest.mark.parametrize("components", [1, 4])
@pytest.mark.parametrize("context", [0, 3])
def test_density_equals_torchs(components, context):
    base = MixtureOfNormals((2, 3), components, context).double()
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    given = torch.eye(3, dtype=torch.float64)[[0, 2, 1, 1, 0]] if context else None
    z = torch.randn(5, 2, 3, dtype=torch.float64)
    values = base.log_prob(z, given)
    for i in range(5):
        mean, log_std, log_weight = (p[0] for p in base.mixture(given[i : i + 1] if context else None))
        expected = reference.MixtureSameFamily(
            reference.Categorical(logits=log_weight),
            reference.Independent(reference.Normal(mean, log_std.exp()), 1),
        ).log_prob(z[i].flatten())
        assert values[i].item() == pytest.approx(expected.item(), abs=1e-12)


def test_samples_follow_the_density():
    """Moments of the samples have their closed form, overall and around each component."""
    base = MixtureOfNormals((3,), 3)
    with torch.no_grad():
        base.log_std.copy_(torch.randn(3, 3) * 0.3)
        base.mean.mul_(4)
        base.weight.copy_(torch.tensor([0.0, 1.0, -1.0]))
        with rng.keyed(rng.keys(0, count=40_000)):
            z = base.sample(40_000)
        log_weight, mean, std = base.weight.log_softmax(0), base.mean, base.log_std.exp()
        # moments in closed form
        share = log_weight.exp()[:, None]
        first = (share * mean).sum(0)
        second = (share * (mean.square() + std.square())).sum(0) - first.square()
        nearest = (((z[:, None] - mean) / std).square().sum(2)).argmin(1)
        within = torch.stack([z[nearest == k].std(0) for k in range(3)])
    torch.testing.assert_close(z.mean(0), first, rtol=0, atol=0.1)
    torch.testing.assert_close(z.var(0), second, rtol=0.03, atol=0)
    torch.testing.assert_close(within, std, rtol=0.04, atol=0)


def test_temperature_zero_gives_the_means():
    base = make_base("diagonal", (4,))
    with torch.no_grad():
        base.mean.add_(torch.arange(4.0))
    assert torch.equal(base.sample(2, temperature=0.0), base.mean.expand(2, 4))


def test_an_unknown_base_is_an_error():
    with pytest.raises(zoo.ZooError, match="base must be normal, diagonal or mixture"):
        make_base("cauchy", (2,))  # type: ignore[arg-type]
