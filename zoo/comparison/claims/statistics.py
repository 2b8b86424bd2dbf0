"""Tests for few runs: Welch's t, one-sample t, regression, rank correlation, Fisher's exact. Pure Python.

Every p-value is two-sided. Nothing here knows what is compared.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LEVEL = 0.05


@dataclass(frozen=True)
class Outcome:
    """What a test found.

    Attributes:
        estimate: a difference of means, a ratio (of geometric means), a slope or a correlation.
        low, high: its 95 % confidence interval; NaN where the test gives none.
        p: two-sided.
    """

    estimate: float
    low: float
    high: float
    p: float


def t_cdf(t: float, freedom: float) -> float:
    """P(T <= t) of Student's t; ``freedom`` need not be whole.

    >>> round(t_cdf(2.776445, 4), 6)
    0.975
    """
    if math.isinf(t):
        return float(t > 0)
    tail = 0.5 * beta_cdf(freedom / (freedom + t * t), freedom / 2, 0.5)
    return 1 - tail if t > 0 else tail


def t_quantile(p: float, freedom: float) -> float:
    """The t at which :func:`t_cdf` is ``p``, by bisection."""
    low, high = -1.0, 1.0
    while t_cdf(low, freedom) > p:
        low *= 2
    while t_cdf(high, freedom) < p:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, freedom) < p else (low, middle)
    return (low + high) / 2


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (Lentz's method)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # where the fraction of the other side converges faster
        return 1 - beta_cdf(1 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    fraction = d
    for m in range(1, 1000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        before = fraction
        for term in (even, odd):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            fraction *= c * d
        if abs(fraction / before - 1) < 1e-15:
            break
    return math.exp(log_front) * fraction / a


def welch(a: Sequence[float], b: Sequence[float]) -> Outcome:
    """mean(a) - mean(b) of samples with variances of their own, at least two values each.

    Samples without any spread are no evidence of what another seed would give: p is 1 where their means agree
    and NaN where they do not.
    """
    gap = statistics.fmean(a) - statistics.fmean(b)
    u, v = statistics.variance(a) / len(a), statistics.variance(b) / len(b)
    if u + v == 0:
        return Outcome(gap, math.nan, math.nan, 1.0 if gap == 0 else math.nan)
    freedom = (u + v) ** 2 / (u**2 / (len(a) - 1) + v**2 / (len(b) - 1))
    return _student(gap, math.sqrt(u + v), freedom)


def mean_of(a: Sequence[float], expected: float = 0.0) -> Outcome:
    """The mean of a sample against an expected value, by a one-sample t-test."""
    mean, error = statistics.fmean(a), statistics.stdev(a) / math.sqrt(len(a))
    if error == 0:
        return Outcome(mean, math.nan, math.nan, 1.0 if mean == expected else math.nan)
    outcome = _student(mean - expected, error, len(a) - 1)
    return Outcome(mean, outcome.low + expected, outcome.high + expected, outcome.p)


def slope(x: Sequence[float], y: Sequence[float]) -> Outcome:
    """The slope of a least-squares line through at least three points, against 0.

    An exact line has a slope without error: p is 0, or 1 where it is level.
    """
    if len(x) < 3:
        raise ValueError("A slope with an error needs at least three points.")
    middle, level = statistics.fmean(x), statistics.fmean(y)
    spread = sum((u - middle) ** 2 for u in x)
    rise = sum((u - middle) * (v - level) for u, v in zip(x, y, strict=True)) / spread
    rest = sum((v - level - rise * (u - middle)) ** 2 for u, v in zip(x, y, strict=True))
    scale = sum((v - level) ** 2 for v in y)
    if rest <= 1e-20 * max(scale, 1e-300):
        return Outcome(rise, rise, rise, 1.0 if abs(rise) < 1e-12 else 0.0)
    return _student(rise, math.sqrt(rest / (len(x) - 2) / spread), len(x) - 2)


def _student(gap: float, error: float, freedom: float) -> Outcome:
    p = 2 * t_cdf(-abs(gap) / error, freedom)
    reach = t_quantile(1 - LEVEL / 2, freedom) * error
    return Outcome(gap, gap - reach, gap + reach, p)


def ratio(test: Callable[..., Outcome], *samples: Sequence[float]) -> Outcome:
    """``test`` of the logarithms of positive samples; its estimate and interval as factors."""
    found = test(*[[math.log(value) for value in sample] for sample in samples])
    return Outcome(math.exp(found.estimate), math.exp(found.low), math.exp(found.high), found.p)


def ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1; equal values share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found = [0.0] * len(values)
    for _, tied in itertools.groupby(enumerate(order), key=lambda place: values[place[1]]):
        places = list(tied)
        mean = statistics.fmean(place for place, _ in places) + 1
        for _, index in places:
            found[index] = mean
    return found


def spearman(x: Sequence[float], y: Sequence[float], draws: int = 9999) -> Outcome:
    """Spearman's rank correlation; its p by permutation: all of them up to 8 values, else ``draws`` of them.

    The interval is Fisher's, with the standard error 1.03 / sqrt(n - 3) of rank correlations (Fieller et al.
    1957); NaN below 4 values. Fewer than 3 values or no spread: NaN.
    """
    if len(x) < 3 or len(set(x)) == 1 or len(set(y)) == 1:
        return Outcome(math.nan, math.nan, math.nan, math.nan)
    u, v = ranks(x), ranks(y)
    observed = statistics.correlation(u, v)
    if len(x) <= 8:
        found = [_product(u, order) for order in itertools.permutations(v)]
        extra = 0
    else:
        source = random.Random(0)
        found = [_product(u, source.sample(v, len(v))) for _ in range(draws)]
        extra = 1
    centre = len(u) * statistics.fmean(u) * statistics.fmean(v)
    reach = abs(_product(u, v) - centre) - 1e-9
    p = (sum(abs(value - centre) >= reach for value in found) + extra) / (len(found) + extra)
    if len(x) < 4 or abs(observed) >= 1 - 1e-12:
        return Outcome(observed, math.nan, math.nan, p)
    half = 1.959964 * 1.03 / math.sqrt(len(x) - 3)
    z = math.atanh(observed)
    return Outcome(observed, math.tanh(z - half), math.tanh(z + half), p)


def _product(u: Sequence[float], v: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(u, v, strict=True))


def fisher(hits_a: int, n_a: int, hits_b: int, n_b: int) -> float:
    """Fisher's exact p that two shares differ: the tables that are no likelier than the one that was seen."""
    hits = hits_a + hits_b

    def weight(k: int) -> int:
        return math.comb(n_a, k) * math.comb(n_b, hits - k)

    seen = weight(hits_a)
    possible = [weight(k) for k in range(max(0, hits - n_b), min(n_a, hits) + 1)]
    return sum(w for w in possible if w <= seen) / sum(possible)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: any of them below the level keeps the chance of one false alarm below it."""
    order = sorted(range(len(ps)), key=ps.__getitem__)
    adjusted, largest = [0.0] * len(ps), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - place) * ps[index]))
        adjusted[index] = largest
    return adjusted
