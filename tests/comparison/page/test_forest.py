"""Effects of the claims as the page draws them: factors around 1 and differences around 0, with zones."""

from __future__ import annotations

from zoo.comparison.claims.evidence import Part
from zoo.comparison.page.evidence import drawn_effect
from zoo.comparison.statistics import Outcome


def test_a_factor_and_a_difference_have_the_zones_of_their_margins() -> None:
    factor = Part(sentence="a", n="5", unit="factor", outcome=Outcome(0.5, 0.4, 0.6, 0.01, factor=True))
    difference = Part(sentence="b", n="5", unit="nats", outcome=Outcome(0.5, 0.4, 0.6, 0.01))
    drawn, written = drawn_effect(factor, 1.25), drawn_effect(difference, 0.03)
    assert drawn is not None
    assert written is not None
    assert (drawn["ratio"], drawn["zone"]) == (True, [0.8, 1.25])
    assert (written["ratio"], written["zone"]) == (False, [-0.03, 0.03])


def test_the_zone_that_a_claim_itself_names_is_the_one_that_is_drawn() -> None:
    outcome = Outcome(0.97, 0.94, 1.004, 0.08, factor=True)
    drawn = drawn_effect(Part(sentence="a", n="5", outcome=outcome, within=(0.8, 1.25)), None)
    assert drawn is not None
    assert drawn["zone"] == [0.8, 1.25]


def test_what_no_single_effect_says_is_written_and_not_drawn() -> None:
    outcome = Outcome(1.0, 1.0, 1.0, 0.0)
    assert drawn_effect(Part(sentence="a", n="5", outcome=outcome, brief="as D^1"), None) is None
