"""Tests of diffusion against closed forms, with the known optimal denoiser of Gaussian data."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import zoo
from zoo.errors import ZooError
from zoo.models.core import rng
from zoo.models.core.nfe import count_nfe
from zoo.models.diffusion import Diffusion
from zoo.models.families.denoising import (
    kl_coefficients,
    posterior_mean,
    schedule_angles,
    step_variance,
)

SCHEDULES = pytest.mark.parametrize("schedule", ["linear", "cosine"])


LINE = zoo.DataSpec((1,))


class Optimal(nn.Module):
    """The denoiser of x_0 ~ N(0, std^2): E[a e - s x_0 | x_t], or E[e | x_t]."""

    def __init__(self, std, prediction="v"):
        super().__init__()
        self.std, self.prediction = std, prediction
        self.weight = nn.Parameter(torch.zeros((), dtype=torch.float64))  # has the model's dtype

    def forward(self, t, x, context=None):
        angle = (t * (math.pi / 2)).reshape(-1, *[1] * (x.ndim - 1))
        a, s = angle.cos(), angle.sin()
        marginal = (a * self.std) ** 2 + s**2
        noise_part = s / marginal * x
        return noise_part if self.prediction == "eps" else (noise_part - s * x) / a


def optimal(std=0.5, spec=LINE, prediction="v", **settings):
    solver = {"atol": 1e-7, "rtol": 1e-7}
    model = Diffusion(spec, prediction=prediction, hidden=(4,), solver=solver, **settings)
    model.ode.field.network = Optimal(std, prediction)
    return model.double().eval()


@pytest.mark.parametrize("prediction", ["v", "eps"])
def test_ode_of_the_optimal_denoiser_has_the_density_of_the_gaussian(prediction):
    model = optimal(0.5, prediction=prediction)
    x = torch.linspace(-1.5, 1.5, 7, dtype=torch.float64)[:, None]
    truth = torch.distributions.Normal(0.0, 0.5).log_prob(x).flatten()
    assert model.likelihood == "estimate"
    with torch.no_grad():
        torch.testing.assert_close(model.log_prob(x), truth, rtol=0, atol=5e-4)
        z, _ = model.transform(x)
        torch.testing.assert_close(z, x / 0.5, rtol=0, atol=1e-3)
        torch.testing.assert_close(model.transform.inverse(z)[0], x, rtol=0, atol=1e-5)


def chain_variance(model, std):
    """Return the variance of the chain's samples: every step is linear and adds independent noise."""
    variance, grid, steps = 1.0, model.grid, len(model.grid) - 1
    for t in range(steps, 0, -1):
        here, there = grid[t], grid[t - 1]
        # E[x_0 | x_t] = c x_t
        c = math.cos(here) * std**2 / ((math.cos(here) * std) ** 2 + math.sin(here) ** 2)
        one = torch.ones(())
        if t > 1:
            factor = posterior_mean(here, there, one, c * one).item()
            variance = factor**2 * variance + step_variance(here, there, model.variance)
        else:
            variance = c**2 * variance + model.decoder_std() ** 2
    return variance


@pytest.mark.parametrize("timesteps", [10, 100])
@pytest.mark.parametrize("variance", ["small", "large"])
@SCHEDULES
def test_bound_is_below_the_density_of_the_chain(schedule, variance, timesteps):
    std, copies = 0.5, 2000
    model = optimal(
        std,
        schedule={"timesteps": timesteps, "form": schedule},
        variance=variance,
        likelihood="elbo",
        terms=None,
    )
    assert model.likelihood == "lower bound"
    x = torch.tensor([[0.0], [0.4], [-1.0]], dtype=torch.float64)
    truth = torch.distributions.Normal(0.0, math.sqrt(chain_variance(model, std))).log_prob(x).flatten()
    with rng.keyed(rng.keys(1, count=3 * copies)), torch.no_grad():
        values = model.log_prob(x.repeat(copies, 1)).view(copies, 3)
    error = values.std(0) / math.sqrt(copies)
    assert (values.mean(0) < truth + 4 * error).all()
    assert timesteps == 10 or (values.mean(0) > truth - 1.5).all(), "the bound is close to the density"


class Point(nn.Module):
    """The denoiser of data that are always x_0, which has no error."""

    def __init__(self, x_0):
        super().__init__()
        self.x_0, self.weight = x_0, nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, t, x, context=None):
        angle = (t * (math.pi / 2)).reshape(-1, *[1] * (x.ndim - 1))
        return (angle.cos() * x - self.x_0) / angle.sin()


@pytest.mark.parametrize("variance", ["small", "large"])
@SCHEDULES
def test_bound_of_a_denoiser_without_error_is_decoder_minus_prior_minus_variances(schedule, variance):
    """The bound is the decoder minus the prior's KL minus the KL of the variances."""
    x_0, settings = 1000.0, {"timesteps": 40, "form": schedule}
    model = optimal(schedule=settings, variance=variance, likelihood="elbo", terms=None)
    model.ode.field.network = Point(x_0)
    angle = schedule_angles(40, schedule)
    last = torch.distributions.Normal(angle[-1].cos() * x_0, angle[-1].sin())
    prior = torch.distributions.kl_divergence(last, torch.distributions.Normal(0.0, 1.0)).item()
    assert prior > 0.5
    decoder = math.sin(angle[1]) * (1.0 if variance == "large" else math.sqrt(0.5))
    first = torch.distributions.Normal(x_0, decoder).log_prob(torch.tensor(x_0)).item()
    steps = 0.0  # KL of two Gaussians of the same mean
    for here, there in zip(angle[2:].tolist(), angle[1:-1].tolist(), strict=True):
        q, p = (
            torch.distributions.Normal(0.0, math.sqrt(step_variance(here, there, kind)))
            for kind in ("small", variance)
        )
        steps += torch.distributions.kl_divergence(q, p).item()
    with torch.no_grad():
        result = model.log_prob(torch.tensor([[x_0]], dtype=torch.float64)).item()
    assert result == pytest.approx(first - prior - steps, abs=1e-4)


@pytest.mark.parametrize("variance", ["small", "large"])
@SCHEDULES
def test_bound_of_the_optimal_denoiser_is_its_closed_form(schedule, variance):
    """The average over data uses Var(v | x_t) = std^2 / Var(x_t) and Var(x_0 | x_t) = s^2 Var(v | x_t)."""
    std, copies = 0.5, 20_000
    model = optimal(
        std, schedule={"timesteps": 40, "form": schedule}, variance=variance, likelihood="elbo", terms=None
    )
    angle = schedule_angles(40, schedule)
    spread = std**2 / ((angle.cos() * std).square() + angle.sin().square())
    weight, constant = kl_coefficients(angle, variance)
    far = angle[-1].sin().square()
    prior = 0.5 * (far + (angle[-1].cos() * std).square() - 1 - far.log())
    decoder = model.decoder_std()
    missed = angle[1].sin().square() * spread[1]
    first = -0.5 * math.log(2 * math.pi * decoder**2) - 0.5 * missed / decoder**2
    truth = (first - prior - constant.sum() - (weight * spread[2:]).sum()).item()
    x = std * torch.randn(copies, 1, dtype=torch.float64)
    with torch.no_grad():
        values = model.log_prob(x)
    assert abs(values.mean().item() - truth) < 4 * values.std().item() / math.sqrt(copies)


@pytest.mark.parametrize("prediction", ["v", "eps"])
def test_a_few_terms_estimate_the_sum_of_all_without_bias(prediction):
    x, copies = torch.tensor([[0.3]], dtype=torch.float64), 3000
    means, errors = [], []
    for terms in (None, 5):
        model = optimal(
            0.2, prediction=prediction, schedule={"timesteps": 60}, likelihood="elbo", terms=terms
        )
        assert model.likelihood_details()["terms"] == (60 if terms is None else 6)
        with rng.keyed(rng.keys(2, count=copies)), torch.no_grad():
            values = model.log_prob(x.repeat(copies, 1))
        means.append(values.mean().item())
        errors.append(values.std().item() / math.sqrt(copies))
    assert abs(means[0] - means[1]) < 4 * math.hypot(*errors)
    assert errors[1] < 0.2


def test_the_integer_bound_of_a_perfect_denoiser_is_a_sum_of_masses():
    """For data that are always level 2, every KL is zero and the masses of all levels sum to one."""
    spec = zoo.DataSpec((1, 1, 2), levels=4)
    unet = {"channels": 4, "multipliers": [1]}
    model = (
        Diffusion(spec, schedule={"timesteps": 50, "first_noise": 0.0}, terms=None, unet=unet).double().eval()
    )
    state = 2 * 2.5 / 4 - 1

    class Known(nn.Module):
        def forward(self, t, x, context=None):
            angle = (t * (math.pi / 2)).reshape(-1, 1, 1, 1)
            return (angle.cos() * x - state) / angle.sin()

    model.ode.field.network = Known()
    model.ode.field.weight = nn.Parameter(torch.zeros((), dtype=torch.float64))
    x = torch.cartesian_prod(*[torch.arange(4)] * 2).view(-1, 1, 1, 2)
    with torch.no_grad():
        values = model.log_prob(x)
    assert values[10].item() == pytest.approx(0, abs=1e-3), "x = (2, 2)"
    assert values.exp().sum().item() <= 1 + 1e-9
    assert (model.sample(5) == 2).all()


@pytest.mark.parametrize("prediction", ["v", "eps"])
def test_ddim_converges_to_the_ode(prediction):
    """For data N(0, std^2) the map from latent to data is a scaling; DDIM's error falls with its steps."""
    std, errors = 0.5, {}
    for steps in (10, 100, 1000):
        model = optimal(std, prediction=prediction, sampler={"method": "ddim", "steps": steps})
        with rng.keyed(rng.keys(0, count=64)):
            z = model.base.sample(64)
        x = model.sample(64, seed=0)
        errors[steps] = (x - std * z).abs().max().item()
    assert errors[100] < 0.3 * errors[10]
    assert errors[1000] < 0.3 * errors[100]
    assert errors[1000] < 5e-3
    ode = optimal(std, prediction=prediction, sampler={"method": "ode"})
    torch.testing.assert_close(ode.sample(64, seed=0), std * z, rtol=0, atol=5e-3)


@pytest.mark.parametrize("variance", ["small", "large"])
def test_ancestral_samples_have_the_variance_of_the_data(variance):
    """A step's true variance lies between ``small`` and ``large``, so with many steps both are right."""
    model = optimal(0.5, variance=variance, sampler={"steps": None}, schedule={"form": "linear"})
    samples = model.sample(5000, seed=0)
    assert abs(samples.mean().item()) < 4 * 0.5 / math.sqrt(5000)
    assert samples.std().item() == pytest.approx(0.5, rel=0.04)
    few = {}
    for kind in ("small", "large"):
        model = optimal(1.0, variance=kind, sampler={"steps": 4})
        few[kind] = model.sample(5000, seed=0).std().item()
    assert few["small"] < few["large"], "with few steps they bracket the variance"


def test_guidance_extrapolates_and_labels_are_dropped_in_training():
    spec = zoo.DataSpec((1, 2, 2), levels=4, classes=3)
    settings = {"conditional": True, "unet": {"channels": 4, "multipliers": [1]}}
    torch.manual_seed(0)
    model = Diffusion(spec, sampler={"guidance": 2.0, "steps": 3}, **settings).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x, label = torch.randn(4, 1, 2, 2), model.one_hot(torch.tensor([0, 1, 2, 0]), 4)
    angle = torch.tensor(0.8)
    with torch.no_grad():
        given, free = (model.velocity.at(angle, x, c) for c in (label, torch.zeros_like(label)))
        _, guided = model.denoise(angle, x / 100, label, 2.0)
        given_small, free_small = (
            model.velocity.at(angle, x / 100, c) for c in (label, torch.zeros_like(label))
        )
    assert not torch.allclose(given, free)
    torch.testing.assert_close(guided, 3 * given_small - 2 * free_small, rtol=1e-4, atol=1e-5)

    heard = []
    network = model.ode.field.network
    network.register_forward_pre_hook(lambda module, args: heard.append(args[2]))
    data, y = torch.randint(4, (500, 1, 2, 2)), torch.randint(3, (500,))
    model.train().matching_loss(data, y=y)
    share = (heard[-1].sum(1) == 0).float().mean().item()
    assert share == pytest.approx(0.1, abs=0.06)
    model.eval().matching_loss(data, y=y)
    assert (heard[-1].sum(1) == 1).all()
    for method, conditional in (("ancestral", False), ("ode", True)):
        with pytest.raises(ZooError, match="guidance"):
            Diffusion(spec, sampler={"guidance": 1.0, "method": method}, conditional=conditional)


def test_the_loss_of_the_optimal_denoiser_is_least():
    x = 0.5 * torch.randn(4000, 1, dtype=torch.float64)
    for prediction in ("v", "eps"):
        losses = {}
        for std in (0.25, 0.5, 1.0):
            model = optimal(std, prediction=prediction)
            with rng.keyed(rng.keys(0, count=len(x))):
                losses[std] = model.matching_loss(x).mean().item()
        assert min(losses, key=losses.get) == 0.5


@SCHEDULES
def test_the_loss_visits_every_step_equally_often_and_never_the_data(schedule):
    model, times = optimal(schedule={"timesteps": 5, "form": schedule}), []
    model.velocity.network.register_forward_pre_hook(lambda _, given: times.append(given[0]))
    n = 4000
    model.matching_loss(torch.randn(n, 1, dtype=torch.float64))
    values, counts = times[0].unique(return_counts=True)
    expected = schedule_angles(5, schedule)[1:] * (2 / math.pi)
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-6)
    assert (counts / n - 0.2).abs().max() < 5 * math.sqrt(0.2 * 0.8 / n)


def step_weights(model, angle):
    """Return the weight of the squared error of v at each step 1..T in the bound of continuous data."""
    first = 0.5 * (angle[1].sin() / model.decoder_std()).square()
    return torch.cat([first[None], kl_coefficients(angle, model.variance)[0]])


@pytest.mark.parametrize("variance", ["small", "large"])
@SCHEDULES
def test_likelihood_weighting_draws_steps_by_their_weight_in_the_bound(schedule, variance):
    model, times = (
        optimal(schedule={"timesteps": 5, "form": schedule}, variance=variance, weighting="likelihood"),
        [],
    )
    model.velocity.network.register_forward_pre_hook(lambda _, given: times.append(given[0]))
    n, angle = 4000, schedule_angles(5, schedule)
    model.matching_loss(torch.randn(n, 1, dtype=torch.float64))
    shares = step_weights(model, angle)
    shares /= shares.sum()
    here = (times[0][:, None] - angle[1:] * (2 / math.pi)).abs().argmin(1)
    found = torch.bincount(here, minlength=5) / n
    assert ((found - shares).abs() <= 5 * (shares * (1 - shares) / n).sqrt() + 1e-9).all()


@SCHEDULES
def test_the_likelihood_weighted_loss_is_the_bound_up_to_scale_and_constant(schedule):
    """-ELBO = sum_t w_t E|v - prediction|^2 + terms without the network, for a network of any error."""
    x = 0.5 * torch.randn(100_000, 1, dtype=torch.float64)
    model = optimal(
        0.8,
        schedule={"timesteps": 20, "form": schedule},
        likelihood="elbo",
        terms=None,
        weighting="likelihood",
    )
    angle = schedule_angles(20, schedule)
    weight, far = step_weights(model, angle).sum(), angle[-1]
    prior = 0.5 * (far.sin() ** 2 + far.cos() ** 2 * x.square().mean() - 1 - 2 * far.sin().log())
    rest = prior + 0.5 * math.log(2 * math.pi * model.decoder_std() ** 2)
    with torch.no_grad(), rng.keyed(rng.keys(0, count=len(x))):
        loss, bound = model.matching_loss(x) * weight + rest, -model.log_prob(x)
    error = math.hypot(loss.std().item(), bound.std().item()) / math.sqrt(len(x))
    assert loss.mean().item() == pytest.approx(bound.mean().item(), abs=4 * error)
    assert error < 0.05


@pytest.mark.parametrize(
    ("settings", "weighting"),
    [
        ({}, "likelihood"),
        ({"prediction": "eps"}, "simple"),
        ({"likelihood": "ode"}, "simple"),
        ({"weighting": "simple"}, "simple"),
        ({"likelihood": "ode", "weighting": "likelihood"}, "likelihood"),
    ],
)
def test_steps_are_weighted_by_likelihood_where_the_bound_is_judged(settings, weighting):
    assert Diffusion(zoo.DataSpec((2,), levels=17), hidden=(4,), **settings).weighting == weighting


def test_the_errors_of_the_noise_have_no_weights_of_the_likelihood():
    with pytest.raises(ZooError, match=r"weighting=likelihood needs model\.prediction=v"):
        Diffusion(LINE, prediction="eps", weighting="likelihood", hidden=(4,))


def test_evaluations_are_counted():

    model = zoo.build("diffusion", zoo.DataSpec((1, 4, 4), levels=4), sampler={"steps": 7})
    with count_nfe() as counter:
        model.sample(2)
    assert counter.count == 7
    model.sampler = replace(model.sampler, method="ode")
    with count_nfe() as counter:
        model.sample(2)
    assert counter.count == model.ode.last_evaluations > 7


@pytest.mark.parametrize(
    "settings",
    [{"schedule": {"form": "square"}}, {"prediction": "x"}, {"schedule": {"timesteps": 1}},
     {"sampler": {"steps": 0}}, {"terms": 0}, {"sampler": {"method": "euler"}},
     {"likelihood": "exact"}, {"field": "dense"}],
)  # fmt: skip
def test_invalid_settings_are_an_error(settings):
    with pytest.raises(ZooError):
        Diffusion(LINE, **settings)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_first_step_has_at_least_the_given_noise(schedule):
    """With 17 levels the first part of the schedule is left out; the rest is divided into T steps."""
    whole, cut = schedule_angles(1000, schedule), schedule_angles(1000, schedule, 0.4 * 2 / 17)
    assert cut[1].sin().item() == pytest.approx(0.4 * 2 / 17, rel=1e-6)
    assert cut[0] == whole[0] == 0
    assert cut[-1] == whole[-1]
    assert (cut.diff() > 0).all()
    assert torch.equal(schedule_angles(1000, schedule, 0.4 * 2 / 256), whole)
    digits = zoo.build("diffusion", zoo.DataSpec((1, 8, 8), levels=17), schedule={"form": schedule})
    assert math.sin(digits.grid[1]) == pytest.approx(0.4 * 2 / 17, rel=1e-6)
    by_ode = zoo.build(
        "diffusion", zoo.DataSpec((1, 8, 8), levels=17), schedule={"form": schedule}, likelihood="ode"
    )
    assert by_ode.grid == whole.tolist()


@pytest.mark.parametrize(
    ("likelihood", "levels", "kind"),
    [
        ("elbo", 17, "lower bound"),
        ("elbo", None, "lower bound"),
        ("ode", 17, "estimate"),
        ("ode", None, "estimate"),
        ("auto", 17, "lower bound"),
        ("auto", None, "estimate"),
    ],
)
def test_the_kind_of_the_likelihood_is_that_of_its_method(likelihood, levels, kind):
    spec = zoo.DataSpec((2,), levels=levels)
    assert Diffusion(spec, likelihood=likelihood, hidden=(4,)).likelihood == kind


@pytest.mark.parametrize(("prediction", "conditional"), [("v", False), ("eps", True)])
def test_the_density_beside_the_bound_is_the_ode_density_of_the_weights(prediction, conditional):
    """The diagnostic beside the bound is the log_prob of an ODE model with the same weights."""
    spec = zoo.DataSpec((1, 2, 2), levels=17, classes=2)
    settings = {
        "solver": {"method": "rk4", "steps": 2},
        "terms": 1,
        "prediction": prediction,
        "conditional": conditional,
        "unet": {"channels": 4, "multipliers": [1]},
    }
    torch.manual_seed(0)
    by_bound = Diffusion(spec, **settings).eval()
    for parameter in by_bound.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    by_ode = Diffusion(spec, likelihood="ode", **settings).eval()
    by_ode.load_state_dict(by_bound.state_dict())
    x = torch.randint(17, (60, 1, 2, 2)).float()
    with torch.no_grad():
        bound = by_bound.log_prob(x)
        with rng.keyed(rng.keys(3, count=60)):
            diagnostics = by_bound.diagnostics(x)
            assert set(by_ode.diagnostics(x)) == {"straightness"}
        truth = -by_ode.log_prob(x[:50]).double() / (4 * math.log(2))
        assert by_bound.log_prob(x).equal(bound)
    assert set(diagnostics) == {"straightness", "bits_per_dim/ode"}
    value, unit, error, n, details = diagnostics["bits_per_dim/ode"]
    assert (unit, n, details) == ("bits/dim", 50, by_ode.likelihood_details())
    assert details["dequantisation"] == "uniform"
    assert {"solver", "steps", "trace"} <= set(details)
    assert value == pytest.approx(truth.mean().item(), abs=1e-6)
    assert error == pytest.approx(truth.std().item() / math.sqrt(50), rel=1e-4)


def test_the_density_by_the_ode_of_continuous_data_is_in_nats():
    model = optimal(0.5, likelihood="elbo")
    x = torch.linspace(-1.5, 1.5, 7, dtype=torch.float64)[:, None]
    with torch.no_grad(), rng.keyed(rng.keys(0, count=7)):
        value, unit, _, n, _ = model.diagnostics(x)["nll/ode"]
    truth = -torch.distributions.Normal(0.0, 0.5).log_prob(x).mean().item()
    assert (unit, n) == ("nats", 7)
    assert value == pytest.approx(truth, abs=5e-4)
