"""The registry of rules: complete, true to the code, and older than what it calls registered."""

from __future__ import annotations

import copy

import pytest
from simulated_runs import around, gan, judged, wgan

from zoo.comparison import guards, statistics
from zoo.comparison.claims import registry, render, sensitivity, verdict
from zoo.comparison.claims.registry import common, registered, registered_claims, rule_hash
from zoo.comparison.claims.sentences import all_claims


@pytest.mark.parametrize("claim", all_claims(), ids=lambda claim: claim.key)
def test_every_rule_is_registered_as_it_is(claim):
    rule, as_registered = registered(claim.key, claim.find)
    assert rule is not None
    assert as_registered, (
        "a rule was changed: set its date, describe the change, run python scripts/register.py"
    )


def test_no_entry_is_left_over():
    assert registered_claims().keys() == {claim.key for claim in all_claims()}


def test_the_registered_constants_are_those_of_the_code():
    assert common() == {
        "level": statistics.LEVEL,
        "power": statistics.POWER,
        "least": statistics.LEAST_SEEDS,
        "margin": statistics.MARGIN,
        "collapsed": guards.UNLEARNED,
        "collapsed_recall": guards.LEAST_RECALL,
        "heavy": statistics.HEAVY,
        "far": sensitivity.FAR,
        "robust": verdict.ROBUST,
    }


@pytest.mark.parametrize(
    ("where", "key", "value"),
    [
        ("wgan", "margins", {"factor": 9.0}),
        ("wgan", "date", "2020-01-01T00:00:00+00:00"),
        (None, "level", 0.1),
    ],
)
def test_a_changed_rule_has_another_hash(monkeypatch, where, key, value):
    claim = next(claim for claim in all_claims() if claim.key == "wgan")
    changed = copy.deepcopy(registry.content())
    (changed["claims"][where] if where else changed["common"])[key] = value
    monkeypatch.setattr(registry, "content", lambda: changed)
    rule_hash.cache_clear()
    try:
        assert rule_hash("wgan", claim.find) != registered_claims()["wgan"].hash
    finally:
        rule_hash.cache_clear()


def study(finished_at):
    runs = gan(distance=around(3)) + wgan(distance=around(9, salt=1))
    for run in runs:
        run.record.provenance.finished_at = finished_at
    return runs


def test_results_older_than_their_rule_are_exploratory_in_so_many_words():
    for old in ("2026-11-26T20:14:47+00:00", None):
        decision = judged("wgan", study(old))
        assert decision.exploratory
        assert "exploratory" in render.verdicts([decision])
        assert "the rule is younger" in render.markdown([decision], {}, None)
    fresh = judged("wgan", study("2031-01-01T00:00:00+00:00"))
    assert not fresh.exploratory
    assert render.standing(fresh) == "registered"


def test_one_old_record_makes_a_verdict_exploratory():
    runs = study("2031-01-01T00:00:00+00:00")
    runs[0].record.provenance.finished_at = "2026-11-26T20:14:47+00:00"
    assert judged("wgan", runs).exploratory
