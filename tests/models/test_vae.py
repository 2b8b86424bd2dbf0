"""The VAE's bound against what is known exactly."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from omegaconf import OmegaConf
from shapes import data, every_spec
from torch import Tensor, nn

from zoo.data.spec import DataSpec
from zoo.errors import InvalidData, ZooError
from zoo.models.core import rng
from zoo.models.core.distributions import Transformed
from zoo.models.core.nfe import count_nfe
from zoo.models.families.decoder_likelihood import discretised_logistic_log_prob
from zoo.models.families.latent import LatentVariableModel
from zoo.models.networks.decoder import Decoder
from zoo.models.networks.encoder import Encoder
from zoo.models.vae import VAE
from zoo.models.vae_hierarchical import HierarchicalVAE

M = TypeVar("M", bound=nn.Module)
CONF = Path(__file__).resolve().parents[2] / "conf" / "model"


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


# Networks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["none", "group", "batch", "spectral"])
@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 1, 1), (1, 5, 7), (2, 16, 3), (1, 9, 33), (5,)])
def test_encoder_and_decoder_on_any_shape(shape: tuple[int, ...], norm: str) -> None:
    encoder = Encoder(shape, 6, width=8, hidden=16, norm=norm)
    decoder = Decoder(6, shape, 2, width=8, hidden=16, norm=norm)
    with count_nfe() as counter:
        features = encoder(torch.randn(3, *shape))
        output = decoder(features)
    assert counter.count == 2
    assert features.shape == (3, 6)
    assert output.shape == (3, 2 * shape[0], *shape[1:])
    output.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize("shape", [(1, 8, 8), (5,)])
def test_a_misspelt_norm_or_activation_is_refused(shape: tuple[int, ...]) -> None:
    for network in (lambda **k: Encoder(shape, 2, **k), lambda **k: Decoder(2, shape, **k)):
        with pytest.raises(ZooError):
            network(norm="layer")
        with pytest.raises(ZooError):
            network(activation="tahn")


# The decoder's likelihood -----------------------------------------------------------------------------------


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


def test_mass_is_the_difference_of_the_distribution_function() -> None:
    x = torch.arange(6, dtype=torch.float64)
    mean, scale = 2.3, 0.8
    upper = torch.sigmoid((x + 0.5 - mean) / scale)
    upper[-1] = 1
    expected = torch.diff(upper, prepend=torch.zeros(1, dtype=torch.float64))
    m, s = torch.full_like(x, mean), torch.full_like(x, math.log(scale))
    torch.testing.assert_close(discretised_logistic_log_prob(x, m, s, 6).exp(), expected)


@every_spec
def test_decoder_of_every_shape_is_normalised_and_finite_for_extreme_latents(spec: DataSpec) -> None:
    model = VAE(spec).double().eval()
    z = torch.randn(4, model.latent_dim, dtype=torch.float64) * torch.tensor([[0.0], [1.0], [1e3], [1e6]])
    mean, log_scale = model.decode(z)
    assert mean.shape == log_scale.shape == (4, *spec.shape)
    if spec.levels is not None:
        values = torch.arange(spec.levels, dtype=torch.float64).view(-1, 1, *[1] * len(spec.shape))
        mass = discretised_logistic_log_prob(values, mean, log_scale, spec.levels).exp().sum(0)
        torch.testing.assert_close(mass, torch.ones_like(mass), atol=1e-6, rtol=0)
    assert model.observation.log_prob(data(spec, 4, torch.float64), mean, log_scale).isfinite().all()


# The bound --------------------------------------------------------------------------------------------------


def all_images() -> Tensor:
    return torch.tensor(list(itertools.product(range(4), repeat=4)), dtype=torch.float64).view(-1, 1, 2, 2)


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


@torch.no_grad()
def drawn(model: LatentVariableModel, x: Tensor, draws: int) -> Tensor:
    """log_prob under independent noise, ``(draws, B)``."""
    with rng.keyed(rng.keys(1, count=draws * len(x))):
        return model.log_prob(torch.cat([x] * draws)).view(draws, len(x))


def averaged(model: LatentVariableModel, x: Tensor, draws: int) -> Tensor:
    """Mean of log_prob over independent noise, per example."""
    return drawn(model, x, draws).mean(0)


@pytest.fixture(scope="module")
def tiny() -> VAE:
    torch.manual_seed(0)
    return trained_on_tiny_images()


def test_bound_over_all_images_sums_to_at_most_one(tiny: VAE) -> None:
    x = all_images()
    elbo = averaged(tiny, x, 200)
    total = elbo.exp().sum().item()
    assert 0.2 < total <= 1 + 1e-3  # far below would be a bound that says nothing: the model has learned
    # The model's own p(x), by enumeration over a grid of latents, sums to one and lies above the bound.
    with torch.no_grad():
        axis = torch.linspace(-6, 6, 81, dtype=torch.float64)
        z = torch.cartesian_prod(axis, axis)
        log_prior = torch.log_softmax(-0.5 * z.square().sum(1), 0)
        mean, log_scale = tiny.decode(z)
        joint = discretised_logistic_log_prob(x[:, None], mean, log_scale, 4).flatten(2).sum(2) + log_prior
        evidence = joint.logsumexp(1)
    assert evidence.exp().sum().item() == pytest.approx(1, abs=1e-6)
    seen = (x[..., 0] == x[..., 1]).flatten(1).all(1)
    assert (elbo <= evidence + 0.3).all()  # 200 draws leave some noise on each unlikely image
    assert (elbo[seen] <= evidence[seen] + 0.02).all()
    assert evidence[seen].exp().sum() > 0.5


def test_learns_better_than_uniform(tiny: VAE) -> None:
    rows = torch.tensor(list(itertools.product(range(4), repeat=2)), dtype=torch.float64).view(-1, 1, 2, 1)
    assert averaged(tiny, rows.repeat(1, 1, 1, 2), 20).mean() > -4 * math.log(4) + 1


class Constant(nn.Module):
    """The affine map x -> (A x + b, c), in place of a trained network."""

    def __init__(self, weight: Tensor, shift: Tensor, tail: Tensor) -> None:
        super().__init__()
        self.weight, self.shift, self.tail = nn.Parameter(weight), nn.Parameter(shift), nn.Parameter(tail)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x @ self.weight.T + self.shift, self.tail.expand(len(x), -1)], 1)


def unbounded(value: Tensor, low: float, high: float) -> Tensor:
    """The inverse of the model's soft bound."""
    half = (high - low) / 2
    return half * torch.atanh((value - (low + high) / 2) / half)


def linear_gaussian(error: float) -> tuple[VAE, torch.distributions.Distribution]:
    """x = W z + mu + s eps with orthogonal columns in W, whose posterior is a diagonal Gaussian.

    ``error`` moves the approximate posterior away from the exact one.
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


def test_elbo_of_a_linear_gaussian_model_meets_its_evidence() -> None:
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


def moved(model: M, scale: float = 0.3) -> M:
    """In float64, every parameter moved off its start."""
    model = model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model


def plane(reach: float, steps: int) -> tuple[Tensor, float]:
    """Points of a square grid ``(steps^2, 2)`` and the log of the area that each stands for."""
    axis = torch.linspace(-reach, reach, steps, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), 2 * math.log(float(axis[1] - axis[0]))


def bounds(model: LatentVariableModel, x: Tensor) -> list[tuple[float, float]]:
    """Mean of the bound over ``x`` and its standard error, for K = 1, 8 and 64 importance samples."""
    found = []
    for copies, draws in ((1, 200), (8, 50), (64, 12)):
        model.importance_samples = copies
        values = drawn(model, x, draws).mean(1)
        found.append((float(values.mean()), float(values.std()) / math.sqrt(draws)))
    return found


def assert_ordered(found: list[tuple[float, float]], evidence: float) -> None:
    (elbo, e1), (iwae, e8), (tight, e64) = found
    assert elbo + 3 * (e1 + e8) < iwae + 1e-3
    assert iwae < tight + 3 * (e8 + e64)
    assert tight <= evidence + 4 * e64 + 1e-6
    assert evidence - tight < 0.25 * (evidence - elbo) + 4 * e64


@pytest.mark.parametrize(("posterior", "prior"), COMBINATIONS)
def test_bounds_are_ordered_below_the_evidence_by_quadrature(posterior: str, prior: str) -> None:
    model = moved(
        VAE(
            DataSpec((1, 2, 2), 4), 2, 4, 8, posterior=posterior, prior=prior, flow_hidden=(8,), components=3
        ),
        0.15
        if prior == "flow"
        else 0.3,  # far from the identity the bound of one draw has a boundless spread
    )
    x = all_images()[::9]
    z, log_area = plane(9, 301)
    with torch.no_grad():
        if isinstance(model.prior, Transformed):  # nodes where its samples come from
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
def test_the_density_of_an_iaf_draw_is_that_of_its_change_of_variables(dim: int) -> None:
    model = moved(VAE(DataSpec((3,)), dim, hidden=8, posterior="iaf", flow_hidden=(8, 8)))
    seen = model.encode(torch.randn(1, 3, dtype=torch.float64))
    mean, log_std, features = (t.detach() for t in seen)
    assert model.flow is not None
    key = rng.keys(3, count=1)
    with rng.keyed(key):
        draw = model.draw(seen)
    with rng.keyed(key):
        e = rng.normal(mean)

    def push(noise_: Tensor) -> Tensor:
        return model.flow(mean + log_std.exp() * noise_[None], features)[0][0]

    jacobian = torch.autograd.functional.jacobian(push, e[0])
    torch.testing.assert_close(push(e[0])[None], draw.z)
    normal = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), 1.0)
    log_q = normal.log_prob(e).sum() - torch.linalg.slogdet(jacobian)[1]
    torch.testing.assert_close(draw.log_ratio, (normal.log_prob(draw.z).sum() - log_q)[None])
    assert abs(jacobian.det() - log_std.exp().prod()) > 0.01, "the flow does something"


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
    # The prior's own draws see the same evidence.
    with rng.keyed(rng.keys(1, count=40_000)), torch.no_grad():
        mean, log_scale = model.decode(model.prior_draw(40_000, 1.0))
    masses = discretised_logistic_log_prob(x[:, None], mean, log_scale, 4).sum(2).exp()
    assert ((masses.mean(1) - evidence.exp()).abs() < 5 * masses.std(1) / 200).all()


def with_a_posterior_of_its_own(name: str) -> LatentVariableModel:
    """A model of vectors whose posterior is far from the prior in its deviations too."""
    if name == "hierarchical":
        model = moved(HierarchicalVAE(DataSpec((2,), 4), width=8, latents=1, layers=2), 0.3)
        with torch.no_grad():
            for layer, b in zip(model.network.down, (-0.4, 0.2), strict=True):
                layer.posterior.bias[1] = b
        return model
    model = moved(VAE(DataSpec((2,), 4), 2, hidden=8, posterior=name, flow_hidden=(8,)), 0.15)
    with torch.no_grad():
        model.encoder.layers[-1].bias[2:4] = torch.tensor([0.4, 0.2])
    return model


@pytest.mark.parametrize("name", ["gaussian", "iaf", "hierarchical"])
def test_importance_weights_average_to_the_evidence_and_the_divergence_is_their_log_ratios(name: str) -> None:
    model = with_a_posterior_of_its_own(name)
    x = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0)).double()
    n = 20_000
    with torch.no_grad(), rng.keyed(rng.keys(1, count=n)):
        location, log_scale = model.decode(model.prior_draw(n, 1.0))
        masses = discretised_logistic_log_prob(x[:, None], location, log_scale, 4).sum(2).exp()
        for image, mass in zip(x, masses, strict=True):
            many = image.expand(n, 2)
            draw = model.draw(model.encode(many))
            weights = (model.observation.log_prob(many, *model.decode(draw.z)) + draw.log_ratio).exp()
            spread = math.hypot(weights.std().item(), mass.std().item()) / math.sqrt(n)
            assert abs(weights.mean() - mass.mean()) < 5 * spread
            assert spread < 0.05 * mass.mean(), "a sharp test"
            excess = draw.kl + draw.log_ratio
            assert abs(excess.mean()) < 5 * excess.std() / math.sqrt(n) + 1e-9


@every_spec
def test_hierarchical_vae_on_every_shape(spec: DataSpec) -> None:
    model = HierarchicalVAE(spec, width=8, latents=2)
    x = data(spec, 3)
    first = model.log_prob(x)
    first.mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    with torch.no_grad():
        found = model.diagnostics(x)
    assert found["rate"].value == found["active_units"].value == 0, "the posterior starts as the prior"
    assert found["latent_units"].value >= 4
    moved(model, 0.1)
    for copies in (1, 3):
        model.importance_samples = copies
        assert model.log_prob(x).isfinite().all()
    samples = model.sample(3, seed=0)
    spec.check(samples)
    torch.testing.assert_close(model.sample(2, seed=0), samples[:2], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("posterior", ["gaussian", "iaf"])
def test_active_units_are_those_that_know_the_example(posterior: str) -> None:
    spec = DataSpec((3,))
    model = moved(VAE(spec, 4, hidden=8, posterior=posterior, flow_hidden=(8,)), 0.02)
    x = torch.randn(1000, 3, dtype=torch.float64)
    with torch.no_grad():
        last = model.encoder.layers[-1]
        last.weight.zero_()
        last.bias.zero_()

        def active() -> float:
            with rng.keyed(rng.keys(0, count=len(x))):
                return model.diagnostics(x)["active_units"].value

        assert active() == 0
        last.weight[1] = 1.0  # the mean of the second unit, alone, now follows x
        assert active() == 1


@pytest.mark.parametrize("make", [VAE, HierarchicalVAE])
def test_a_conditional_model_is_diagnosed_under_its_likeliest_labels(make: type[LatentVariableModel]) -> None:
    model = moved(make(DataSpec((1, 2, 2), 4, classes=3), width=8, conditional=True), 0.1)
    x = all_images()[::9]
    with torch.no_grad():
        labels = torch.stack([model.log_prob(x, torch.full((len(x),), y)) for y in range(3)]).argmax(0)
        found, seen = model.diagnostics(x), model.encode(x, model.one_hot(labels, len(x)))
        kl = torch.stack([model.draw(seen, model.one_hot(labels, len(x))).kl for _ in range(64)])
    assert len(labels.unique()) > 1
    assert found["rate"].value == pytest.approx(kl.mean().item(), rel=0.05)


def test_beta_changes_the_training_value_alone() -> None:
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


@every_spec
def test_vae_on_every_shape(spec: DataSpec) -> None:
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
    model.double()  # in which no mean lies so near a half that rounding takes it to another level
    for sample_pixels in (False, True):
        model.sample_pixels = sample_pixels
        samples = model.sample(4, seed=0)
        assert samples.shape == (4, *spec.shape)
        spec.check(samples)
        torch.testing.assert_close(model.sample(2, seed=0), samples[:2], atol=1e-4, rtol=1e-4)


def test_sampled_pixels_follow_the_masses() -> None:
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


def test_vae_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ZooError):
        VAE(DataSpec((2,)), importance_samples=0)
    with pytest.raises(ZooError, match="gaussian, iaf"):
        VAE(DataSpec((2,)), posterior="maf")
    with pytest.raises(ZooError, match="normal, mixture, flow"):
        VAE(DataSpec((2,)), prior="vamp")
    with pytest.raises(ZooError, match="hierarchy"):
        HierarchicalVAE(DataSpec((2,)), layers=1)
    with pytest.raises(InvalidData):
        VAE(DataSpec((1, 2, 2), 4)).eval().log_prob(torch.full((1, 1, 2, 2), 4))


# Settings ---------------------------------------------------------------------------------------------------


def test_the_shipped_settings_are_the_defaults() -> None:
    settings = OmegaConf.to_container(OmegaConf.load(CONF / "vae.yaml"))
    assert settings.pop("_target_") == "zoo.models.vae.VAE"
    spec = DataSpec((1, 8, 8), 17)
    shipped = sum(p.numel() for p in VAE(spec, **settings).parameters())
    assert shipped == sum(p.numel() for p in VAE(spec).parameters())
    assert 100_000 < shipped < 300_000
