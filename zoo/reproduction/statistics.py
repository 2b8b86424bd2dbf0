"""The difference between a published value and ours, in units of its error.

Two spreads are kept apart everywhere: the standard error over *test points* of one fitted model, and the
standard deviation over *refits* (seeds). They meet in the error of the difference alone:

    variance = published refit variance / published runs + our refit variance / our runs
             + published test variance + our test variance

in the paper's own terms: a paper that gives the spread of its runs is compared by spreads of runs alone,
since both sides use the same test points. Where a paper gives no spread of runs, ours stands for both sides.

Few seeds estimate a spread badly. The combined error is therefore widened by Student's t with the degrees of
freedom of Welch and Satterthwaite, such that the truth lies within two combined errors as often as for a
normal distribution: |z| > 2 happens by chance in 4.55 % of all cells, however few seeds there are. Where both
sides have their own spreads, these degrees of freedom are an approximation, which two seeds against ten runs
strain (9 %).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import chi2, norm, t

BY_CHANCE = float(2 * norm.sf(2))  # how often |z| > 2 happens where both sides have the same mean


@dataclass(frozen=True)
class Spread:
    """The error of a mean, as far as it is known.

    Attributes:
        runs: number of fitted models behind the mean.
        refit: standard deviation over them; None if unknown.
        refit_freedom: degrees of freedom of ``refit``; infinity for one that is known exactly.
        test: standard error over the test points; None if unknown.
        over_runs: whether the error that is stated is one over refits, also where its value is not usable.
    """

    runs: int
    refit: float | None = None
    refit_freedom: float = math.inf
    test: float | None = None
    over_runs: bool = False


@dataclass(frozen=True)
class Difference:
    """Ours minus published.

    Attributes:
        value: in the paper's unit.
        error: combined error, widened for few seeds: the truth is within two of them 95.45 % of the time.
        freedom: degrees of freedom of the unwidened error.
        interval: the 90 % interval of the difference; equivalence at 5 % holds if it lies within the margins.
        refit_known: whether a spread over refits is in ``error``.
        borrowed: whose spread over refits stands for the side that gives none: ``published``, ``ours`` or
            ``""``.
    """

    value: float
    error: float
    freedom: float
    interval: tuple[float, float]
    refit_known: bool
    borrowed: str

    @property
    def z(self) -> float:
        """The difference in combined errors."""
        if not self.error:
            return math.copysign(math.inf, self.value) if self.value else 0.0
        return self.value / self.error

    @property
    def score(self) -> float:
        """The normal score with the probability of this difference: for sums over cells."""
        if not math.isfinite(self.z):
            return self.z
        scaled = self.z * _widening(self.freedom)
        tail = float(t.sf(abs(scaled), self.freedom)) if math.isfinite(self.freedom) else norm.sf(abs(scaled))
        return math.copysign(float(norm.isf(max(tail, 1e-300))), self.z)


def difference(published: float, theirs: Spread, value: float, ours: Spread) -> Difference | None:
    """Return the difference of two means; None if neither side has an error.

    A side without a spread over refits borrows the other's. The spread over test points counts unless the
    paper states a spread over runs: then both sides are means over runs on the same test points. That holds
    too where the value of its spread was only recalled, and ours stands for both.
    """
    parts: list[tuple[float, float]] = []  # variances of the difference, with their degrees of freedom
    borrowed = ""
    if theirs.refit is not None and ours.refit is not None:
        parts = [
            (theirs.refit**2 / theirs.runs, theirs.refit_freedom),
            (ours.refit**2 / ours.runs, ours.refit_freedom),
        ]
    else:
        known = ours if ours.refit is not None else theirs
        if known.refit is not None:
            borrowed = "ours" if known is ours else "published"
            parts = [(known.refit**2 * (1 / theirs.runs + 1 / ours.runs), known.refit_freedom)]
    if theirs.refit is None and not (theirs.over_runs and parts):
        tests = [spread.test for spread in (theirs, ours) if spread.test is not None]
        if len(tests) == 1:
            tests = [tests[0], tests[0]]  # the same test points: as uncertain on the side that does not say
        parts += [(test**2, math.inf) for test in tests]
    variance = sum(part for part, _ in parts)
    if not parts:
        return None
    freedom = _freedom(parts)
    error = math.sqrt(variance)
    half = error * _quantile(0.95, freedom)
    gap = value - published
    refit_known = theirs.refit is not None or ours.refit is not None
    return Difference(
        gap, error * _widening(freedom), freedom, (gap - half, gap + half), refit_known, borrowed
    )


def _freedom(parts: Sequence[tuple[float, float]]) -> float:
    """Return Welch's and Satterthwaite's degrees of freedom of a sum of variances."""
    total = sum(variance for variance, _ in parts)
    below = sum(variance**2 / freedom for variance, freedom in parts if math.isfinite(freedom))
    return total**2 / below if below else math.inf


def _quantile(probability: float, freedom: float) -> float:
    return float(t.ppf(probability, freedom)) if math.isfinite(freedom) else float(norm.ppf(probability))


def _widening(freedom: float) -> float:
    """Return the factor by which Student's t makes an error larger than a normal distribution would."""
    return _quantile(1 - BY_CHANCE / 2, freedom) / 2


def overall(differences: Sequence[Difference]) -> tuple[float, int, float] | None:
    """Return the sum of squared normal scores, the number of cells, and the probability of such a sum by
    chance.

    None if there is no cell. The cells of one run depend on each other, so the probability is a guide.
    """
    scores = [one.score for one in differences if math.isfinite(one.score)]
    if not scores:
        return None
    total = sum(score**2 for score in scores)
    return total, len(scores), float(chi2.sf(total, len(scores)))


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample deviation; None for the deviation of a single value."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
