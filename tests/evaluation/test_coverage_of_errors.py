"""Intervals of value ± 1.96 errors hold what they estimate as often as promised, over both sets' draw.

Samples and real examples are drawn anew from known distributions: mixtures of Gaussians, as features of
images are, and normal ones. Nominal 95 % have to be 90 to 98 %. Errors that are too large show sooner by
their size than by the share of intervals: at 1.2 times the deviation of normal values it is 98 %.
"""

from __future__ import annotations

import math

import pytest
import torch
from scipy import special, stats
from torch import nn

import zoo.metrics
from zoo.data.spec import DataSpec
from zoo.evaluation import frechet
from zoo.evaluation.context import Context
from zoo.evaluation.energy import energy_distance
from zoo.evaluation.likelihood import likelihood
from zoo.evaluation.metrics import definitions, measure
from zoo.evaluation.metrics.kid import mmd
from zoo.evaluation.metrics.memorisation import closer
from zoo.evaluation.metrics.sharpness import MEASURES
from zoo.evaluation.neighbours import share
from zoo.evaluation.sharpness import relative

DIM = 6
CENTRES = 1.2 * torch.randn(5, DIM, generator=torch.Generator().manual_seed(0)).double()
NEIGHBOURS = ("Precision", "Recall", "Density", "Coverage")


def draw(n, generator, shift=0.0):
    noise = torch.randn(n, DIM, generator=generator).double()
    return CENTRES[torch.randint(5, (n,), generator=generator)] + noise + shift


def judged(pairs, truth=None):
    """Return the share of intervals that hold the truth, and the errors' size by the values' deviation.

    Args:
        pairs: values and their errors.
        truth: what the values estimate; None: their mean, at this number of examples.
    """
    values, errors = torch.tensor(pairs, dtype=torch.float64).T
    expected = values.mean() if truth is None else truth
    held = ((values - expected).abs() < 1.96 * errors).double().mean()
    return held.item(), (errors.square().mean().sqrt() / values.std()).item()


def polynomial(x, y):
    """Return the squared maximum mean discrepancy by KID's kernel, (a·b/dim + 1)³, from moments."""
    total = torch.zeros((), dtype=torch.float64)
    for power, ways in ((1, 3), (2, 3), (3, 1)):  # terms of the binomial expansion; the constant one cancels
        letters = "abc"[:power]
        product = ",".join(f"n{letter}" for letter in letters) + f"->{letters}"
        x_mean, y_mean = (torch.einsum(product, *[z] * power) / len(z) for z in (x, y))
        total += ways * (x_mean - y_mean).square().sum() / DIM**power
    return total.item()


def energy_of_mixtures(shift):
    """Return the exact energy distance between the mixture of normals and its copy shifted by ``shift``."""

    def mean_norm(offsets):
        """Return the mean length of normal vectors with these means and variance 2 in each dimension."""
        half = DIM / 2
        scale = 2 * special.gamma(half + 0.5) / special.gamma(half)
        return float((scale * special.hyp1f1(-0.5, half, -offsets.square().sum(-1).numpy() / 4)).mean())

    offsets = CENTRES[:, None] - CENTRES[None]
    return 2 * mean_norm(offsets + shift) - 2 * mean_norm(offsets)


ALL = ("fd", "fd_inf", "kid", "energy", *NEIGHBOURS)


def coverage(rounds, n, m, shift, halves):
    """Return for each metric the share of intervals that hold the true value, and how large the errors are.

    Errors are over the standard deviation of the values, so that 1 is right.

    For the plain Fréchet distance, precision, recall, density and coverage the true value is the mean at this
    number of examples; for the others it is known.
    """
    generator = torch.Generator().manual_seed(1)
    large = [draw(400_000, generator, s) for s in (shift, 0.0)]
    truth = {
        "fd_inf": frechet.between(*large), "kid": polynomial(*large), "energy": energy_of_mixtures(shift)
    }  # fmt: skip
    outcome: dict[str, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        x, y = draw(n, generator, shift), draw(m, generator)
        outcome.setdefault("kid", []).append(mmd(x, y))
        outcome.setdefault("energy", []).append(energy_distance(x, y))
        value = frechet.between(x, y)
        error, mean = frechet.by_halves(x, y, seed=0, rounds=halves)
        outcome.setdefault("fd", []).append((value, error))
        outcome.setdefault("fd_inf", []).append((2 * value - mean, error))
        for name in NEIGHBOURS:
            metric = getattr(zoo.metrics, name)(rounds=halves)
            metric.update(y, real=True)
            metric.update(x, real=False)
            result = metric.estimate()
            outcome.setdefault(name, []).append((result.value, result.standard_error))
    return {name: judged(pairs, truth.get(name)) for name, pairs in outcome.items()}


def test_intervals_cover_both_draws():
    """In sixty draws the share is not far below 95 %, and the errors are neither too small nor too large."""
    found = coverage(60, 200, 120, 0.35, 40)
    slack = 3 * math.sqrt(0.95 * 0.05 / 60)
    assert found.keys() == set(ALL)
    assert all(held > 0.95 - slack and 0.85 < size < 1.35 for held, size in found.values()), found


def test_intervals_of_unbiased_distances_hold_the_known_truth_in_90_to_98_percent():
    generator = torch.Generator().manual_seed(1)
    large = [draw(400_000, generator, shift) for shift in (0.35, 0.0)]
    draws = [(draw(100, generator, 0.35), draw(80, generator)) for _ in range(300)]
    for metric, truth in ((mmd, polynomial(*large)), (energy_distance, energy_of_mixtures(0.35))):
        pairs = [metric(x, y) for x, y in draws]
        held, size = judged(pairs, truth)
        assert 0.90 <= held <= 0.98, (metric, held)
        assert 0.85 < size < 1.2, (metric, size)
        assert abs(stats.ttest_1samp([value for value, _ in pairs], truth).statistic) < 3, "unbiased"


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.4, 0.7])
def test_intervals_cover_90_to_98_percent(shift):
    found = coverage(400, 400, 150, shift, 200)
    assert all(0.90 <= held <= 0.985 for held, _ in found.values()), found


@pytest.mark.slow
def test_intervals_are_too_wide_rather_than_too_narrow_near_zero():
    found = coverage(200, 400, 150, 0.1, 100)
    assert min(held for held, _ in found.values()) >= 0.90, found


def normals(generator):
    """Return the energy distance of two normal sets, and its error."""
    x, y = (torch.randn(n, 2, generator=generator) for n in (60, 50))
    return energy_distance(x + 0.7, y)


def pictures(generator):
    """Return the sharpness of images, whose contrast differs, relative to others, and its error."""
    ours, real = (torch.randn(n, 1, generator=generator).mul(0.4).exp().double() for n in (120, 80))
    return relative(MEASURES["laplacian"], 0.8 * ours, real, seed=0, rounds=100)


def memorised(generator):
    """Return the memorisation of samples closer to their neighbours than unseen data, and its error."""
    ours, unseen = (torch.rand(n, generator=generator) for n in (80, 60))
    return closer(0.7 * ours, unseen)[:2]


@pytest.mark.parametrize(
    ("drawn", "truth"),
    [(normals, None), (pictures, 0.8), (memorised, 0.65)],
    ids=["energy distance", "sharpness", "memorisation"],
)
def test_other_errors_of_two_sets_cover_90_to_98_percent(drawn, truth):
    generator = torch.Generator().manual_seed(2)
    held, size = judged([drawn(generator) for _ in range(400)], truth)
    assert 0.90 <= held <= 0.98, (held, size)
    assert 0.85 < size < 1.2


@pytest.mark.parametrize("n", [50, 1000])
def test_the_error_of_a_share_covers_at_least_90_percent_of_draws(n):
    """Of shares from 2 to 98 %: the share of hits whose interval holds it, by the binomial distribution."""
    errors = [share(hits, n) for hits in range(n + 1)]
    for truth in (0.02, 0.1, 0.5, 0.9, 0.98):
        chances = stats.binom.pmf(range(n + 1), n, truth)
        held = sum(
            chance
            for chance, (value, error) in zip(chances, errors, strict=True)
            if abs(value - truth) < 1.96 * error
        )
        assert held >= 0.90, (n, truth, held)
        assert held <= 0.98 or n * min(truth, 1 - truth) < 10, "of fewer hits the error is too large"


class Normal(nn.Module):
    """A normal density in the plane."""

    family, likelihood = "flow", "exact"

    def __init__(self, scale=1.0, shift=0.0):
        super().__init__()
        self.law = torch.distributions.Normal(shift, scale)

    def log_prob(self, x):
        return self.law.log_prob(x).sum(1)


def test_errors_of_likelihood_and_divergence_cover_90_to_98_percent():
    """The divergence by the control variate, beside the one by the entropy, whose error is far larger."""
    generator, spec = torch.Generator().manual_seed(3), DataSpec((2,))
    data, model = Normal(), Normal(1.05, 0.1)
    kl = 2 * (math.log(1.05) + (1 + 0.1**2) / (2 * 1.05**2) - 0.5)
    entropy = 1 + math.log(2 * math.pi)
    found = {"nll": [], "kl": [], "kl by entropy": []}
    for _ in range(400):
        x = torch.randn(200, 2, generator=generator)
        by_density = likelihood(model, x, spec, entropy=entropy, log_density=data.log_prob)
        by_entropy = likelihood(model, x, spec, entropy=entropy)
        for name, metric in (
            ("nll", by_density["nll"]), ("kl", by_density["kl"]), ("kl by entropy", by_entropy["kl"])
        ):  # fmt: skip
            found[name].append((metric.value, metric.standard_error))
    shares = {name: judged(pairs, kl + entropy * (name == "nll")) for name, pairs in found.items()}
    assert all(0.90 <= held <= 0.98 for held, _ in shares.values()), shares
    assert found["kl"][0][1] < found["kl by entropy"][0][1] / 3


def test_the_deviation_of_a_floor_is_that_of_another_draw():
    """A further draw of the training points lies within Student's interval of the floor's draws."""
    generator = torch.Generator().manual_seed(4)
    (energy,) = (one for one in definitions() if one.name == "energy_distance")
    inside = []
    for _ in range(8):
        splits = {name: torch.randn(n, 2, generator=generator) for name, n in (("train", 300), ("test", 60))}
        context = Context(torch.randn(40, 2, generator=generator), splits, DataSpec((2,)))
        details = measure(context)["energy_distance"].details
        n, mean, deviation = (details[key] for key in ("floor_draws", "floor", "floor_deviation"))
        reach = stats.t.ppf(0.975, n - 1) * deviation * math.sqrt(1 + 1 / n)
        more = [energy.compute(context.real("train", draw)).value for draw in range(n, n + 60)]
        inside += [abs(value - mean) < reach for value in more]
    assert 0.90 <= sum(inside) / len(inside) <= 0.98
