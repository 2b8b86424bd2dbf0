"""The comparison of the quickstart's settings of before with today's, at one protocol."""

from __future__ import annotations

import pytest
import quickstart_before
import quickstart_rates
import yaml

from zoo.record import Cost, Metric, Record
from zoo.sweep import find_sweep, plan_sweep


def run(place, model, batch, seed, energy, distance, sharpness=1.0, status="finished"):
    """Write a run: its record, and a curve of which the last validation counts."""
    directory = place / f"{model}-{batch}-{seed}"
    directory.mkdir(parents=True)
    metrics = {
        "fd/digits-cnn": Metric(distance, "", "none", split="test"),
        "sharpness": Metric(sharpness, "", "none", split="test"),
    }
    Record(
        directory.name, model, "gan", "digits", seed, status, metrics=metrics, cost=Cost(batch_size=batch)
    ).write(directory)
    column = quickstart_before.VALIDATION[model]
    (directory / "curves.csv").write_text(f"updates,{column}\n1,9.0\n2,{energy}\n")


def test_today_is_worse_or_better_where_the_interval_of_the_difference_excludes_zero(tmp_path):
    for seed, noise in enumerate((0.0, 0.1, 0.2)):
        run(tmp_path, "gan", 128, seed, 1 + noise, 3 + noise, sharpness=1.2 + noise)
        run(tmp_path, "gan", 64, seed, 1 + 2 * noise, 5 + noise, sharpness=0.99 + noise / 100)
    run(tmp_path, "gan", 64, 3, 1.0, 99.0, status="diverged")
    text = quickstart_before.table(quickstart_before.rows(tmp_path))
    energy, distance, sharpness = text.splitlines()[2:]
    assert energy.startswith("| gan | validation | energy distance | 1.1 | 1.2 | +0.1 [")
    assert "| not told apart | 3 and 3 |" in energy
    assert distance.startswith("| gan | test | Fréchet distance | 3.1 | 5.1 | +2 [+1.77, +2.23] | worse |")
    assert "distance from 1 | better |" in sharpness


def test_runs_with_one_of_the_settings_alone_are_refused(tmp_path):
    run(tmp_path, "gan", 64, 0, 1.0, 3.0)
    with pytest.raises(SystemExit, match="run zoo sweep quickstart_before first"):
        quickstart_before.rows(tmp_path)


def test_the_sweep_contains_the_quickstarts_own_runs():
    today = {
        job.identity.run_id
        for job in plan_sweep("quickstart", ["model=gan,diffusion"], None).jobs
    }  # fmt: skip
    both = [job.identity.run_id for job in plan_sweep("quickstart_before", [], None).jobs]
    assert len(today) == 2
    assert today < set(both)
    assert len(set(both)) == 12


def test_the_quickstarts_rates_and_batches_were_tried_on_the_validation_split():
    sweep = yaml.safe_load(find_sweep("quickstart").read_text())
    for condition, settings in sweep["when"].items():
        given = sweep["overrides"] | settings
        tried = [row.split() for row in quickstart_rates.TRIED[condition.removeprefix("model=")]]
        pairs = {(int(batch), float(rate)) for batch, _, rate, *_ in tried}
        assert (given["training.batch_size"], given["training.lr"]) in pairs, condition
