"""Intervals of value ± 1.96 errors hold what they estimate as often as promised, over both sets' draw.

Samples and real examples are drawn anew from known mixtures of Gaussians, as features of images are.
"""

from __future__ import annotations

import math

import pytest
import torch

import zoo.metrics
from zoo.evaluation import frechet
from zoo.evaluation.metrics.kid import mmd

DIM = 6
CENTRES = 1.2 * torch.randn(5, DIM, generator=torch.Generator().manual_seed(0)).double()
NEIGHBOURS = ("Precision", "Recall", "Density", "Coverage")


def draw(n, generator, shift=0.0):
    noise = torch.randn(n, DIM, generator=generator).double()
    return CENTRES[torch.randint(5, (n,), generator=generator)] + noise + shift


def coverage(rounds, n, m, shift, halves):
    """Return the share of intervals that hold the truth, by metric."""
    generator = torch.Generator().manual_seed(1)
    large = [draw(400_000, generator, s) for s in (shift, 0.0)]
    truth = {"fd_inf": frechet.between(*large)}
    outcome: dict[str, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        x, y = draw(n, generator, shift), draw(m, generator)
        value = frechet.between(x, y)
        error, mean = frechet.by_halves(x, y, seed=0, rounds=halves)
        outcome.setdefault("fd", []).append((value, error))
        outcome.setdefault("fd_inf", []).append((2 * value - mean, error))
        outcome.setdefault("kid", []).append(mmd(x, y))
        for name in NEIGHBOURS:
            metric = getattr(zoo.metrics, name)(rounds=halves)
            metric.update(y, real=True)
            metric.update(x, real=False)
            result = metric.estimate()
            outcome.setdefault(name, []).append((result.value, result.standard_error))
    shares = {}
    for name, pairs in outcome.items():
        values, errors = torch.tensor(pairs, dtype=torch.float64).T
        expected = truth.get(name, values.mean().item())  # at this number of examples
        shares[name] = ((values - expected).abs() < 1.96 * errors).double().mean().item()
    return shares


def test_intervals_cover_both_draws():
    shares = coverage(60, 200, 120, 0.35, 40)
    slack = 4 * math.sqrt(0.95 * 0.05 / 60)
    assert all(share > 0.95 - slack for share in shares.values()), shares


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.4, 0.7])
def test_intervals_cover_90_to_98_percent(shift):
    shares = coverage(400, 400, 150, shift, 200)
    assert all(0.90 <= share <= 0.985 for share in shares.values()), shares


@pytest.mark.slow
def test_intervals_are_too_wide_rather_than_too_narrow_near_zero():
    shares = coverage(200, 400, 150, 0.1, 100)
    assert min(shares.values()) >= 0.90, shares
