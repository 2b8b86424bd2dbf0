"""The intervals of effects, nominally of 95 %, hold the true effect in 90 to 98 % of simulated studies."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from zoo.comparison import statistics as tests
from zoo.comparison.groups import interval
from zoo.comparison.statistics import Outcome

STUDIES = 400
Source = np.random.Generator


def difference(source: Source) -> tuple[Outcome, float]:
    """Return the test of a difference of 2 between sides of unequal spread, and the truth."""
    return tests.welch(source.normal(2, 1, 5), source.normal(0, 0.3, 5)), 2.0


def factor(source: Source) -> tuple[Outcome, float]:
    a, b = source.normal(math.log(3), 0.4, 5), source.normal(0, 0.2, 3)
    return tests.ratio(tests.welch, np.exp(a), np.exp(b)), 3.0


def pairs(source: Source) -> tuple[Outcome, float]:
    seeds = source.normal(0, 2, 5)
    return tests.paired(seeds + source.normal(0.5, 0.2, 5), seeds + source.normal(0, 0.2, 5)), 0.5


def mean(source: Source) -> tuple[Outcome, float]:
    return tests.mean_of(source.normal(1, 0.5, 5)), 1.0


def with_shared_error(source: Source) -> tuple[Outcome, float]:
    """Return the test of sides whose values share an error each, as large as their spread."""
    sides = [source.normal(1, 0.3) + source.normal(0, 0.3, 5) for _ in range(2)]
    return tests.welch(*sides, shared=[0.09, 0.09]), 0.0


def one_side_with_shared_error(source: Source) -> tuple[Outcome, float]:
    return tests.mean_of(source.normal(1, 0.2) + source.normal(0, 0.3, 5), shared=[0.04]), 1.0


def interaction(source: Source) -> tuple[Outcome, float]:
    cells = [source.normal(mean, spread, 3) for mean, spread in ((3, 0.2), (1, 0.3), (1, 0.2), (0.5, 0.5))]
    return tests.contrast(cells, (1, -1, -1, 1), (0.0,) * 4), 1.5


def spreads(source: Source) -> tuple[Outcome, float]:
    return tests.spread_ratio(source.normal(0, 3, 6), source.normal(5, 1, 8)), 3.0


def line(source: Source) -> tuple[Outcome, float]:
    x = np.arange(6.0)
    return tests.slope(x, 0.7 * x + source.normal(0, 0.5, 6)), 0.7


EFFECTS = [
    difference, factor, pairs, mean, with_shared_error, one_side_with_shared_error, interaction, spreads, line
]  # fmt: skip


@pytest.mark.parametrize("drawn", EFFECTS, ids=lambda drawn: drawn.__name__)
def test_the_interval_of_an_effect_covers_it(drawn: Callable[[Source], tuple[Outcome, float]]) -> None:
    source, held = np.random.default_rng(0), 0
    for _ in range(STUDIES):
        outcome, truth = drawn(source)
        held += outcome.low < truth < outcome.high
        if drawn not in (spreads,):
            assert (outcome.p < 0.05) == (not outcome.low < (1.0 if outcome.factor else 0.0) < outcome.high)
    assert 0.90 <= held / STUDIES <= 0.98


@pytest.mark.parametrize("logs", [False, True])
def test_the_interval_of_a_mean_in_a_table_covers_it(logs: bool) -> None:
    draws = np.random.default_rng(1).normal(1, 0.5, (STUDIES, 5))
    ends = [interval([*map(float, np.exp(row) if logs else row)], logs) for row in draws]
    truth = math.e if logs else 1.0
    held = sum(low < truth < high for low, high in filter(None, ends))
    assert 0.90 <= held / STUDIES <= 0.98


@pytest.mark.parametrize("n", [5, 15])
def test_the_exact_interval_of_a_share_covers_it_at_least_as_often_as_promised(n: int) -> None:
    """It is never too narrow, so that of few runs it may hold every share."""
    ends = [tests.share_interval(hits, n) for hits in range(n + 1)]
    for truth in (0.05, 0.2, 0.5, 0.9):
        chances = stats.binom.pmf(range(n + 1), n, truth)
        held = sum(chance for chance, (low, high) in zip(chances, ends, strict=True) if low <= truth <= high)
        assert held >= 0.95


def test_the_interval_of_a_rank_correlation_covers_it() -> None:
    """Normal pairs of correlation 0.6, whose rank correlation is 6 / pi arcsin 0.3."""
    source, truth, held = np.random.default_rng(2), 6 / math.pi * math.asin(0.3), 0
    for _ in range(150):
        x = source.normal(size=12)
        outcome = tests.spearman(x, 0.6 * x + 0.8 * source.normal(size=12), draws=19)
        held += outcome.low < truth < outcome.high
    assert 0.88 <= held / 150 <= 0.99
