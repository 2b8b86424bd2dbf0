"""What the page says of a command whose defaults have changed since its run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from zoo.comparison.collect import Run, collect
from zoo.comparison.page.reproduce import departure

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


def test_what_this_zoo_refuses_is_said(run: Run) -> None:
    old = with_config(run, overrides=["model=of_before"], config_hash="of another time")
    assert departure(old).startswith("This zoo refuses the command (")


def test_nothing_is_said_without_a_command_or_of_own_data(run: Run) -> None:
    assert departure(with_config(run, command=None, config_hash="other")) == ""
    config = run.record.provenance.config
    own = config | {"data": config["data"] | {"path": "somewhere"}}
    assert departure(with_config(run, config=own, config_hash="other")) == ""
