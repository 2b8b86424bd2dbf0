"""log p(x) of conditional models without labels: on average never above the mixture of their densities."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import zoo
from zoo.data.spec import DataSpec
from zoo.models.core import rng
from zoo.models.core.model import GenerativeModel, mixture
from zoo.models.diffusion import Diffusion
from zoo.models.families.latent import LatentVariableModel, PosteriorSample

LINE = DataSpec((1,), classes=2)
POINTS = 20_000


class LinearGaussian(LatentVariableModel):
    """z ~ N(0, 1), x | z, y ~ N(z + 2 y, 0.5^2), with the exact posterior or one whose deviation is wrong."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__(LINE, conditional=True)
        self.factor = factor
        self.weight = nn.Parameter(torch.ones((), dtype=torch.float64))

    @staticmethod
    def shift(context: Tensor | None) -> Tensor:
        assert context is not None
        return 2 * context[:, 1:]

    def encode(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        return ((x - self.shift(context)) / 1.25, torch.full_like(x, self.factor * math.sqrt(0.2)))

    def sample_posterior(
        self, encoding: tuple[Tensor, ...], context: Tensor | None = None
    ) -> PosteriorSample:
        mean, std = encoding
        prior, posterior = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(mean, std)
        z = mean + std * rng.normal(mean)
        kl = torch.distributions.kl_divergence(posterior, prior).sum(1)
        return PosteriorSample(z, kl, (prior.log_prob(z) - posterior.log_prob(z)).sum(1), mean)

    def decode(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z + self.shift(context), torch.full_like(z, math.log(0.5))

    def exact(self, x: Tensor) -> Tensor:
        """Return log p(x), ``(B,)``."""
        centres = torch.tensor([0.0, 2.0], dtype=x.dtype)
        return (torch.distributions.Normal(centres, math.sqrt(1.25)).log_prob(x)).logsumexp(1) - math.log(2)


def points() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (POINTS, 1), generator=generator)
    return 2 * labels + math.sqrt(1.25) * torch.randn(POINTS, 1, generator=generator, dtype=torch.float64)


@torch.no_grad()
def excess(model: GenerativeModel, x: Tensor, truth: Tensor) -> tuple[float, float]:
    """Return the mean of log_prob minus the truth, and its standard error."""
    difference = model.eval().log_prob(x) - truth
    return float(difference.mean()), float(difference.std()) / math.sqrt(len(x))


def test_a_vae_with_the_exact_posterior_has_the_exact_mixture_density():
    """An importance weight of the exact posterior is p(x | y), whatever z is."""
    model, x = LinearGaussian().eval(), points()
    with torch.no_grad():
        torch.testing.assert_close(model.log_prob(x), model.exact(x), rtol=0, atol=1e-10)
        labels = torch.zeros(len(x), dtype=torch.int64)
        truth = torch.distributions.Normal(0.0, math.sqrt(1.25)).log_prob(x)[:, 0]
        assert (model.log_prob(x, labels) - truth).std() > 0.5, "the ELBO given a label is noisy"
    assert model.likelihood_details() == {"bound": "IWAE", "importance_samples": 1}


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("factor", [0.6, 1.5])
def test_a_vae_with_another_posterior_is_on_average_below_the_mixture(factor, copies):
    model, x = LinearGaussian(factor), points()
    model.importance_samples = copies
    mean, error = excess(model, x, model.exact(x))
    assert -0.3 < mean <= 3 * error


class Noisy(GenerativeModel):
    """N(2 y, 1) with Gaussian noise on its log-density, of another sign for each label."""

    family = "unknown"
    likelihood = "lower bound"

    def __init__(self) -> None:
        super().__init__(LINE, conditional=True)
        self.weight = nn.Parameter(torch.ones((), dtype=torch.float64))

    def _log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        assert context is not None
        noise = rng.normal(x)[:, 0] * (1 - 2 * context[:, 1])
        return torch.distributions.Normal(2 * context[:, 1:], 1.0).log_prob(x)[:, 0] + noise


def test_a_bound_with_noise_is_on_average_below_the_mixture():
    x = points()
    centres = torch.tensor([0.0, 2.0], dtype=x.dtype)
    truth = torch.distributions.Normal(centres, 1.0).log_prob(x).logsumexp(1) - math.log(2)
    mean, error = excess(Noisy(), x, truth)
    assert mean <= 3 * error
    model = Noisy()
    model.likelihood = "exact"  # as if its exponential were a weight
    mean, error = excess(model, x, truth)
    assert mean > 20 * error, "a log-sum of noisy values would flatter"


class Denoiser(nn.Module):
    """The optimal prediction of v for x_0 | y ~ N(y - 1/2, 0.2^2)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, t: Tensor, x: Tensor, context: Tensor) -> Tensor:
        angle = (t * (math.pi / 2)).reshape(-1, 1)
        a, s = angle.cos(), angle.sin()
        mean = context[:, 1:] - 0.5
        noise = s * (x - a * mean) / ((a * 0.2) ** 2 + s**2)
        return (noise - s * x) / a


def test_a_diffusion_bound_without_label_is_below_the_log_sum_over_labels():
    settings = {"schedule": {"timesteps": 50}, "terms": 1, "likelihood": "elbo", "hidden": (4,)}
    model = Diffusion(LINE, conditional=True, **settings)
    model.ode.field.network = Denoiser()
    model = model.double().eval()
    draws = 20_000
    x = torch.full((draws, 1), 0.05, dtype=torch.float64)
    with torch.no_grad(), rng.keyed(rng.keys(1, count=draws)):
        values = model.log_prob(x)
        given = torch.stack([model.log_prob(x, torch.full((draws,), y)) for y in range(2)])
    bound = (given.mean(1).logsumexp(0) - math.log(2)).item()
    assert values.mean() <= bound + 3 * values.std() / math.sqrt(draws)
    assert mixture(given).mean() > bound + 0.1, "a log-sum of noisy bounds would flatter"


@pytest.mark.parametrize(
    ("name", "settings", "unbiased"),
    [
        ("realnvp", {}, True),
        ("realnvp", {"pixels": {"dequantisation": "variational"}}, True),
        ("pixelcnn", {}, True),
        ("vae", {}, True),
        ("diffusion", {}, False),
        ("diffusion", {"likelihood": "ode", "solver": {"exact_dim": 0}}, False),
        ("diffusion", {"likelihood": "ode", "solver": {"exact_dim": 16}}, True),
        ("flow_matching", {"solver": {"exact_dim": 0}}, False),
        ("residual_flow", {}, True),
        ("residual_flow", {"series": {"eval_exact_dim": 2}}, False),
    ],
)
def test_only_values_whose_exponential_is_unbiased_are_declared_as_weights(name, settings, unbiased):
    model = zoo.build(name, DataSpec((1, 4, 4), 8, 3), conditional=True, **settings)
    assert model.unbiased_weights is unbiased


def test_responsibilities_bound_the_mixture_and_the_posterior_attains_it():
    values = torch.tensor([[0.0, -1.0], [-3.0, 2.0]], dtype=torch.float64)
    exact = values.exp().mean(0).log()
    torch.testing.assert_close(mixture(values), exact)
    torch.testing.assert_close(mixture(values, values + 7), exact)
    assert (mixture(values, values.flip(0)) < exact - 0.5).all()
