"""Verdicts from evidence, and the ledger's sentences about missing evidence."""

from __future__ import annotations

import pytest
from simulated_runs import around, judged, simulate, wgan

from zoo.comparison.claims.decision import Decision, decide
from zoo.comparison.claims.evidence import REFUTED, SUPPORTED, UNDECIDED, Missing, Part, claim
from zoo.comparison.claims.render import measured_text, missing_beside_text, missing_text
from zoo.comparison.claims.sentences import all_claims


def part(verdict, decides=True):
    return Part(sentence=f"Found {verdict}.", n="3", verdict=verdict, decides=decides)


def decision(*evidence, data="digits"):
    @claim("A sentence.", order=1)
    def a_key(study):
        yield from evidence

    parts = [item for item in evidence if isinstance(item, Part)]
    missing = [item for item in evidence if isinstance(item, Missing)]
    return Decision(a_key, data, "protocol", parts, missing)


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ([], UNDECIDED),
        ([part(SUPPORTED)], SUPPORTED),
        ([part(SUPPORTED), part(SUPPORTED)], SUPPORTED),
        ([part(SUPPORTED), part(REFUTED)], REFUTED),
        ([part(SUPPORTED), part(UNDECIDED)], UNDECIDED),
        ([part(UNDECIDED), part(REFUTED)], REFUTED),
        ([part(SUPPORTED), part(REFUTED, decides=False)], SUPPORTED),
        ([part(SUPPORTED, decides=False)], UNDECIDED),
        ([part(SUPPORTED), Missing(needs="more")], UNDECIDED),
        ([part(SUPPORTED), Missing(needs="more", decides=False)], SUPPORTED),
        ([part(REFUTED), Missing(needs="more")], REFUTED),
    ],
)
def test_a_claim_is_supported_if_all_that_decides_supports_it(evidence, expected):
    assert decision(*evidence).verdict == expected


def test_what_is_missing_is_reported_with_the_commands_that_make_it():
    commands = ("zoo sweep other", "zoo claims ... runs/other")
    undecided = decision(Missing(needs="a"), Missing(needs="b", commands=commands), Missing(needs="c"))
    assert missing_text(undecided) == [
        "Undecided: needs a; c: run `zoo sweep claims_digits`.",
        "Undecided: needs b: run `zoo sweep other` and give its runs too, `zoo claims ... runs/other`.",
    ]
    assert measured_text(decision(part(REFUTED), Missing(needs="a"))) == (
        "Found not supported. Not measured: a: run `zoo sweep claims_digits`."
    )
    beside = decision(part(SUPPORTED), Missing(needs="a", decides=False))
    assert missing_text(beside) == []
    assert missing_beside_text(beside) == ["Beside it, not measured: a: run `zoo sweep claims_digits`."]


@pytest.mark.parametrize(
    ("data", "sweep"), [("digits", "claims_digits"), ("mnist", "claims_mnist"), ("rings", "claims_digits")]
)
def test_the_sweep_of_the_same_data_is_named(data, sweep):
    runs = [*wgan(data=data), *simulate("gan", "gan", data=data)]
    (text,) = missing_text(judged("wgan", runs))
    assert text.endswith(f"run `zoo sweep {sweep}`.")


def test_a_claim_is_judged_once_for_each_study_that_measures_something():
    (vae,) = [one for one in all_claims() if one.key == "vae-blurry"]
    digits = simulate("vae", "vae", sharpness=around(0.4))
    mnist = simulate("vae", "vae", data="mnist", sharpness=around(0.4))
    moons = simulate("vae", "vae", data="moons", seeds=5)
    assert [decided.data for decided in decide([*digits, *moons, *mnist], [vae])] == ["digits", "mnist"]
    rings = simulate("vae", "vae", data="rings", seeds=4)
    assert [decided.data for decided in decide([*rings, *moons], [vae])] == ["moons"], "the largest study"
