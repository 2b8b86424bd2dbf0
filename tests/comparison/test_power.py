"""The smallest effect that a test sees, and the seeds that see an effect."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from zoo.comparison.power import detectable, seeds_to_see
from zoo.comparison.statistics import Outcome


def test_the_detectable_effect_is_seen_with_the_power_that_is_claimed():
    source = np.random.default_rng(0)
    error = math.sqrt(2 / 5)  # of the difference of two means of five values of variance 1
    shift = detectable(Outcome(0, 0, 0, 1, error, 8.0))
    draws = source.normal(size=(4000, 10))
    seen = stats.ttest_ind(draws[:, :5] + shift, draws[:, 5:], axis=1).pvalue < 0.05
    assert seen.mean() == pytest.approx(0.8, abs=0.02)
    factor = detectable(Outcome(1, 1, 1, 1, error, 8.0, factor=True))
    assert factor == pytest.approx(math.exp(shift))
    known = detectable(Outcome(0, 0, 0, 1, 1.0, math.inf))
    assert known == pytest.approx(stats.norm.ppf(0.975) + stats.norm.ppf(0.8), abs=0.01)


@pytest.mark.parametrize(
    ("spread", "paired", "seeds"), [(0.01, False, 5), (0.2, False, 13), (0.2, True, 7), (0.9, False, 20)]
)
def test_a_larger_spread_asks_for_more_seeds_within_the_limits_of_the_two_stage_rule(spread, paired, seeds):
    assert seeds_to_see(math.log(1.25), spread, paired=paired) == seeds
