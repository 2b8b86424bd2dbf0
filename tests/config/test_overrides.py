"""Hydra's grammar: quoting keeps values, and lists of values are recognised."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.config import compose_run, run_dir_override
from zoo.config.overrides import canonical, is_sweep, parse, quote, swept_values, to_text


@pytest.mark.parametrize(
    "text", ["", "a b", "it's", 'a "b"', "x\\", "a\\b", "a\\'b", "${x}", "1", "a,b", "[1"]
)
def test_a_quoted_text_is_read_unchanged(text):
    assert parse(f"key={quote(text)}").value() == text


@pytest.mark.parametrize("directory", ["a b", "it's", "a\\b", "a,b", "a=b"])
def test_a_run_directory_may_have_any_name(directory):
    config = compose_run(["logger=none", run_dir_override(Path(directory))])
    assert str(config.hydra.run.dir) == directory


def test_a_text_that_hydra_reads_as_a_number_is_not_quoted():
    assert [to_text(value) for value in ("1e-4", "true", "null", "maf")] == [
        "1e-4",
        "'true'",
        "'null'",
        "maf",
    ]


def test_spellings_of_one_value_are_equal_and_other_values_are_not():
    assert canonical("1e-3") == canonical("0.001")
    assert canonical("a b") == canonical("'a b'")
    assert canonical("1") != canonical("'1'")
    assert canonical("true") != canonical("'true'")


def test_only_lists_of_values_are_sweeps():
    assert [is_sweep(o) for o in ("a=1,2", "a=range(0,2)", "a=[1,2]", "a='1,2'", "a")] == [True, True] + [
        False
    ] * 3
    assert swept_values("a=x,y") == ["x", "y"]
    assert swept_values("a=[1,2]") == ["[1,2]"]
