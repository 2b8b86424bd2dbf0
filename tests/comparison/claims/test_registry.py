"""The registry of rules: complete, true to the code, and older than what it calls registered."""

from __future__ import annotations

import ast
import copy
from datetime import datetime, timedelta

import pytest
from simulated_runs import around, gan, judged, wgan

from zoo.comparison import guards, power, statistics
from zoo.comparison.claims import decision, registry, render, sensitivity
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
        "power": power.POWER,
        "least": statistics.LEAST_SEEDS,
        "margin": statistics.MARGIN,
        "collapsed": guards.UNLEARNED,
        "collapsed_recall": guards.LEAST_RECALL,
        "heavy": statistics.HEAVY,
        "far": sensitivity.FAR,
        "robust": decision.ROBUST,
        "kinds": decision.LEAST_KINDS,
        "seen": {name: [0, 1, 2, 3, 4] for name in ("digits", "8gaussians", "mnist")},
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


def test_every_module_that_decides_is_part_of_the_hash(monkeypatch, tmp_path):
    claims = all_claims()
    before = {claim.key: rule_hash(claim.key, claim.find) for claim in claims}
    (source,) = [file for file in registry.DECIDING if file.name == "evidence.py"]
    text = source.read_text()
    assert text.count("if not outcome.significant:") == 1
    broken = tmp_path / "evidence.py"
    broken.write_text(text.replace("if not outcome.significant:", "if False:"))
    reworded = tmp_path / "reworded.py"
    reworded.write_text(
        "# a comment\n" + text.replace('"""Return the verdict of one test.', '"""Say what a test says.')
    )
    for file, same in ((broken, False), (reworded, True)):
        modules = [file if one == source else one for one in registry.DECIDING]
        monkeypatch.setattr(registry, "DECIDING", modules)
        rule_hash.cache_clear()
        after = {claim.key: rule_hash(claim.key, claim.find) for claim in claims}
        monkeypatch.undo()
        rule_hash.cache_clear()
        assert [before[key] == after[key] for key in before] == [same] * len(before)


def test_the_modules_of_verdicts_are_all_there():
    """Those that claims import of the comparison, but for what only writes words and draws."""
    written = {
        "render",
        "panels",
        "wording",
        "registry",
        "__init__",
        "tables",
    }
    names = {file.stem for file in registry.DECIDING}
    folder = registry.FILE.parent
    assert {file.stem for file in folder.glob("*.py")} - written <= names
    imported = set()
    for file in [*folder.glob("*.py"), *folder.glob("sentences/*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zoo.comparison"):
                parts = (node.module or "").split(".")[2:]
                imported |= {parts[-1]} if parts else {alias.name for alias in node.names}
    comparison = {file.stem for file in folder.parent.glob("*.py")}
    assert imported & comparison - {"render", "tables", "view"} <= names


def study(finished_at, seeds=10):
    runs = gan(distance=around(3)) + wgan(distance=around(9, salt=1))
    for run in runs:
        run.record.seed += seeds
        run.record.provenance.finished_at = finished_at
    return runs


def test_seeds_that_had_been_seen_are_exploratory_for_ever():
    assert not judged("wgan", study("2031-01-01T00:00:00+00:00")).exploratory
    assert judged("wgan", study("2031-01-01T00:00:00+00:00", seeds=0)).exploratory


def test_a_run_that_started_before_the_rule_is_older_than_it():
    rule = registered_claims()["wgan"]
    (run,) = study("2031-01-01T00:00:00+00:00")[:1]
    ended = datetime.fromisoformat(rule.date) + timedelta(seconds=60)
    run.record.provenance.finished_at = ended.isoformat()
    for seconds, older in ((30.0, False), (90.0, True)):
        run.record.cost.total_seconds = seconds
        assert rule.older(run) == older


def test_results_older_than_their_rule_are_exploratory_in_so_many_words():
    for old in ("2026-11-26T20:14:47+00:00", None):
        decision = judged("wgan", study(old))
        assert decision.exploratory
        assert "exploratory" in render.verdicts([decision])
        assert "the rule is younger" in render.markdown([decision], {}, None)
    fresh = judged("wgan", study("2031-01-01T00:00:00+00:00"))
    assert not fresh.exploratory
    assert render.standing(fresh) == "registered, first stage: 3 of 5 seeds"


def test_one_old_record_makes_a_verdict_exploratory():
    runs = study("2031-01-01T00:00:00+00:00")
    runs[0].record.provenance.finished_at = "2026-11-26T20:14:47+00:00"
    assert judged("wgan", runs).exploratory
