"""What the page says of a command whose defaults have changed since its run."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from zoo.comparison.collect import Run, collect
from zoo.comparison.page.reproduce import departure, restored
from zoo.config.identities import Identities
from zoo.config.identity import Identity

QUICKSTART = Path(__file__).resolve().parents[3] / "results" / "quickstart" / "records"


@pytest.fixture
def run() -> Run:
    return next(run for run in collect([QUICKSTART])[0] if run.record.model == "glow")


def with_config(run: Run, **changes) -> Run:
    source = run.record.provenance
    return replace(run, record=replace(run.record, provenance=replace(source, **changes)))


def test_a_command_that_makes_the_same_run_today_needs_no_word(run: Run) -> None:
    assert departure(run) == ""


def test_a_changed_default_is_named_with_both_values_and_the_commit(run: Run) -> None:
    config = dict(run.record.provenance.config)
    config["training"] = config["training"] | {"weight_decay": 0.25}
    old = with_config(run, config=config, config_hash="of another time", git_commit="0123456789abcdef")
    sentence = departure(old)
    today = run.record.provenance.config_hash[:12]
    assert sentence.startswith(
        f"Made by an older zoo: this command trains today's configuration, hash {today} instead of of another"
        " t; changed since: training.weight_decay 0.25 (now 0"
    )
    assert sentence.endswith("; check out commit 0123456789ab for this one.")


@pytest.mark.parametrize(
    "changes",
    [
        ["training.weight_decay=0.25"],
        ["model.steps=2", "evaluation.throughput_batches=[16, 64]", "evaluation.extractor=random-conv"],
        [
            "training.patience=7",
            "trainer.precision=bf16-mixed",
            "training.lr=1e-05",
            "training.compile=true",
        ],
    ],
)
def test_changed_defaults_are_given_by_a_command_that_makes_the_same_run(run: Run, changes) -> None:
    overrides = tuple(run.record.provenance.overrides)
    then = Identities().of((*overrides, *changes))
    old = with_config(run, config=then.config, config_hash=then.config_hash)
    assert departure(old)
    command = restored(old)
    assert command.startswith(f"{run.record.provenance.command} ")
    assert Identities().of(shlex.split(command)[2:]).config_hash == then.config_hash
    assert len(shlex.split(command)[2:]) == len(overrides) + len(changes)


def test_no_command_is_given_where_none_makes_the_same_run(run: Run) -> None:
    assert restored(run) == ""
    source = run.record.provenance
    changed = source.config | {"training": source.config["training"] | {"weight_decay": 0.25}}
    assert restored(with_config(run, config=changed, config_hash="other")) == "", "its hash is not reached"
    then = Identities().of((*source.overrides, "training.weight_decay=0.25"))
    for more in ({"forgotten": 1}, {"_target_": "zoo.models.of_before.Glow"}):
        config = then.config | {"model": then.config["model"] | more}
        hashes = Identity.of(then.model, then.data, config).config_hash
        assert restored(with_config(run, config=config, config_hash=hashes)) == ""


def test_a_setting_that_has_another_name_now_has_not_changed(run: Run) -> None:
    config = dict(run.record.provenance.config)
    model = dict(config["model"])
    pixels = model.pop("pixels")
    config["model"] = model | pixels
    old = with_config(run, config=config, config_hash="of another time")
    assert "; the settings are the same, but are hashed otherwise" in departure(old)
    config["model"] = config["model"] | {"alpha": 0.25}
    assert "; changed since: model.pixels.alpha 0.25 (now " in departure(old)
    assert restored(old) == ""


def test_what_this_zoo_refuses_is_said(run: Run) -> None:
    old = with_config(run, overrides=["model=of_before"], config_hash="of another time")
    assert departure(old).startswith("This zoo refuses the command (")


def test_nothing_is_said_without_a_command_or_of_own_data(run: Run) -> None:
    assert departure(with_config(run, command=None, config_hash="other")) == ""
    config = run.record.provenance.config
    own = config | {"data": config["data"] | {"path": "somewhere"}}
    assert departure(with_config(run, config=own, config_hash="other")) == ""
