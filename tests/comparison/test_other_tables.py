"""The tables beside the main one: stability, invertibility, and divergence from known densities."""

from __future__ import annotations

import math
import re
import shutil

import numpy as np
import pytest
from fake_records import line, save, show, write, write_toy

from zoo.comparison.collect import collect
from zoo.comparison.tables import build
from zoo.record import Metric, Stability


def section(out, title):
    """Return the Markdown of one table."""
    return (out / "table.md").read_text().split(f"**{title}**")[1].split("\n\n**")[0]


def write_scores(root, record, values):
    """Write the log-likelihoods of test examples beside a record."""
    scores = np.asarray(values, np.float32)
    np.savez(root / record.run_id / "likelihood.npz", values=scores, indices=np.arange(len(scores)))


@pytest.mark.usefixtures("no_figures")
def test_the_stability_table_has_spreads_over_seeds_and_events_in_training(tmp_path):
    root = tmp_path / "runs"
    for model, values in {"maf": (1.0, 1.2, 1.4), "glow": (2.0, 2.0, 2.0)}.items():
        for seed, value in enumerate(values):
            record = write(root, model, "flow", value=value, seed=seed, fd=2 * value)
            record.stability = Stability(
                loss_spikes=seed,
                gradient_spikes=0,
                non_finite_steps=0,
                updates_watched=1000,
                oscillation=0.25,
            )
            record.metrics["nll"] = Metric(value * 44, "nats", "exact", n=4)
            save(root, record)
            write_scores(root, record, -44 * value + np.array([1.0, -1.0, 2.0, -2.0]))
    write(root, "maf", "flow", seed=3, status="diverged")
    write(root, "vae", "vae")
    show([root], tmp_path / "out")
    table = section(tmp_path / "out", "digits: stability")
    assert "| 3 of 4 | 17 % [3] | 17 % [3] | 1 | 0 | 0 | 0.25 |" in line(table, "maf")
    assert "best of its kind" in line(table, "maf")
    assert "0 % [3]" in line(table, "glow")
    assert "| 35.2 [3] |" in line(table, "glow"), "nats behind, above 0: 88 - 52.8, paired by example"
    assert "| n=1 | n=1 |" in line(table, "vae")
    stability = next(t for t in build(collect([root])[0]) if t.title == "digits: stability")
    behind = {row.name: row.cells[-2].value for row in stability.rows}
    assert behind == {"glow": pytest.approx(35.2, rel=1e-6), "maf": 0.0, "vae": None}
    assert "learning rates" not in table
    main = (tmp_path / "out/table.md").read_text().split("\n\n**")[0]
    assert "0.012 [1] |" in line(main, "vae"), "beside means over several seeds"


@pytest.mark.usefixtures("no_figures")
def test_a_table_of_single_runs_says_that_they_have_no_spread(tmp_path):
    record = write(tmp_path / "runs", "maf", "flow")
    record.stability = Stability(loss_spikes=3, gradient_spikes=1, non_finite_steps=0, updates_watched=2000)
    save(tmp_path / "runs", record)
    write(tmp_path / "runs", "vae", "vae")
    show([tmp_path / "runs"], tmp_path / "out")
    table = section(tmp_path / "out", "digits: stability")
    assert "| 1 of 1 | 1.5 | 0.5 | 0 | finished |" in line(table, "maf")
    assert "| 1 of 1 | — | — | — | finished |" in line(table, "vae")
    assert "One run each (n=1): there is no spread over seeds" in table
    assert "spread" not in table.splitlines()[2], "a column that nobody fills is left out"


@pytest.mark.usefixtures("no_figures")
def test_runs_without_seeds_or_counts_have_no_stability_table(runs, tmp_path):
    show([runs], tmp_path / "out")
    assert "stability" not in (tmp_path / "out/table.md").read_text()


def write_at_rate(root, model, rate, fd, seed=0, status="finished"):
    record = write(root, model, "flow", fd=fd, key=f"-{rate}", seed=seed, status=status)
    record.provenance.config |= {"training": {"lr": rate}}
    save(root, record)


@pytest.mark.usefixtures("no_figures")
def test_the_sensitivity_is_the_spread_of_log_distances_over_learning_rates(tmp_path):
    root = tmp_path / "runs"
    for index, rate in enumerate((0.001, 0.01, 0.1)):
        write_at_rate(root, "maf", rate, math.e**index)
        write_at_rate(root, "realnvp", rate, math.e ** (2 * index))
        write(root, "glow", "flow", seed=index)
    write_at_rate(root, "realnvp", 1, 1e6)  # a learning rate without runs of the others
    show([root], tmp_path / "out")
    table = section(tmp_path / "out", "digits: stability")
    assert "1 [1]¹" in line(table, "maf"), "of logarithms 0, 1, 2"
    assert "2 [1]¹" in line(table, "realnvp"), "of the same rates"
    assert "¹ at learning rates 0.001, 0.01, 0.1" in table


@pytest.mark.usefixtures("no_figures")
def test_a_model_that_finished_at_no_rate_has_no_sensitivity(tmp_path):
    for rate in (0.001, 0.01, 0.1):
        write_at_rate(tmp_path / "runs", "gan", rate, 1.0, status="diverged")
        write_at_rate(tmp_path / "runs", "gan", rate, 1.0, seed=1, status="diverged")
        write(tmp_path / "runs", "maf", "flow", seed=int(1000 * rate))
    show([tmp_path / "runs"], tmp_path / "out")
    assert "rate sensitivity" not in section(tmp_path / "out", "digits: stability")


@pytest.mark.usefixtures("no_figures")
def test_flows_have_a_table_of_invertibility(tmp_path):
    root = tmp_path / "runs"
    for seed, error in enumerate((2e-5, 3e-5)):
        record = write(root, "maf", "flow", seed=seed)
        record.metrics["invertibility/float32"] = Metric(error, "levels", direction="none")
        record.metrics["log_det_error"] = Metric(None, "nats", direction="none", reason="Too large.")
        save(root, record)
    record = write(root, "ffjord", "continuous flow", "estimate")
    record.metrics["invertibility/float32"] = Metric(0.5, "levels", direction="none")
    estimated = {"estimator_deviation_nats": 4.75, "looser": "half the steps", "looser_change_nats": -0.25}
    record.metrics["nll"] = Metric(80.0, "nats", "estimate", details=estimated)
    save(root, record)
    write(root, "vae", "vae", "lower bound")
    assert "float32" not in show([root], tmp_path / "out"), "the terminal has the main table"
    table = section(tmp_path / "out", "digits: invertibility")
    headings = (
        "| error, float32 | log-det error (nats) | sd of estimate (nats) | change, looser (nats) | status |"
    )
    assert headings in table, "a column that nobody fills is left out"
    assert "| 3e-05 | —¹ | — | — | 2 finished |" in line(table, "maf"), "the largest over seeds"
    assert "| 0.5 | — | 4.8 | -0.25² | finished |" in line(table, "ffjord")
    assert "¹ Too large." in table
    assert "² half the steps" in table
    assert "vae" not in table
    assert "**" not in table, "nothing is ranked"


def overview(directory):
    """Return the divergences on the rings by model, from the overview of two toys."""
    write_toy(directory, "maf", 0.2, data="moons")
    return {row.name: row.cells[1].shown for row in build(collect([directory])[0])[0].rows}


def test_the_least_divergence_of_several_configurations_is_marked(tmp_path):
    for key, values in {"-a": (0.3, 0.5), "-b": (0.1, 0.3)}.items():
        for seed, value in enumerate(values):
            write_toy(tmp_path, "maf", value, seed=seed, key=key)
    write_toy(tmp_path, "maf", 0.2, data="moons")
    table = build(collect([tmp_path])[0])[0]
    assert [cell.shown for cell in table.rows[0].cells][:2] == ["0.2 [1]", "0.2 [2]¹"]
    assert "¹ the least of several configurations, so not ranked" in table.notes


def test_the_overview_separates_protocols_and_ignores_kl_without_direction(tmp_path):
    first = write_toy(tmp_path, "maf", 0.1)
    other = write_toy(tmp_path, "maf", 0.5, key="-other")
    other.provenance.protocol_hash = "two"
    other.provenance.config_hash_without_seed = first.provenance.config_hash_without_seed
    save(tmp_path, other)
    write_toy(tmp_path, "vae", 0.4, family="vae", key="new")
    write_toy(tmp_path, "vae", 0.01, family="vae", key="old", direction="none")
    shown = overview(tmp_path)
    assert shown["maf"] == "0.1¹"
    assert shown["vae"] == "0.4"


def test_the_overview_ranks_models_on_each_data_set(tmp_path):
    for data, values in {"moons": (0.05, 0.3), "rings": (0.4, 0.2)}.items():
        for model, value in zip(("maf", "realnvp"), values, strict=True):
            for seed in (0, 1):
                record = write_toy(tmp_path / "runs", model, value + 0.01 * seed, data=data, seed=seed)
                record.metrics["kl"].standard_error = 0.01
                save(tmp_path / "runs", record)
    write(tmp_path / "runs", "vae", "vae", data="moons", status="diverged")
    text = show([tmp_path / "runs"], tmp_path / "out")
    first = text.split("Divergence from")[1].split("moons (")[0]
    assert re.search(r"maf .* 0\.055 ± 0\.011 .* 0\.405 ± 0\.011", first)
    table = (tmp_path / "out/table.md").read_text().split("\n\n**")[0]
    assert "| **0.055 ± 0.011 [2] a** | 0.405 ± 0.011 [2] b |" in line(table, "maf")
    assert "| 0.305 ± 0.011 [2] b | **0.205 ± 0.011 [2] a** |" in line(table, "realnvp")
    assert (tmp_path / "out/densities.png").exists()


@pytest.mark.parametrize("known", [0, 1])
def test_fewer_than_two_known_densities_have_no_overview(tmp_path, known):
    for data in ("moons", "rings"):
        write_toy(tmp_path, "maf", 0.1, data=data)
    for data in ("moons", "rings")[known:]:
        shutil.rmtree(tmp_path / f"maf-{data}-s0")
        write(tmp_path, "maf", "flow", data=data)
    assert "Divergence" not in build(collect([tmp_path])[0])[0].title


def test_the_error_of_a_divergence_includes_that_of_shared_examples(tmp_path):
    for seed, divergence in enumerate((0.003, 0.009, 0.015)):
        record = write_toy(tmp_path, "maf", divergence, seed=seed)
        record.metrics["kl"].standard_error = 0.02
        save(tmp_path, record)
    runs, _ = collect([tmp_path])
    main = build(runs)[0]
    cell = main.rows[0].cells[main.columns.index("KL (nats)")]
    assert cell.spread == pytest.approx(math.sqrt(0.02**2 + 0.006**2 / 3))
    assert cell.text == "0.009 ± 0.020 [3]"
    assert any(note.startswith("KL over seeds: ± the standard error") for note in main.notes)
    runs[0].record.metrics["kl"].standard_error = None
    assert build(runs)[0].rows[0].cells[main.columns.index("KL (nats)")].spread is None
