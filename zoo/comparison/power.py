"""The power of the tests: the smallest effect that one sees, and how many seeds see an effect.

SciPy is imported when a function is called, so that ``zoo compare`` starts without it.
"""

from __future__ import annotations

import functools
import math

from zoo.comparison.statistics import LEVEL, Outcome, exponential

POWER = 0.8  # share of studies in which an effect is to be seen
FIRST_STAGE, LAST_STAGE = 5, 20  # seeds a side, the least and the most that the two-stage rule asks for
LARGE = 200.0  # degrees of freedom, from which a t is a normal deviate to 1 %


@functools.cache
def detectable(outcome: Outcome) -> float:
    """Return the smallest effect that a t-test of this error sees with the power :data:`POWER`.

    It is a factor above 1, or a difference above 0; NaN if the outcome has no error.
    """
    if not outcome.error > 0 or outcome.freedom < 0.5:
        return math.nan
    effect = _in_standard_errors(outcome.freedom) * outcome.error
    return exponential(effect) if outcome.factor else effect


def seeds_to_see(effect: float, spread: float, *, paired: bool = False) -> int:
    """Return with how many seeds a side an effect is seen with the power :data:`POWER`.

    By Stein's two-stage rule the spread of the first seeds gives the number of all seeds: as many as the
    normal approximation needs, but no fewer than :data:`FIRST_STAGE` and no more than :data:`LAST_STAGE`.

    Args:
        effect: a difference of means, of logarithms if the effect is a factor.
        spread: the larger standard deviation of the two sides, or that of the differences of pairs.
        paired: whether the values are pairs.
    """
    needed = (1 if paired else 2) * (_of_normal_values() * spread / effect) ** 2
    return min(LAST_STAGE, max(FIRST_STAGE, math.ceil(needed)))


def _in_standard_errors(freedom: float) -> float:
    """Return the effect that a t-test sees with the power :data:`POWER`, in standard errors of the effect."""
    from scipy import optimize, stats

    if freedom > LARGE:
        return _of_normal_values()
    limit = float(stats.t.ppf(1 - LEVEL / 2, freedom))

    def lacking(shift: float) -> float:
        """Return how much the power at a shift of so many standard errors falls short."""
        law = stats.nct(freedom, shift)
        power = float(law.sf(limit))  # the other tail adds less than 1e-4 where the power is high
        return POWER - (1.0 if math.isnan(power) else power)  # SciPy gives NaN far out

    return float(optimize.brentq(lacking, 1e-3, 3 * limit + 10, xtol=1e-4))


def _of_normal_values() -> float:
    """Return the effect that a test of a known error sees with the power :data:`POWER`, in that error."""
    from scipy import stats

    return float(stats.norm.ppf(1 - LEVEL / 2) + stats.norm.ppf(POWER))
