"""Tests of the von Mises-Fisher distribution, by scipy, by quadrature and by finite differences."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, special, stats

from zoo.models.core import rng
from zoo.models.networks.von_mises_fisher import Angle, VonMisesFisher, bessel, log_area

ORDERS = [0.0, 0.5, 1.0, 2.0, 4.5, 11.5, 12.0, 19.5, 60.0]
SIZES = [2, 3, 6, 41]


def concentrations(*values):
    return torch.tensor(values, dtype=torch.float64)


def first_axis(size, rows):
    mean = torch.zeros(rows, size, dtype=torch.float64)
    mean[:, 0] = 1
    return mean


def unnormalised(t, k, size):
    """Return the density of the angle up to a factor, at most about one."""
    return math.exp(k * (math.cos(t) - 1)) * math.sin(t) ** (size - 2)


def distribution(t, k, size):
    """Return the distribution function of the angle by scipy's quadrature."""
    peak = min(math.pi, math.sqrt(size / k))
    pieces = [0, *(p for p in (peak / 2, peak, 2 * peak, 5 * peak) if p < math.pi), math.pi]

    def integral(end):
        edges = [p for p in pieces if p < end] + [end]
        return sum(integrate.quad(unnormalised, a, b, (k, size))[0] for a, b in itertools.pairwise(edges))

    return integral(t) / integral(math.pi)


@pytest.mark.parametrize("order", ORDERS)
def test_the_bessel_function_its_ratio_and_their_derivatives_equal_scipys(order):
    x = torch.logspace(-2, 5, 36, dtype=torch.float64).requires_grad_()
    log_value, ratio = bessel(order, x)
    at = x.detach().numpy()
    below, above = special.ive(order, at), special.ive(order + 1, at)
    there = (below > 1e-290) & (above > 1e-290)
    assert there.sum() > 20
    np.testing.assert_allclose(
        log_value.detach()[there], np.log(below[there]) + at[there], atol=1e-7, rtol=1e-12
    )
    np.testing.assert_allclose(ratio.detach()[there], above[there] / below[there], rtol=1e-7)
    (slope,) = torch.autograd.grad(log_value.sum(), x, retain_graph=True)
    torch.testing.assert_close(slope, (ratio + order / x).detach(), rtol=1e-7, atol=1e-9)
    (bend,) = torch.autograd.grad(ratio.sum(), x)
    expected = 1 - ratio**2 - (2 * order + 1) / x * ratio
    small = x < 1e3  # beyond, the expected value is a difference of numbers that are almost equal
    torch.testing.assert_close(bend[small], expected.detach()[small], rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("size", SIZES)
def test_density_and_divergence_equal_scipys(size):
    k = concentrations(1.0, 7.0, 300.0)
    mean = torch.nn.functional.normalize(
        torch.randn(3, size, generator=torch.Generator().manual_seed(1)).double()
    )
    z = torch.nn.functional.normalize(mean + 0.3 * torch.randn(3, size, dtype=torch.float64))
    ours = VonMisesFisher(mean, k)
    for row in range(3):
        theirs = stats.vonmises_fisher(mean[row].numpy(), float(k[row]))
        assert float(ours.log_prob(z)[row]) == pytest.approx(theirs.logpdf(z[row].numpy()), abs=1e-6)
        divergence = log_area(size) - float(theirs.entropy())
        assert float(ours.kl_to_uniform()[row]) == pytest.approx(divergence, abs=1e-6)


@pytest.mark.parametrize("k", [1.0, 30.0, 1e4])
@pytest.mark.parametrize("size", SIZES)
def test_samples_have_unit_length_and_the_angle_its_distribution(size, k):
    torch.manual_seed(size)
    rows = 4000
    z = VonMisesFisher(first_axis(size, rows), torch.full((rows,), k, dtype=torch.float64)).sample()
    torch.testing.assert_close(z.norm(dim=1), torch.ones(rows, dtype=torch.float64))
    angles = 2 * ((z - first_axis(size, rows)).norm(dim=1) / 2).clamp(max=1).asin()
    grid = np.quantile(angles, np.linspace(0.02, 0.98, 13))
    levels = np.array([distribution(t, k, size) for t in grid])
    assert np.abs(levels - np.linspace(0.02, 0.98, 13)).max() < 1.63 / math.sqrt(rows)  # Kolmogorov, 1 %
    across = torch.nn.functional.normalize(z[:, 1:])
    assert across.mean(0).norm() < 4 / math.sqrt(rows), "the direction across is uniform"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("k", [1.0, 40.0, 2000.0])
def test_the_gradient_of_an_angle_is_that_of_the_inverse_distribution_function(size, k):
    """The level of the angle is kept while the concentration changes."""
    torch.manual_seed(3)
    concentration = torch.full((5,), k, dtype=torch.float64, requires_grad=True)
    angles = Angle.apply(concentration, bessel(size / 2 - 1, concentration)[1], size)
    (slopes,) = torch.autograd.grad(angles.sum(), concentration)
    step = 1e-3 * k
    for t, slope in zip(angles.tolist(), slopes.tolist(), strict=True):
        level = distribution(t, k, size)
        ends = [
            optimize.brentq(
                lambda s, at=at, level=level: distribution(s, at, size) - level,
                t / 2,
                min(2 * t, math.pi),
                xtol=1e-13,
            )
            for at in (k - step, k + step)
        ]
        assert slope == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-3)
        assert slope < 0


def test_the_gradient_beyond_a_right_angle_is_the_same_by_both_integrals():
    """An angle of 2 and of 3 at M = 3, where the distribution function has a closed form."""
    k, size = torch.tensor([0.7, 0.7], dtype=torch.float64, requires_grad=True), 3
    fixed = torch.tensor([2.0, 3.0], dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zoo.models.networks.von_mises_fisher.draw_angle", lambda *_: fixed.clone())
        angles = Angle.apply(k, bessel(0.5, k)[1], size)
    (slopes,) = torch.autograd.grad(angles.sum(), k)

    def level(t, k):
        return (math.exp(k) - math.exp(k * math.cos(t))) / (2 * math.sinh(k))

    for t, slope in zip(fixed.tolist(), slopes.tolist(), strict=True):
        by_k = (level(t, 0.7 + 1e-6) - level(t, 0.7 - 1e-6)) / 2e-6
        by_t = (level(t + 1e-6, 0.7) - level(t - 1e-6, 0.7)) / 2e-6
        assert slope == pytest.approx(-by_k / by_t, rel=1e-6)


def test_gradients_of_an_expectation_are_unbiased():
    """E[a^T z] = A(k) a^T m, whose derivatives are A'(k) a^T m and A(k) a."""
    rows = 40000
    torch.manual_seed(0)
    a = torch.tensor([1.0, 2.0, 0.0, -1.0], dtype=torch.float64)
    mean = torch.nn.functional.normalize(torch.tensor([[1.0, 1.0, 1.0, 0.0]], dtype=torch.float64)).expand(
        rows, -1
    )
    mean, k = mean.clone().requires_grad_(), torch.full((rows,), 3.0, dtype=torch.float64, requires_grad=True)
    product = VonMisesFisher(mean, k).sample() @ a
    by_mean, by_k = torch.autograd.grad(product.sum(), (mean, k))
    ratio = bessel(1.0, k[0])[1]
    (slope,) = torch.autograd.grad(ratio, k)
    for found, expected in ((by_k, slope[0] * (a @ mean[0])), (product, ratio * (a @ mean[0]))):
        error = found.std().item() / math.sqrt(rows)
        assert abs(found.mean().item() - float(expected)) < 4 * error
    along = mean[0].detach()
    tangent = (
        a - (a @ along) * along
    )  # z is unit only for a unit m: of the gradient, the part along the sphere counts
    found = by_mean @ tangent
    assert abs(found.mean() - ratio * (tangent @ tangent)) < 4 * found.std() / math.sqrt(rows)


def test_the_noise_of_a_row_depends_on_no_other_row():
    keys, k = rng.keys(5, count=6), concentrations(1.0, 2.0, 5.0, 20.0, 100.0, 1.0)
    with rng.keyed(keys):
        together = VonMisesFisher(first_axis(3, 6), k).sample()
        after = rng.normal(together)
    for row in range(6):
        with rng.keyed(keys[row : row + 1]):
            alone = VonMisesFisher(first_axis(3, 1), k[row : row + 1]).sample()
            torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-14)
            torch.testing.assert_close(rng.normal(alone)[0], after[row], rtol=0, atol=0)


def test_a_concentration_that_is_not_a_number_does_not_draw_for_ever():
    posterior = VonMisesFisher(first_axis(3, 2), concentrations(math.nan, 2.0))
    assert posterior.sample()[1].isfinite().all()
    assert posterior.kl_to_uniform().isnan().tolist() == [True, False]
