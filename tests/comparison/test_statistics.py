"""The tests of the ledger against closed forms, against known values, and by their false alarms."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from scipy import stats
from simulated_runs import around, gan, verdict, wgan

from zoo.comparison import statistics as tests
from zoo.comparison.claims.evidence import REFUTED, SUPPORTED, UNDECIDED
from zoo.record import Protocol

# 97.5 % quantiles of Student's t for 1 and 2 degrees of freedom, in closed form
T1 = math.tan(math.pi * 0.475)
T2 = 0.95 * math.sqrt(2 / (1 - 0.95**2))


def p_for_1_degree_of_freedom(t: float) -> float:
    return 1 - 2 / math.pi * math.atan(abs(t))


def p_for_2_degrees_of_freedom(t: float) -> float:
    return 1 - abs(t) / math.sqrt(2 + t * t)


def test_welch_of_equal_variances_is_students_t():
    outcome = tests.welch([0.0, 2.0], [5.0, 7.0])
    error = math.sqrt(2)  # two means of two values, each with variance 2
    assert outcome.estimate == -5
    assert outcome.p == pytest.approx(p_for_2_degrees_of_freedom(-5 / error))
    assert (outcome.low, outcome.high) == pytest.approx((-5 - T2 * error, -5 + T2 * error))


def test_welch_has_the_degrees_of_freedom_of_the_side_that_varies():
    outcome = tests.welch([1.0, 1.0, 1.0], [2.0, 4.0])
    assert outcome.p == pytest.approx(p_for_1_degree_of_freedom(-2.0))
    assert (outcome.low, outcome.high) == pytest.approx((-2 - T1, -2 + T1))


def test_the_mean_of_a_sample_is_tested_against_an_expected_value():
    outcome = tests.mean_of([4.0, 5.0, 6.0], expected=2.0)
    error = 1 / math.sqrt(3)
    assert outcome.estimate == 5
    assert outcome.p == pytest.approx(p_for_2_degrees_of_freedom(3 / error))
    assert (outcome.low, outcome.high) == pytest.approx((5 - T2 * error, 5 + T2 * error))


def test_a_slope_has_the_interval_of_least_squares():
    outcome = tests.slope([0.0, 1.0, 2.0], [0.0, 1.0, 3.0])
    error = math.sqrt(1 / 12)
    assert outcome.estimate == pytest.approx(1.5)
    assert outcome.p == pytest.approx(p_for_1_degree_of_freedom(1.5 / error))
    assert (outcome.low, outcome.high) == pytest.approx((1.5 - T1 * error, 1.5 + T1 * error))


def test_an_exact_line_has_a_slope_without_error():
    assert tests.slope([0, 1, 2], [0, 2, 4]) == tests.Outcome(2, 2, 2, 0)
    assert tests.slope([0, 1, 2], [3, 3, 3]).p == 1
    with pytest.raises(ValueError, match="at least three points"):
        tests.slope([0, 1], [0, 2])


def test_a_ratio_is_that_of_geometric_means():
    outcome = tests.ratio(tests.welch, [1.0, 4.0], [8.0, 32.0])
    assert outcome.estimate == pytest.approx(1 / 8)
    assert outcome.low < 1 / 8 < outcome.high


def test_fishers_exact_test_of_the_lady_tasting_tea():
    assert tests.fisher(4, 4, 0, 4) == pytest.approx(2 / 70)
    assert tests.fisher(3, 4, 1, 4) == pytest.approx(34 / 70)


def test_holm_multiplies_the_smallest_p_most():
    assert tests.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert tests.holm([0.6, 0.5]) == [1.0, 1.0]


def test_samples_without_spread_are_not_evidence():
    assert math.isnan(tests.welch([1, 1, 1], [2, 2, 2]).p)
    assert tests.welch([1, 1, 1], [1, 1, 1]).p == 1
    assert math.isnan(tests.mean_of([2, 2, 2], 1).p)
    assert not tests.welch([1, 1, 1], [2, 2, 2]).significant


def test_the_rank_correlation_is_tested_by_all_permutations_of_few_values():
    assert tests.spearman([1, 2, 3, 4], [1, 2, 3, 4]).p == pytest.approx(2 / 24)
    x, y = [3, 1, 4, 1.5, 5, 9], [2, 7, 1, 8, 2.8, 1.9]
    exact = stats.permutation_test(
        (x,), lambda v: stats.spearmanr(v, y).statistic, permutation_type="pairings", n_resamples=np.inf
    )
    assert tests.spearman(x, y).p == pytest.approx(exact.pvalue, abs=1e-9)


def test_the_rank_correlation_of_tied_values_counts_the_extreme_permutations():
    # beside the ranks (1.5, 1.5, 3), 4 of the 6 orders of (1, 2, 3) are as far from no correlation as this
    assert tests.spearman([1, 2, 3], [1, 1, 2]).p == pytest.approx(4 / 6)


def test_a_rank_correlation_of_many_values_is_tested_by_random_permutations():
    many = list(range(12))
    outcome = tests.spearman(many, many[::-1])
    assert outcome.estimate == pytest.approx(-1)
    assert 0 < outcome.p < 0.001
    assert tests.spearman(many, many[::-1]).p == outcome.p, "the draws have a seed"
    assert math.isnan(tests.spearman([1, 1, 1], [1, 2, 3]).p)


def test_the_interval_of_a_rank_correlation_is_fishers():
    outcome = tests.spearman([1, 2, 3, 4, 5], [2, 1, 4, 3, 5])
    assert outcome.estimate == pytest.approx(0.8)
    half = 1.959964 * 1.03 / math.sqrt(2)
    assert math.atanh(outcome.high) - math.atanh(0.8) == pytest.approx(half)
    assert math.atanh(0.8) - math.atanh(outcome.low) == pytest.approx(half)


@pytest.mark.parametrize("n", [3, 5])
def test_welch_raises_false_alarms_as_rarely_as_promised(n):
    """Without an effect, and with unequal spreads, p is below 5 % in about 5 % of comparisons."""
    source = random.Random(n)
    alarms = 0
    for _ in range(1000):
        a = [source.lognormvariate(0, 0.1) for _ in range(n)]
        b = [source.lognormvariate(0, 0.4) for _ in range(n)]
        alarms += tests.ratio(tests.welch, a, b).p < 0.05
    assert 0.02 < alarms / 1000 < 0.075


@pytest.mark.parametrize("own", [0.0, 0.05, 0.2])
def test_seeds_with_shared_latents_raise_false_alarms_at_the_promised_rate(own):
    """Five seeds of two equally good models: copies (own = 0), or with a spread of their own."""
    source, error = random.Random(1), 0.2
    alarms, ignored = 0, 0
    for _ in range(1000):
        sides = []
        for _ in range(2):
            draw = source.gauss(0, error)  # of the samples that all seeds of a model share
            sides.append([math.exp(draw + source.gauss(0, own)) for _ in range(5)])
        alarms += tests.ratio(tests.welch, *sides, shared=[error**2] * 2).p < 0.05
        ignored += own > 0 and tests.ratio(tests.welch, *sides).p < 0.05
    assert 0.03 < alarms / 1000 < 0.07
    assert own == 0 or ignored > 2 * alarms


def outcomes(sides, shared):
    """Return the tests that know shared errors, of two sides or of the first alone."""
    return [
        tests.welch(*sides, shared=shared),
        tests.ratio(tests.welch, *([math.exp(value) for value in side] for side in sides), shared=shared),
        tests.mean_of(sides[0], 0.3, shared=shared[:1]),
        tests.contrast(sides, (1.0, -1.0), shared),
    ]


@pytest.mark.parametrize("errors", [(1e-9, 0.0), (0.01, 0.02), (0.3, 0.0), (0.0, 2.0)])
def test_a_shared_error_never_makes_a_result_surer(errors):
    """It counts as known, so that it raises the degrees of freedom; beside few seeds they matter most."""
    source = np.random.default_rng(0)
    raised = 0
    for n, m in [(2, 2), (2, 9), (3, 3), (3, 5), (5, 5)] * 12:
        sides = [*map(float, source.normal(1, 1, n))], [*map(float, source.normal(0, 0.2, m))]
        for alone, both in zip(outcomes(sides, (0.0, 0.0)), outcomes(sides, errors), strict=True):
            assert both.estimate == pytest.approx(alone.estimate)
            assert both.p >= alone.p - 1e-12
            assert both.low <= alone.low + 1e-9
            assert both.high >= alone.high - 1e-9
            for margin in (1.2, 3.0):
                assert tests.equivalence(both, margin) >= tests.equivalence(alone, margin) - 1e-12
            raised += both.p > 1.01 * alone.p
    assert raised > 0 or max(errors) < 1e-3, "an error that matters makes results less sure"


def test_before_version_5_the_error_of_shared_samples_is_added():
    def runs(version, error):
        sides = gan(distance=around(1.0, 0.001)) + wgan(distance=around(1.3, 0.001, 1))
        for run in sides:
            run.record.provenance.protocol = Protocol(version, {})
            metric = run.record.metrics["fd/digits-cnn"]
            metric.standard_error, metric.details["reference_n"] = error, 360
        return sides

    assert verdict("wgan", runs(4, 0.01)) == SUPPORTED
    assert verdict("wgan", runs(4, 0.3)) == UNDECIDED
    assert verdict("wgan", runs(5, 0.3)) == SUPPORTED, "its seeds have samples of their own"


def test_the_rank_correlation_raises_false_alarms_as_rarely_as_promised():
    source = random.Random(0)
    alarms = sum(
        tests.spearman([source.random() for _ in range(6)], [source.random() for _ in range(6)]).p < 0.05
        for _ in range(400)
    )
    assert alarms / 400 < 0.08


def test_a_claim_without_any_truth_is_rarely_decided():
    """From records to verdicts: without an effect either verdict comes in about 2.5 % of studies."""
    verdicts = []
    for salt in range(300):
        runs = gan(distance=around(1, 0.2, 2 * salt))
        runs += wgan(distance=around(1, 0.2, 2 * salt + 1))
        verdicts.append(verdict("wgan", runs))
    assert verdicts.count(UNDECIDED) > 0.9 * 300
    assert max(verdicts.count(SUPPORTED), verdicts.count(REFUTED)) < 0.06 * 300
