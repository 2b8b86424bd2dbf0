"""The verdict of one test."""

from __future__ import annotations

from zoo.comparison.claims.evidence import REFUTED, SUPPORTED, UNDECIDED, judge
from zoo.comparison.statistics import Outcome


def test_a_test_decides_by_its_direction_if_it_is_significant():
    below, above = Outcome(0.5, 0.4, 0.6, 0.01), Outcome(2.0, 1.5, 2.5, 0.01)
    assert judge(below, "lower", than=1.0) == judge(above, "higher", than=1.0) == SUPPORTED
    assert judge(above, "lower", than=1.0) == judge(below, "higher", than=1.0) == REFUTED
    assert judge(Outcome(0.5, 0.1, 2.0, 0.05), "lower", than=1.0) == UNDECIDED
    assert judge(Outcome(0.5, 0.4, 0.6, float("nan")), "lower", than=1.0) == UNDECIDED
    assert judge(below, "lower") == REFUTED, "a difference is compared with 0"
