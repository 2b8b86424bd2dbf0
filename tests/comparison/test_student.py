"""Student's t distribution agrees with SciPy's, far into its tails."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from zoo.comparison.student import quantile, two_sided

T = np.array([0.0, 1e-9, 0.1, 0.7, 1.0, 2.776, 10.0, 1e3, 1e8])


@pytest.mark.parametrize("freedom", [0.3, 1.0, 1.7, 4.0, 8.13, 99.0, 5e3, 1e6])
def test_probabilities_of_both_tails(freedom: float) -> None:
    expected = 2 * stats.t.sf(T, freedom)
    for sign in (1, -1):
        np.testing.assert_allclose(two_sided(sign * T, np.full(T.shape, freedom)), expected, rtol=1e-8)


def test_what_has_no_probability_is_nan_and_an_infinite_gap_is_certain() -> None:
    t, freedom = np.array([math.nan, 1.0, 1.0, math.inf]), np.array([3.0, math.nan, 0.0, 3.0])
    assert np.isnan(two_sided(t, freedom)[:3]).all()
    assert two_sided(t, freedom)[3] == 0.0


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("freedom", [1, 2, 4, 29, 1000])
def test_quantiles(freedom: int, level: float) -> None:
    assert quantile(freedom, level) == pytest.approx(stats.t.ppf((1 + level) / 2, freedom), rel=1e-10)
