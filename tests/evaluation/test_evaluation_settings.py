"""Tests of the protocol's settings, their hash and their errors."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from zoo.errors import ZooError
from zoo.evaluation.protocol import protocol_contents, protocol_hash
from zoo.evaluation.settings import Settings
from zoo.record import PROTOCOL_VERSION


def test_the_yaml_settings_are_the_defaults_with_a_fixed_hash():
    shipped = yaml.safe_load(Path(__file__).parents[2].joinpath("conf/evaluation/default.yaml").read_text())
    assert Settings.of(shipped) == Settings()
    assert protocol_hash(shipped) == protocol_hash({}) == protocol_hash({"inception_weights": "elsewhere"})
    assert protocol_hash(shipped) == protocol_hash({"dinov2_weights": "elsewhere"})
    # After a change all models must be judged again.
    assert protocol_hash(shipped) == "26f44b5473a3"
    assert protocol_hash({"samples": 7}) != protocol_hash({})
    assert protocol_hash({"time_limit_seconds": 5}) == protocol_hash({"time_limit_seconds": 5.0})


def test_a_protocol_is_its_version_and_settings_without_paths():
    contents = protocol_contents({"samples": 7, "inception_weights": "elsewhere"})
    assert contents.version == PROTOCOL_VERSION
    assert contents.settings["samples"] == 7
    assert contents.settings["throughput_batches"] == [1, 16, 256]
    assert contents.settings["time_limit_seconds"] == 5.0
    assert not any("weights" in name for name in contents.settings)
    assert len(contents.settings) == 13


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("samples", 0, "a whole number, at least 1 or null; got 0"),
        ("samples", "many", "a whole number, at least 1 or null; got 'many'"),
        ("samples", True, "whole number"),
        ("pairwise_examples", 1, "at least 2"),
        ("likelihood_examples", 0, "at least 1 or null; got 0"),
        ("likelihood_examples", 2.5, "or null"),
        ("latency_repeats", 0, "at least 1"),
        ("throughput_batches", [], "at least one batch size"),
        ("throughput_batches", [0], "a list of whole numbers, each at least 1; got [0]"),
        ("throughput_batches", 3, "a list of whole numbers"),
        ("time_limit_seconds", "x", "a number"),
        ("time_limit_seconds", math.nan, "a number"),
        ("time_limit_seconds", math.inf, "a number"),
        ("time_limit_seconds", -1, "at least 0"),
        ("inception_weights", 3, "a word or null"),
        ("dinov2_weights", 3, "a word or null"),
    ],
)
def test_a_wrong_setting_is_named_in_a_sentence(name, value, words):
    with pytest.raises(ZooError) as caught:
        Settings.of({name: value})
    assert str(caught.value).startswith(f"evaluation.{name} must ")
    assert words in str(caught.value)


def test_an_unknown_name_is_an_error_that_suggests_the_nearest():
    with pytest.raises(ZooError, match="did you mean samples"):
        Settings.of({"sample": 3})
    with pytest.raises(ZooError, match="did you mean digits-cnn"):
        Settings.of({"extractor": "digit-cnn"})
