"""Runs that may be compared, the baseline of a model, and the kinds of likelihoods."""

from __future__ import annotations

import math
import statistics

import pytest
from fake_records import save, show, write

from zoo.comparison.claims import decide
from zoo.comparison.collect import collect
from zoo.comparison.configurations import Group, name_of
from zoo.comparison.metrics import kind_of, quality_metric
from zoo.comparison.quantities import LATENCY, UPDATES, Quantity, metric_value, oscillation_of
from zoo.comparison.rates import sensitivities
from zoo.comparison.studies import studies
from zoo.comparison.tables import build
from zoo.record import DataDescription, Metric, Stability


def test_configurations_are_named_by_the_settings_in_which_they_differ(tmp_path):
    settings = {"": {"ema": 0.9, "lr": 1}, "-a": {"ema": 0, "lr": 1}, "-b": {"ema": 0.9, "lr": 2}}
    for key, training in settings.items():
        record = write(tmp_path, "gan", "gan", key=key)
        record.provenance.config |= {"training": training}
        save(tmp_path, record)
    text = show([tmp_path])
    assert [name in text for name in ("gan (ema 0) ", "gan (lr 2) ", "gan  ")] == [True] * 3


def _names(tmp_path, configurations):
    """Return the names of a model's configurations, of which the first is the baseline."""
    for at, training in enumerate(configurations):
        record = write(tmp_path, "gan", "gan", key=f"-{at}")
        record.provenance.config |= {"training": training}
        save(tmp_path, record)
    groups = [Group("gan", [run]) for run in collect([tmp_path])[0]]
    groups.sort(key=lambda group: group.runs[0].record.run_id)
    return [name_of(group, groups[0], groups) for group in groups[1:]]


def test_a_configuration_that_differs_in_many_settings_is_named_by_those_that_tell_it_from_the_others(
    tmp_path,
):
    first = {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "updates": 10}
    second = dict.fromkeys(first, 2) | {"updates": 150000}
    assert _names(tmp_path / "few", [first, second]) == ["gan (a 2, updates 150,000, and 4 more)"]
    third = second | {"b": 3}  # the settings named above do not tell it from the second
    names = _names(tmp_path / "more", [first, second, third])
    assert names == [
        "gan (a 2, b 2, updates 150,000, and 3 more)",
        "gan (a 2, b 3, updates 150,000, and 3 more)",
    ]
    least = second | {"c": 1}  # all its settings are the second's but one, which is the baseline's
    names = _names(tmp_path / "nested", [first, second, least])
    assert names[1] == "gan (a 2, b 2, d 2, e 2, updates 150,000)"
    assert names[0] != names[1]


def test_a_setting_that_one_record_lacks_is_named_where_nothing_else_tells_configurations_apart(tmp_path):
    first, second = {"lr": 1, "new": 0}, {"lr": 2}
    assert _names(tmp_path / "two", [first, second]) == ["gan (lr 2)"]
    names = _names(tmp_path / "three", [first, second, {"lr": 2, "new": 0}])
    assert names == ["gan (lr 2, new unset)", "gan (lr 2)"]
    assert _names(tmp_path / "alone", [first, {"lr": 1}]) == ["gan (new unset)"]


def test_a_name_has_a_hash_only_where_no_setting_differs(tmp_path):
    (name,) = _names(tmp_path, [{"lr": 1}, {"lr": 1}])
    assert name == "gan (gan-1)"  # the hash of the invented record


def test_a_quantity_is_read_from_a_record_or_is_none(tmp_path):
    record = write(tmp_path, "maf", "flow", latency=0.25)
    assert LATENCY.of(record) == 0.25
    assert UPDATES.of(record) == 1000.0
    assert metric_value("bits_per_dim").of(record) == 1.5
    assert metric_value("nll").of(record) is None
    assert oscillation_of("val/loss").of(record) is None
    record.stability = Stability(oscillations={"val/loss": 0.5})
    assert oscillation_of("val/loss").of(record) == 0.5
    assert metric_value("nll") == metric_value("nll") != metric_value("kl")
    assert isinstance(LATENCY, Quantity)


def test_a_run_that_failed_early_joins_the_protocol_of_its_data_set(tmp_path):
    write(tmp_path, "maf", "flow")
    record = write(tmp_path, "glow", "flow", status="failed")
    record.provenance.protocol_hash = None
    save(tmp_path, record)
    (study,) = studies(collect([tmp_path])[0])
    assert (study.title, study.protocol, len(study.runs)) == ("digits", "p-digits", 2)


def test_the_distance_that_most_runs_have_is_their_quality(tmp_path):
    for model in ("maf", "glow"):
        write(tmp_path, model, "flow")
    record = write(tmp_path, "vae", "vae")
    record.metrics["fid"] = Metric(1.0, "1")
    save(tmp_path, record)
    runs, _ = collect([tmp_path])
    assert quality_metric(runs) == "fd/digits-cnn"
    for run in runs:
        run.record.metrics = {"bits_per_dim": run.record.metrics["bits_per_dim"]}
    assert quality_metric(runs) is None


def test_a_run_that_did_not_finish_counts_as_the_largest_distance(tmp_path):
    for power, rate in enumerate((0.001, 0.01, 0.1)):
        for seed in (0, 1):
            status = "diverged" if (seed, power) == (1, 2) else "finished"
            record = write(
                tmp_path, "gan", "gan", fd=math.e**power**2, key=f"-{rate}", seed=seed, status=status
            )
            record.provenance.config |= {"training": {"lr": rate}}
            save(tmp_path, record)
    (study,) = studies(collect([tmp_path])[0])
    rates, ((finished, diverged),) = sensitivities(study, [study.groups[0]])
    assert rates == [0.001, 0.01, 0.1]
    assert finished == diverged == pytest.approx(statistics.stdev([0, 1, 4]))


def test_an_exact_likelihood_of_dequantised_data_is_a_separate_kind():
    assert kind_of(Metric(1.0, "nats", "exact")) == "exact"
    assert kind_of(Metric(1.0, "nats", "exact", details={"dequantisation": "uniform"})) == "exact†"
    assert kind_of(Metric(1.0, "nats", "estimate", details={"dequantisation": "uniform"})) == "estimate"


def growing(root, name, exponent, order):
    """Write runs of a flow whose sequential evaluations grow with the data's dimensions."""
    for side in (4, 8, 16):
        size = side * side
        record = write(
            root, name, "flow", key=f"-{side}", evaluations=round(size**exponent), order=order,
            latency=1e-3 * size**exponent,
        )  # fmt: skip
        record.provenance.data = DataDescription("digits", shape=[1, side, side])
        record.provenance.config["data"] = {"side": side}
        save(root, record)


@pytest.mark.parametrize("name", ["maf", "my_own_flow"])
def test_an_autoregressive_flow_is_recognised_by_its_record_not_its_name(tmp_path, name):
    growing(tmp_path, name, 1.0, "sequential")
    growing(tmp_path, "realnvp", 0.0, "parallel")
    runs, _ = collect([tmp_path])
    (decision,) = [d for d in decide(runs) if d.claim.key == "autoregressive"]
    measured = [part.sentence.replace(name, "NAME") for part in decision.parts if part.decides]
    assert measured == [
        "Sequential network evaluations of a sample grow with its dimensions D as D^1.00 exactly (NAME).",
        "Those of families that draw all dimensions at once: D^0.00 exactly (realnvp).",
    ]
    assert decision.verdict == "supported"


def test_tables_do_not_depend_on_the_name_of_a_flow(tmp_path):
    shown = []
    for name in ("maf", "naf"):
        growing(tmp_path / name, name, 1.0, "sequential")
        growing(tmp_path / name, "realnvp", 0.0, "parallel")
        tables = build(collect([tmp_path / name])[0])
        shown.append([
            (table.title, row.name.replace(name, "NAME"), row.family, [cell.shown for cell in row.cells])
            for table in tables for row in table.rows
        ])  # fmt: skip
    assert shown[0] == shown[1]
    assert any("NAME" in row for _, row, _, _ in shown[0])


def test_runs_with_examples_of_different_sizes_are_in_different_studies(tmp_path):
    growing(tmp_path, "maf", 1.0, "sequential")
    assert len(studies(collect([tmp_path])[0])) == 3
