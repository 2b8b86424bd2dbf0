"""The script that registers rules: a rule that changed gets a new hash and a new date, no other one does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import register
import yaml

from zoo.comparison.claims import registry
from zoo.comparison.claims.sentences import all_claims

WGAN = 'estimand: "distance of the WGAN with clipped weights over that of the GAN"'
LEVEL = "level: 0.05 "


@pytest.fixture(autouse=True)
def file(monkeypatch, tmp_path):
    """Return a copy of the registry, which the script and the ledger read instead of the committed one."""
    copy = tmp_path / "registry.yaml"
    copy.write_bytes(registry.FILE.read_bytes())
    monkeypatch.setattr(registry, "FILE", copy)
    monkeypatch.setattr(register, "FILE", copy)
    forget()
    yield copy
    monkeypatch.undo()
    forget()


def forget():
    """Let the registry be read and hashed anew."""
    for function in (registry.content, registry.registered_claims, registry.rule_hash):
        function.cache_clear()


def run(monkeypatch, *options):
    monkeypatch.setattr("sys.argv", ["register.py", *options])
    forget()
    register.main()
    forget()


def edit(file, old, new):
    text = file.read_text("utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), "utf-8")


def entries(file):
    return yaml.safe_load(file.read_text("utf-8"))["claims"]


def changed(before, after, key):
    """Return the claims of which a line of the entry is another one."""
    return {claim for claim in before if before[claim][key] != after[claim][key]}


def all_are_registered():
    return all(registry.registered(claim.key, claim.find)[1] for claim in all_claims())


def test_rules_that_are_registered_stay_as_they_are(file, monkeypatch):
    before = file.read_bytes()
    run(monkeypatch)
    assert file.read_bytes() == before


def test_a_changed_rule_gets_a_new_hash_and_the_date_of_now_and_the_others_keep_theirs(file, monkeypatch):
    before, start = entries(file), datetime.now(UTC)
    edit(file, WGAN, WGAN.replace("over", "divided by"))
    forget()
    assert not all_are_registered()
    run(monkeypatch)
    after = entries(file)
    assert changed(before, after, "hash") == changed(before, after, "date") == {"wgan"}
    assert (
        timedelta(seconds=-1) < datetime.fromisoformat(after["wgan"]["date"]) - start < timedelta(minutes=5)
    )
    assert all_are_registered()
    assert after["wgan"]["changes"] == before["wgan"]["changes"], "what changed is told by hand"


def test_a_constant_of_all_rules_dates_every_one_anew(file, monkeypatch):
    before = entries(file)
    edit(file, LEVEL, "level: 0.01 ")
    run(monkeypatch)
    after = entries(file)
    assert changed(before, after, "hash") == changed(before, after, "date") == before.keys()


def test_the_same_rules_in_other_words_keep_their_dates(file, monkeypatch, tmp_path):
    before = entries(file)
    (source,) = [one for one in registry.DECIDING if one.name == "decision.py"]
    rewritten = tmp_path / "decision.py"
    rewritten.write_text(source.read_text("utf-8") + "\nSAME = True\n", "utf-8")
    modules = tuple(rewritten if one == source else one for one in registry.DECIDING)
    monkeypatch.setattr(registry, "DECIDING", modules)
    told = yaml.safe_load(file.read_text("utf-8"))["rewrites"]
    run(monkeypatch, "--same-rules", 'A constant "SAME" was added.', "--effect", "none: nobody reads it")
    after = entries(file)
    (*earlier, last) = yaml.safe_load(file.read_text("utf-8"))["rewrites"]
    assert earlier == told, "the history stays"
    assert (last["what"], last["effect"]) == ('A constant "SAME" was added.', "none: nobody reads it")
    assert changed(before, after, "hash") == before.keys()
    assert changed(before, after, "date") == set()
    assert all_are_registered()
    forget()
    run(monkeypatch)
    assert entries(file) == after, "what is registered is not dated anew"
    with pytest.raises(SystemExit):  # without a word on what changed
        run(monkeypatch, "--same-rules")


def test_the_history_of_a_rule_and_its_caution_change_no_hash(file, monkeypatch):
    before = entries(file)
    edit(file, 'what: "The printed p is that of equivalence."', 'what: "Another story."')
    file.write_text(file.read_text("utf-8").replace("below: 30000", "below: 20000"), "utf-8")
    run(monkeypatch)
    after = entries(file)
    assert changed(before, after, "hash") == changed(before, after, "date") == set()
