"""Tests of the difference of two means, against scipy's Welch test, simulation and arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from zoo.reproduction.statistics import BY_CHANCE, Spread, difference, mean_and_deviation, overall


def test_the_interval_is_welchs():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 10), rng.normal(0.3, 2, 4)
    theirs, ours = Spread(10, a.std(ddof=1), 9), Spread(4, b.std(ddof=1), 3)
    gap = difference(a.mean(), theirs, b.mean(), ours)
    welch = scipy.stats.ttest_ind(b, a, equal_var=False)
    assert gap.interval == pytest.approx(tuple(welch.confidence_interval(0.90)))
    assert gap.freedom == pytest.approx(welch.df)
    assert 2 * scipy.stats.norm.sf(abs(gap.score)) == pytest.approx(welch.pvalue)


@pytest.mark.parametrize(("theirs", "seeds"), [(10, 5), (3, 3), (None, 2)])
def test_two_combined_errors_are_exceeded_as_often_as_promised(theirs, seeds):
    rng = np.random.default_rng(1)
    beyond, n = 0, 1500
    for _ in range(n):
        ours = rng.normal(size=seeds)
        mean, deviation = mean_and_deviation(ours.tolist())
        own = Spread(seeds, deviation, seeds - 1)
        if theirs is None:  # one published run without an error: our spread stands for both
            gap = difference(rng.normal(), Spread(1), mean, own)
        else:
            values = rng.normal(size=theirs)
            gap = difference(values.mean(), Spread(theirs, values.std(ddof=1), theirs - 1), mean, own)
        beyond += abs(gap.z) > 2
    # Welch's degrees of freedom are an approximation, so a quarter of the rate is allowed
    assert beyond / n == pytest.approx(BY_CHANCE, abs=BY_CHANCE / 4 + 3 * math.sqrt(BY_CHANCE / n))


def test_a_paper_with_test_points_alone_borrows_our_refits_for_its_side():
    gap = difference(10.0, Spread(1, test=3.0), 16.0, Spread(4, refit=2.0, test=4.0))
    assert gap.error == pytest.approx(math.sqrt(3**2 + 4**2 + 2**2 * (1 + 1 / 4)))
    assert (gap.borrowed, gap.refit_known) == ("ours", True)
    assert gap.z == pytest.approx(6 / gap.error)


def test_a_paper_with_a_spread_over_runs_is_compared_by_runs_alone():
    gap = difference(0.0, Spread(10, refit=1.0), 1.0, Spread(5, refit=2.0, test=100.0))
    assert gap.error == pytest.approx(math.sqrt(1 / 10 + 4 / 5))
    assert gap.borrowed == ""


def test_one_seed_takes_the_published_spread_and_nothing_known_is_no_error():
    gap = difference(0.0, Spread(10, refit=1.0), 1.0, Spread(1))
    assert gap.error == pytest.approx(math.sqrt(1 / 10 + 1))
    assert gap.borrowed == "published"
    assert difference(0.0, Spread(1), 1.0, Spread(1)) is None
    test_only = difference(0.0, Spread(1), 1.0, Spread(1, test=0.5))
    assert test_only.error == pytest.approx(0.5 * math.sqrt(2))
    assert not test_only.refit_known


def test_few_seeds_widen_the_error_by_students_t():
    few, many = (difference(0.0, Spread(1), 1.0, Spread(n, refit=1.0, refit_freedom=n - 1)) for n in (2, 200))
    assert few.error / math.sqrt(1.5) == pytest.approx(scipy.stats.t.isf(scipy.stats.norm.sf(2), 1) / 2)
    assert many.error / math.sqrt(1 + 1 / 200) == pytest.approx(1, abs=0.01)


def test_the_sum_of_squared_scores_is_chi_squared():
    cells = [
        difference(0.0, Spread(1, refit=1.0), z * math.sqrt(2), Spread(1, refit=1.0))
        for z in (1.0, -2.0, 0.5)
    ]
    total, count, probability = overall(cells)
    assert (total, count) == (pytest.approx(5.25), 3)
    assert probability == pytest.approx(scipy.stats.chi2.sf(5.25, 3))
    assert overall([]) is None


def test_no_error_at_all_leaves_no_difference_or_an_infinite_one():
    same, other = (
        difference(1.0, Spread(10, refit=0.0), value, Spread(5, refit=0.0)) for value in (1.0, 2.0)
    )
    assert (same.z, other.z) == (0.0, math.inf)
    assert overall([same, other]) == (pytest.approx(0.0, abs=1e-12), 1, pytest.approx(1.0))
