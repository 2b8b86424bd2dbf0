"""The tests that every comparison uses, as SciPy computes them, for samples of a few seeds.

Every p-value is two-sided. SciPy is imported when a test runs, so that ``zoo compare`` starts without it.
"""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

LEVEL = 0.05  # of significance
LEAST_SEEDS = 3  # on each side of a test that decides
MARGIN = 1.25  # two numbers within this factor of each other count as the same
HEAVY = 10.0  # robust deviations from the median: a value beyond is the tail of a distribution without a mean
WAYS = 20_000  # to deal the ranks to two sides, up to which a rank test counts them all
EXACT = 8  # values, up to which a permutation test takes all permutations
NORMAL_QUANTILE = 1.959964  # at 97.5 %


@dataclass(frozen=True)
class Outcome:
    """The result of a test.

    Attributes:
        estimate: a difference of means, a ratio of geometric means, a slope or a correlation.
        low, high: the ends of its 95 % confidence interval; NaN if the test gives none.
        p: the two-sided p-value; NaN if the values have no spread to test with.
        error: standard error of the estimate, or of its logarithm if it is a factor; NaN without a t-test.
        freedom: degrees of freedom of that error.
        factor: whether estimate and interval are factors, whose logarithms were tested.
        also: error and degrees of freedom of a second test of the same effect that has to hold too.
    """

    estimate: float
    low: float
    high: float
    p: float
    error: float = math.nan
    freedom: float = math.nan
    factor: bool = False
    also: tuple[float, float] | None = None

    @property
    def significant(self) -> bool:
        """Whether p is below the level; False for NaN."""
        return self.p < LEVEL


def welch(a: Sequence[float], b: Sequence[float], shared: Sequence[float] = (0.0, 0.0)) -> Outcome:
    """Return Welch's t-test of mean(a) - mean(b): of two or more values a side, whose variances may differ.

    Samples without any spread say nothing about what another seed would give: then p is 1 if the means agree
    and NaN if they do not.

    Args:
        a, b: the values of each side.
        shared: for each side the variance of an error that all its values have in common, such as that of the
            test examples with which all seeds were judged. The spread over the seeds does not show it, so it
            is added to the variance of the mean, as one that is known exactly. That also raises the degrees
            of freedom, so a test without it is made too, and the less sure of the two counts.

    >>> round(welch([1.0, 2.0, 3.0], [5.0, 6.0, 9.0]).p, 4)
    0.0422
    """
    from scipy import stats

    difference = statistics.fmean(a) - statistics.fmean(b)
    if any(shared):
        return _with_shared_error(difference, [a, b], sum(shared))
    if len(set(a)) == len(set(b)) == 1:
        return _without_spread(difference, expected=0.0)
    with _one_side_may_be_constant():
        return _outcome(difference, stats.ttest_ind(a, b, equal_var=False))


def contrast(
    samples: Sequence[Sequence[float]], weights: Sequence[float], shared: Sequence[float]
) -> Outcome:
    """Return Welch's t-test that a weighted sum of the means of several samples is zero.

    With the weights 1 and -1 of two samples it is :func:`welch`; variances are not assumed equal.

    Args:
        samples: two or more values each, that of at least one not all the same.
        weights: of the samples' means.
        shared: variance of an error that all values of a sample share, see :func:`welch`.
    """
    estimate = sum(w * statistics.fmean(x) for w, x in zip(weights, samples, strict=True))
    common = sum(w * w * error for w, error in zip(weights, shared, strict=True))
    if not common and all(min(sample) == max(sample) for sample in samples):
        return _without_spread(estimate, 0.0)
    return _with_shared_error(estimate, samples, common, weights=weights)


def mean_of(a: Sequence[float], expected: float = 0.0, shared: Sequence[float] = (0.0,)) -> Outcome:
    """Return the one-sample t-test of a mean against ``expected``; ``shared`` as in :func:`welch`."""
    from scipy import stats

    mean = statistics.fmean(a)
    if any(shared):
        return _with_shared_error(mean, [a], sum(shared), expected)
    if len(set(a)) == 1:
        return _without_spread(mean, expected)
    return _outcome(mean, stats.ttest_1samp(a, expected))


def slope(x: Sequence[float], y: Sequence[float]) -> Outcome:
    """Return the slope of a least-squares line, tested against 0.

    A line that meets every point has a slope without error: p is 0, or 1 if the line is level.

    Raises:
        ValueError: fewer than three points.
    """
    from scipy import stats

    if len(x) < 3:
        raise ValueError("A slope with an error needs at least three points.")
    line = stats.linregress(x, y)
    rise = float(line.slope)
    rest = np.asarray(y) - line.intercept - rise * np.asarray(x)
    if rest @ rest <= 1e-20 * max(len(y) * float(np.var(y)), 1e-300):
        return Outcome(rise, rise, rise, 1.0 if abs(rise) < 1e-12 else 0.0)
    reach = float(line.stderr * stats.t.ppf(1 - LEVEL / 2, len(x) - 2))
    return Outcome(rise, rise - reach, rise + reach, float(line.pvalue))


def ratio(
    test: Callable[..., Outcome], *samples: Sequence[float], shared: Sequence[float] | None = None
) -> Outcome:
    """Return ``test`` of the logarithms of positive samples, its estimate and interval as factors.

    ``shared`` has the variances of shared errors of the logarithms, see :func:`welch`.
    """
    logarithms = [[math.log(value) for value in sample] for sample in samples]
    outcome = test(*logarithms, **({} if shared is None else {"shared": shared}))
    return as_factor(outcome)


def as_factor(outcome: Outcome) -> Outcome:
    """Return the result of a test of logarithms with its estimate and interval as factors."""
    estimate, low, high = (exponential(value) for value in (outcome.estimate, outcome.low, outcome.high))
    return replace(outcome, estimate=estimate, low=low, high=high, factor=True)


def exponential(value: float) -> float:
    """Return e to the power of a value; infinity where that is beyond every number."""
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def paired(a: Sequence[float], b: Sequence[float]) -> Outcome:
    """Return the t-test of the mean of a - b, whose values belong together one by one.

    An error that both values of a pair share, such as that of the latents they were drawn with, cancels.
    """
    return mean_of([one - other for one, other in zip(a, b, strict=True)])


def rank_test(a: Sequence[float], b: Sequence[float]) -> Outcome:
    """Return the exact rank-sum test (Wilcoxon, Mann and Whitney) of two samples, which may hold infinities.

    Ties have their mean rank, and p is the share of all ways to deal the ranks to the sides that are as far
    from the expected sum. The estimate is Hodges and Lehmann's: the median of all differences of a value of
    ``a`` and one of ``b`` (0 for two infinities). There is no interval.
    """
    from scipy import stats

    ranks = stats.rankdata([*a, *b])
    expected = len(a) * ranks.mean()
    reach = abs(ranks[: len(a)].sum() - expected)
    if math.comb(len(ranks), len(a)) > WAYS:
        p = float(stats.mannwhitneyu(a, b, method="asymptotic").pvalue)
    else:
        sums = [sum(chosen) for chosen in combinations(ranks, len(a))]
        p = statistics.fmean(abs(total - expected) >= reach - 1e-9 for total in sums)
    shift = statistics.median(0.0 if one == other else one - other for one in a for other in b)
    return Outcome(shift, math.nan, math.nan, p)


def least_rank_p(n: int, m: int) -> float:
    """Return the smallest p that :func:`rank_test` can give for samples of these sizes without ties.

    >>> least_rank_p(3, 3)
    0.1
    """
    return min(1.0, 2 / math.comb(n + m, n))


def signed_rank_test(a: Sequence[float], b: Sequence[float]) -> Outcome:
    """Return the exact signed-rank test (Wilcoxon) of pairs, whose least p is :func:`least_signed_rank_p`.

    The estimate is the median difference; there is no interval. Pairs without a difference are left out.
    """
    from scipy import stats

    changes = [one - other for one, other in zip(a, b, strict=True) if one != other]
    if not changes:
        return Outcome(0.0, math.nan, math.nan, 1.0)
    method = "exact" if len({abs(change) for change in changes}) == len(changes) else "approx"
    p = float(stats.wilcoxon(changes, method=method).pvalue)
    return Outcome(statistics.median(changes), math.nan, math.nan, p)


def least_signed_rank_p(n: int) -> float:
    """Return the smallest p that :func:`signed_rank_test` can give for this many pairs.

    >>> least_signed_rank_p(5)
    0.0625
    """
    return min(1.0, 2 / 2**n)


def spread_ratio(a: Sequence[float], b: Sequence[float]) -> Outcome:
    """Return the ratio of two standard deviations with the interval and the p of the F-test of variances.

    NaN throughout if a side has no spread. The test assumes normal values: give it logarithms of positive
    numbers, and count failures apart.
    """
    from scipy import stats

    first, second = statistics.variance(a), statistics.variance(b)
    if not first or not second:
        return Outcome(math.nan, math.nan, math.nan, math.nan)
    law, quotient = stats.f(len(a) - 1, len(b) - 1), first / second
    p = min(1.0, 2 * float(min(law.cdf(quotient), law.sf(quotient))))
    low, high = (math.sqrt(quotient / float(law.ppf(end))) for end in (1 - LEVEL / 2, LEVEL / 2))
    return Outcome(math.sqrt(quotient), low, high, p, factor=True)


def brown_forsythe(a: Sequence[float], b: Sequence[float]) -> Outcome:
    """Return the ratio of two standard deviations with the p of Brown and Forsythe's test (1974).

    The test compares how far the values lie from the median of their side, so it is valid for heavier tails
    than the F-test. The result has no interval, and is NaN throughout if a side has no spread.
    """
    from scipy import stats

    first, second = statistics.variance(a), statistics.variance(b)
    if not first or not second:
        return Outcome(math.nan, math.nan, math.nan, math.nan)
    p = float(stats.levene(a, b, center="median").pvalue)
    return Outcome(math.sqrt(first / second), math.nan, math.nan, p, factor=True)


def equivalence(outcome: Outcome, margin: float) -> float:
    """Return the p of two one-sided t-tests (Schuirmann 1987) that an effect lies within a margin.

    Args:
        outcome: of a t-test.
        margin: a factor above 1 (the effect lies within 1/margin and margin) if the outcome is one, otherwise
            a difference (within ±margin).

    Returns:
        The larger of the two one-sided p-values, and of those of the outcome's second test, if it has one;
        NaN if the outcome has no error.
    """
    from scipy import stats

    if not outcome.error > 0:
        return math.nan
    estimate = math.log(outcome.estimate) if outcome.factor else outcome.estimate
    reach = math.log(margin) if outcome.factor else margin
    found = []
    for error, freedom in filter(None, [(outcome.error, outcome.freedom), outcome.also]):
        tail = stats.t(freedom) if math.isfinite(freedom) else stats.norm()
        found += [tail.sf((reach + estimate) / error), tail.sf((reach - estimate) / error)]
    return float(max(found))


def share_interval(hits: int, n: int) -> tuple[float, float]:
    """Return the exact 95 % interval (Clopper and Pearson 1934) of a share.

    >>> [round(end, 3) for end in share_interval(0, 5)]
    [0.0, 0.522]
    """
    from scipy.special import betaincinv

    low = float(betaincinv(hits, n - hits + 1, LEVEL / 2)) if hits else 0.0
    return low, float(betaincinv(hits + 1, n - hits, 1 - LEVEL / 2)) if hits < n else 1.0


def heavy(*samples: Sequence[float]) -> bool:
    """Whether a value is over :data:`HEAVY` robust deviations above the median of its sample.

    The deviation is 1.4826 times the median distance of a value from the median, so that it is the standard
    deviation of normal values.
    """
    for sample in samples:
        middle = statistics.median(sample)
        scale = 1.4826 * statistics.median(abs(value - middle) for value in sample)
        if scale > 0 and max(sample) - middle > HEAVY * scale:
            return True
    return False


def spearman(x: Sequence[float], y: Sequence[float], draws: int = 9999) -> Outcome:
    """Return Spearman's rank correlation with a permutation test.

    The test takes all permutations of up to :data:`EXACT` values, and ``draws`` random ones of more. The
    interval is Fisher's, with the standard error 1.03 / sqrt(n - 3) of rank correlations (Fieller et al.
    1957); NaN for fewer than 4 values or a perfect correlation. Everything is NaN for fewer than 3 values or
    for values without spread.
    """
    from scipy import stats

    if len(x) < 3 or len(set(x)) == 1 or len(set(y)) == 1:
        return Outcome(math.nan, math.nan, math.nan, math.nan)
    ranks, others = stats.rankdata(x), stats.rankdata(y)
    centre = len(x) * ranks.mean() * others.mean()

    def extremity(permuted: np.ndarray, axis: int = -1) -> np.ndarray:
        """Return the distance of the sum of products from its mean for independent ranks."""
        return np.abs((permuted * others).sum(axis=axis) - centre)

    test = stats.permutation_test(
        (ranks,),
        extremity,
        permutation_type="pairings",
        vectorized=True,
        n_resamples=np.inf if len(x) <= EXACT else draws,
        alternative="greater",
        rng=0,
    )
    correlation, p = float(stats.spearmanr(x, y).statistic), float(test.pvalue)
    if len(x) < 4 or abs(correlation) >= 1 - 1e-12:
        return Outcome(correlation, math.nan, math.nan, p)
    reach = NORMAL_QUANTILE * 1.03 / math.sqrt(len(x) - 3)
    z = math.atanh(correlation)
    return Outcome(correlation, math.tanh(z - reach), math.tanh(z + reach), p)


def fisher(hits_a: int, n_a: int, hits_b: int, n_b: int) -> float:
    """Return the p-value of Fisher's exact test that two shares of hits differ."""
    from scipy import stats

    return float(stats.fisher_exact([[hits_a, n_a - hits_a], [hits_b, n_b - hits_b]]).pvalue)


def holm(ps: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values, which bound the chance of any false alarm among all of them.

    >>> [round(p, 2) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(ps)), key=ps.__getitem__)
    adjusted, largest = [0.0] * len(ps), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - place) * ps[index]))
        adjusted[index] = largest
    return adjusted


def _outcome(estimate: float, test: Any) -> Outcome:
    from scipy import stats

    interval = test.confidence_interval(1 - LEVEL)
    ends = float(interval.low), float(interval.high)
    error = (ends[1] - ends[0]) / 2 / float(stats.t.ppf(1 - LEVEL / 2, test.df))
    return Outcome(estimate, *ends, float(test.pvalue), error, float(test.df))


def _with_shared_error(
    estimate: float,
    samples: Sequence[Sequence[float]],
    shared: float,
    expected: float = 0.0,
    weights: Sequence[float] | None = None,
) -> Outcome:
    """Return Welch's test that a weighted sum of means, with a further known error, is ``expected``.

    The further error never makes a result surer: of the tests with and without it the larger p is returned,
    and the wider interval. :func:`equivalence` asks both.

    Args:
        estimate: the weighted sum.
        samples: the values behind each mean.
        shared: variance of the further error of the sum.
        expected: the sum's value if there is no effect.
        weights: of the means; 1 or -1 if they are not given, since only their squares matter.
    """
    from scipy import stats

    squares = [weight * weight for weight in weights or [1.0] * len(samples)]
    variances = [w * statistics.variance(x) / len(x) for w, x in zip(squares, samples, strict=True)]
    doubt = sum(part * part / (len(sample) - 1) for part, sample in zip(variances, samples, strict=True))

    def with_variance(total: float) -> Outcome:
        freedom = total * total / doubt if doubt > 0 else math.inf
        error, tail = math.sqrt(total), stats.t(freedom) if math.isfinite(freedom) else stats.norm()
        reach = float(tail.ppf(1 - LEVEL / 2)) * error
        p = 2 * float(tail.sf(abs(estimate - expected) / error))
        return Outcome(estimate, estimate - reach, estimate + reach, p, error, freedom)

    outcomes = [with_variance(total) for total in (sum(variances) + shared, sum(variances)) if total > 0]
    *others, widest = sorted(outcomes, key=lambda outcome: outcome.high - outcome.low)
    also = (others[0].error, others[0].freedom) if others else None
    return replace(widest, p=max(outcome.p for outcome in outcomes), also=also)


def _without_spread(estimate: float, expected: float) -> Outcome:
    return Outcome(estimate, math.nan, math.nan, 1.0 if estimate == expected else math.nan)


@contextmanager
def _one_side_may_be_constant() -> Iterator[None]:
    """Silence SciPy's warning about a sample without spread, beside one that has some."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        yield
