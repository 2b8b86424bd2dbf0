"""How values were measured, in sentences."""

from __future__ import annotations

from pathlib import Path

from zoo.comparison.collect import collect
from zoo.comparison.page.payload import judged_settings
from zoo.comparison.words import SETTINGS, metric_text, protocol_text, setting_text
from zoo.evaluation.settings import MACHINE, Settings
from zoo.record import Metric

RESULTS = Path(__file__).parents[2] / "results"


def test_every_setting_of_the_protocol_has_words() -> None:
    names = set(Settings.__annotations__) - set(MACHINE)
    assert names <= set(SETTINGS)
    for name in names:
        value = getattr(Settings(), name)
        words = setting_text(name, "null" if value is None else str(value))
        assert "null" not in words
        assert "_" not in words


def test_the_protocol_is_a_sentence_of_what_was_measured() -> None:
    runs = collect([RESULTS / "quickstart/records"])[0]
    assert protocol_text(runs, judged_settings(runs)) == (
        "all 360 test examples scored; 1,000 samples against 360 real ones; features of digits-cnn; 20 timed "
        "calls; version 5 of the protocol"
    )
    assert protocol_text([], {}) == "not recorded"


def test_the_kind_of_a_metric_has_its_reason() -> None:
    solver = {"solver": "dopri5", "atol": 1e-4, "rtol": 1e-4, "trace": "hutchinson, 1 rademacher probe"}
    assert metric_text(Metric(2.0, "nats", "estimate", n=360, details=solver)) == (
        "an estimate: of 360 test examples; solver dopri5 at a tolerance of 0.0001; trace hutchinson, 1 "
        "rademacher probe"
    )
    dequantised = Metric(2.0, "nats", "exact", n=360, details={"dequantisation": "uniform"})
    assert metric_text(dequantised) == "exact for the dequantised density: of 360 test examples"
    assert metric_text(Metric(None, "nats", "none", reason="No likelihood.")) == "No likelihood."
