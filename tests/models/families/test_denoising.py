"""Tests of the chain of denoising steps against Bayes' rule, quadrature and torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch

from zoo.models.families.denoising import (
    VelocityField,
    discretised_gaussian_log_prob,
    kl_coefficients,
    posterior_mean,
    schedule_angles,
    step_variance,
)

SCHEDULES = pytest.mark.parametrize("schedule", ["linear", "cosine"])


@SCHEDULES
@pytest.mark.parametrize("timesteps", [2, 10, 1000])
def test_a_schedule_loses_signal_step_by_step(schedule, timesteps):
    angle = schedule_angles(timesteps, schedule)
    assert angle.shape == (timesteps + 1,)
    assert angle[0] == 0
    assert (angle.diff() > 0).all()
    assert angle[-1] < math.pi / 2
    if timesteps == 1000:
        signal = angle.cos().square()
        assert signal[-1] < 5e-5
        beta = 1 - signal[1:] / signal[:-1]
        if schedule == "linear":
            torch.testing.assert_close(beta, torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64))
        else:
            place = torch.tensor([1, 500], dtype=torch.float64) / 1000
            f = (
                torch.cos((place + 0.008) / 1.008 * math.pi / 2).square()
                / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
            )
            torch.testing.assert_close(signal[[1, 500]], f)
            assert beta.max() <= 0.999 + 1e-9


@SCHEDULES
def test_steps_compose_to_the_closed_form(schedule):
    """The steps q(x_t | x_{t-1}), one after another, give the mean factor and variance of q(x_t | x_0)."""
    angle = schedule_angles(50, schedule)
    signal = angle.cos().square()
    factor, variance = 1.0, 0.0
    for t in range(1, 51):
        beta = float(1 - signal[t] / signal[t - 1])
        factor, variance = factor * math.sqrt(1 - beta), (1 - beta) * variance + beta
        assert factor == pytest.approx(float(angle[t].cos()), rel=1e-9)
        assert variance == pytest.approx(float(angle[t].sin() ** 2), rel=1e-9)
        assert step_variance(float(angle[t]), float(angle[t - 1]), "large") == pytest.approx(beta)


def test_posterior_of_a_step_agrees_with_quadrature():
    """q(x_s | x_t, x_0) is the normalised product of q(x_t | x_s) and q(x_s | x_0)."""
    angle = schedule_angles(20, "cosine")
    t, s, x_t, x_0 = float(angle[12]), float(angle[9]), 0.7, -1.3
    grid = torch.linspace(-8, 8, 200_001, dtype=torch.float64)
    large = step_variance(t, s, "large")
    log_weight = -0.5 * (x_t - math.cos(t) / math.cos(s) * grid) ** 2 / large
    log_weight = log_weight - 0.5 * (grid - math.cos(s) * x_0) ** 2 / math.sin(s) ** 2
    weight = log_weight.softmax(0)
    mean = float((weight * grid).sum())
    variance = float((weight * (grid - mean) ** 2).sum())
    assert posterior_mean(t, s, torch.tensor(x_t), torch.tensor(x_0)).item() == pytest.approx(mean)
    assert step_variance(t, s, "small") == pytest.approx(variance)


@pytest.mark.parametrize("angle", [0.01, 0.7, 1.55])
def test_predictions_of_noise_and_velocity_agree(angle):
    x0, e = torch.randn(2, 5, 3, dtype=torch.float64)
    phi = torch.tensor(angle, dtype=torch.float64)
    x, v = phi.cos() * x0 + phi.sin() * e, phi.cos() * e - phi.sin() * x0
    as_noise = VelocityField(lambda t, x: e, "eps", 1.5).at(phi, x)
    as_velocity = VelocityField(lambda t, x: v, "v", 1.5).at(phi, x)
    torch.testing.assert_close(as_noise, v)
    torch.testing.assert_close(as_velocity, v)
    torch.testing.assert_close(phi.sin() * x + phi.cos() * as_velocity, e)
    torch.testing.assert_close(phi.cos() * x - phi.sin() * as_noise, x0)


@pytest.mark.parametrize("std", [0.02, 0.3, 4.0])
@pytest.mark.parametrize("mean", [-40.0, -0.5, 1.2, 7.0, 60.0])
def test_masses_of_the_discretised_gaussian_sum_to_one(mean, std):
    levels = 9
    x = torch.arange(levels, dtype=torch.float64)
    log_mass = discretised_gaussian_log_prob(x, torch.full_like(x, mean), std, levels)
    assert not torch.isnan(log_mass).any()
    assert log_mass.exp().sum().item() == pytest.approx(1, abs=1e-12)
    normal = torch.distributions.Normal(mean, std)
    inner = normal.cdf(x[1:-1] + 0.5) - normal.cdf(x[1:-1] - 0.5)
    torch.testing.assert_close(log_mass[1:-1].exp(), inner, rtol=1e-6, atol=1e-10)
    far = discretised_gaussian_log_prob(torch.tensor(5.0), torch.tensor(60.0), 1.0, levels)
    assert far.item() == pytest.approx(-0.5 * 54.5**2, rel=0.01), "far in a tail the logarithm stays finite"


def test_kl_of_a_step_equals_that_of_two_gaussians():
    for variance in ("small", "large"):
        angle = schedule_angles(30, "linear")
        weight, constant = kl_coefficients(angle, variance)
        for t in (2, 9, 30):
            here, there, x, x0, v = float(angle[t]), float(angle[t - 1]), 0.4, -0.8, 0.25
            a, s = math.cos(here), math.sin(here)
            true_v = (a * x - x0) / s
            mean = [
                posterior_mean(here, there, torch.tensor(x, dtype=torch.float64), torch.tensor(c))
                for c in (x0, a * x - s * v)
            ]
            q, p = (
                torch.distributions.Normal(m, math.sqrt(step_variance(here, there, kind)))
                for m, kind in zip(mean, ("small", variance), strict=True)
            )
            ours = constant[t - 2] + weight[t - 2] * (true_v - v) ** 2
            assert torch.distributions.kl_divergence(q, p).item() == pytest.approx(ours.item(), rel=1e-4)
