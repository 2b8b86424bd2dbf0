"""Effects of the claims as the page draws them: factors around 1 with their zone, differences in words."""

from __future__ import annotations

from zoo.comparison.claims.evidence import Part
from zoo.comparison.page.evidence import drawn_effect
from zoo.comparison.statistics import Outcome


def test_a_factor_has_the_zone_of_its_margin_and_a_difference_has_none() -> None:
    factor = Part(sentence="a", n="5", unit="factor", outcome=Outcome(0.5, 0.4, 0.6, 0.01, factor=True))
    difference = Part(sentence="b", n="5", unit="nats", outcome=Outcome(0.5, 0.4, 0.6, 0.01))
    drawn, written = drawn_effect(factor, 1.25), drawn_effect(difference, 0.03)
    assert drawn is not None
    assert written is not None
    assert (drawn["ratio"], drawn["zone"]) == (True, [0.8, 1.25])
    assert (written["ratio"], written["zone"]) == (False, None)
