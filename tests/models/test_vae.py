"""Tests of the VAE's bound against exact values."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from latent_tools import all_images, assert_ordered, averaged, bounds, moved, plane
from shapes import data, every_spec
from torch import Tensor, nn

import zoo
from zoo.data.spec import DataSpec
from zoo.errors import InvalidData, ZooError
from zoo.models.core import rng
from zoo.models.core.distributions import Transformed
from zoo.models.families.decoder_likelihood import discretised_logistic_log_prob
from zoo.models.vae import VAE
from zoo.models.vae_hierarchical import HierarchicalVAE


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def trained_on_tiny_images(steps: int = 150) -> VAE:
    model = VAE(DataSpec((1, 2, 2), 4), latent_dim=2, width=8, hidden=32).double()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        rows = torch.randint(4, (64, 1, 2, 1), generator=generator)
        loss = -model.log_prob(rows.repeat(1, 1, 1, 2)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def tiny() -> VAE:
    torch.manual_seed(0)
    return trained_on_tiny_images()


def test_the_bound_sums_to_at_most_one_over_all_images(tiny: VAE) -> None:
    x = all_images()
    elbo = averaged(tiny, x, 200)
    total = elbo.exp().sum().item()
    assert 0.2 < total <= 1 + 1e-3  # the bound is not far below 1: the model has learned
    # The model's own p(x), by enumeration over a grid of latents, sums to one and lies above the bound.
    with torch.no_grad():
        axis = torch.linspace(-6, 6, 81, dtype=torch.float64)
        z = torch.cartesian_prod(axis, axis)
        log_prior = torch.log_softmax(-0.5 * z.square().sum(1), 0)
        mean, log_scale = tiny.decode(z)
        joint = discretised_logistic_log_prob(x[:, None], mean, log_scale, 4).flatten(2).sum(2) + log_prior
        evidence = joint.logsumexp(1)
    assert evidence.exp().sum().item() == pytest.approx(1, abs=1e-6)
    trained_on = (x[..., 0] == x[..., 1]).flatten(1).all(1)
    assert (elbo <= evidence + 0.3).all()  # 200 draws leave some noise on each unlikely image
    assert (elbo[trained_on] <= evidence[trained_on] + 0.02).all()
    assert evidence[trained_on].exp().sum() > 0.5


def test_training_beats_the_uniform_distribution(tiny: VAE) -> None:
    rows = torch.tensor(list(itertools.product(range(4), repeat=2)), dtype=torch.float64).view(-1, 1, 2, 1)
    assert averaged(tiny, rows.repeat(1, 1, 1, 2), 20).mean() > -4 * math.log(4) + 1


class Constant(nn.Module):
    """The affine map x -> (A x + b, c), used instead of a trained network."""

    def __init__(self, weight: Tensor, shift: Tensor, tail: Tensor) -> None:
        super().__init__()
        self.weight, self.shift, self.tail = nn.Parameter(weight), nn.Parameter(shift), nn.Parameter(tail)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x @ self.weight.T + self.shift, self.tail.expand(len(x), -1)], 1)


def unbounded(value: Tensor, low: float, high: float) -> Tensor:
    """Return the inverse of soft_bound."""
    half = (high - low) / 2
    return half * torch.atanh((value - (low + high) / 2) / half)


def linear_gaussian(error: float) -> tuple[VAE, torch.distributions.Distribution]:
    """Return a model x = W z + mu + s eps, W with orthogonal columns, whose posterior is a diagonal Gaussian.

    ``error`` is the distance of the approximate posterior from the exact one.
    """
    torch.manual_seed(4)
    dim, latent, s = 5, 2, 0.7
    w = torch.linalg.qr(torch.randn(dim, latent, dtype=torch.float64))[0] * torch.tensor([1.5, 0.6])
    mu = torch.randn(dim, dtype=torch.float64)
    precision = 1 + (w.T @ w).diagonal() / s**2
    gain = (w / s**2).T / precision[:, None]
    log_std = -0.5 * precision.log() + 0.3 * error
    model = VAE(DataSpec((dim,)), latent_dim=latent).double().eval()
    model.encoder = Constant(gain, error - gain @ mu, unbounded(log_std, -7, 7))
    decoder_tail = torch.full((dim,), math.log(s), dtype=torch.float64)
    model.decoder = Constant(w, mu, unbounded(decoder_tail, math.log(1e-3), math.log(1e3)))
    evidence = torch.distributions.MultivariateNormal(
        mu, w @ w.T + s**2 * torch.eye(dim, dtype=torch.float64)
    )
    return model, evidence


def test_the_elbo_of_a_linear_gaussian_model_equals_its_evidence() -> None:
    model, evidence = linear_gaussian(error=0.0)
    x = evidence.sample((6,))
    torch.testing.assert_close(averaged(model, x, 4000), evidence.log_prob(x), atol=0.06, rtol=0)
    # With the exact posterior every importance weight is p(x): the bound is tight draw by draw.
    model.importance_samples = 20
    torch.testing.assert_close(model.log_prob(x), evidence.log_prob(x), atol=1e-9, rtol=0)


def test_bounds_are_ordered_with_a_wrong_posterior() -> None:
    model, evidence = linear_gaussian(error=0.6)
    x = evidence.sample((300,))
    means = []
    for copies, salts in ((1, 40), (10, 10), (100, 4)):
        model.importance_samples = copies
        means.append(averaged(model, x, salts).mean().item())
    means.append(evidence.log_prob(x).mean().item())
    assert means[0] + 0.1 < means[1] < means[2] + 1e-3
    assert means[1] + 0.01 < means[2] <= means[3] + 0.01
    assert means[3] - means[2] < 0.05


def test_elbo_gap_is_the_divergence_to_the_exact_posterior() -> None:
    exact, evidence = linear_gaussian(error=0.0)
    wrong, _ = linear_gaussian(error=0.6)
    x = evidence.sample((4,))
    (m0, s0), (m1, s1) = exact.posterior(x), wrong.posterior(x)
    q, p = torch.distributions.Normal(m1, s1.exp()), torch.distributions.Normal(m0, s0.exp())
    gap = torch.distributions.kl_divergence(q, p).sum(1)
    assert (gap > 0.1).all()
    torch.testing.assert_close(averaged(wrong, x, 4000), evidence.log_prob(x) - gap, atol=0.08, rtol=0)


COMBINATIONS = [
    (posterior, prior) for posterior in ("gaussian", "iaf") for prior in ("normal", "mixture", "flow")
]


@pytest.mark.parametrize(("posterior", "prior"), COMBINATIONS)
def test_bounds_are_ordered_below_the_evidence_by_quadrature(posterior: str, prior: str) -> None:
    latents = {"posterior": posterior, "prior": prior, "flow_hidden": (8,), "components": 3}
    model = VAE(DataSpec((1, 2, 2), 4), latent_dim=2, width=4, hidden=8, latents=latents)
    model = moved(
        model, 0.15 if prior == "flow" else 0.3
    )  # the ELBO's variance grows fast with a flow's weights
    x = all_images()[::9]
    z, log_area = plane(9, 301)
    with torch.no_grad():
        if isinstance(model.prior, Transformed):  # nodes around the posterior's samples
            log_prior = model.prior.base.log_prob(z) + log_area
            z, _ = model.prior.transform.inverse(z)
        else:
            log_prior = model.prior.log_prob(z) + log_area
        assert log_prior.logsumexp(0).item() == pytest.approx(0, abs=1e-4)
        mean, log_scale = model.decode(z)
        evidence = []
        for image in x:
            log_mass = discretised_logistic_log_prob(image, mean, log_scale, 4).flatten(1).sum(1)
            evidence.append((log_mass + log_prior).logsumexp(0))
    assert_ordered(bounds(model, x), torch.stack(evidence).mean().item())


@pytest.mark.parametrize("dim", [1, 2])
def test_the_density_of_an_iaf_sample_follows_the_change_of_variables(dim: int) -> None:
    model = moved(
        VAE(DataSpec((3,)), latent_dim=dim, hidden=8, latents={"posterior": "iaf", "flow_hidden": (8, 8)})
    )
    encoding = model.encode(torch.randn(1, 3, dtype=torch.float64))
    mean, log_std, features = (t.detach() for t in encoding)
    assert model.flow is not None
    key = rng.keys(3, count=1)
    with rng.keyed(key):
        sample = model.sample_posterior(encoding)
    with rng.keyed(key):
        e = rng.normal(mean)

    def push(noise_: Tensor) -> Tensor:
        return model.flow(mean + log_std.exp() * noise_[None], features)[0][0]

    jacobian = torch.autograd.functional.jacobian(push, e[0])
    torch.testing.assert_close(push(e[0])[None], sample.z)
    normal = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), 1.0)
    log_q = normal.log_prob(e).sum() - torch.linalg.slogdet(jacobian)[1]
    torch.testing.assert_close(sample.log_ratio, (normal.log_prob(sample.z).sum() - log_q)[None])
    assert abs(jacobian.det() - log_std.exp().prod()) > 0.01, "the flow is not the identity"


@every_spec
def test_a_vae_accepts_every_shape(spec: DataSpec) -> None:
    model = VAE(spec)
    x = data(spec, 4)
    model.log_prob(x).mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.eval()
    for importance_samples in (1, 3):
        model.importance_samples = importance_samples
        value = model.log_prob(x)
        assert value.shape == (4,)
        assert value.isfinite().all()
    model.double()  # in which no mean is so near to a half that rounding moves it to another level
    for sample_pixels in (False, True):
        model.sample_pixels = sample_pixels
        samples = model.sample(4, seed=0)
        assert samples.shape == (4, *spec.shape)
        spec.check(samples)
        torch.testing.assert_close(model.sample(2, seed=0), samples[:2], atol=1e-4, rtol=1e-4)


def test_invalid_settings_and_data_of_a_vae_are_an_error() -> None:
    with pytest.raises(ZooError):
        VAE(DataSpec((2,)), importance_samples=0)
    with pytest.raises(ZooError, match=r"latents\.posterior must be gaussian or iaf"):
        VAE(DataSpec((2,)), latents={"posterior": "maf"})
    with pytest.raises(ZooError, match=r"latents\.prior must be normal, mixture or flow"):
        VAE(DataSpec((2,)), latents={"prior": "vamp"})
    with pytest.raises(ZooError, match="hierarchy"):
        HierarchicalVAE(DataSpec((2,)), layers=1)
    with pytest.raises(InvalidData):
        VAE(DataSpec((1, 2, 2), 4)).eval().log_prob(torch.full((1, 1, 2, 2), 4))


def test_the_yaml_settings_are_the_defaults() -> None:
    spec = DataSpec((1, 8, 8), 17)
    shipped = sum(p.numel() for p in zoo.build("vae", spec).parameters())
    assert shipped == sum(p.numel() for p in VAE(spec).parameters())
    assert 100_000 < shipped < 300_000
