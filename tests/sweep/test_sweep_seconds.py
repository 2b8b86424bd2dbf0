"""The command that writes how long the jobs of a sweep took into its file."""

from __future__ import annotations

import yaml
from sweep_seconds import with_seconds

from zoo.record import Cost, Record
from zoo.sweep import check_sweep, find_sweep, plan_sweep

SWEEP = "# a note\njobs: 2\ngrid: {model: [maf, gan]}\n"


def record(model, seconds, status="finished"):
    return Record(f"{model}-digits", model, "flow", "digits", 0, status, cost=Cost(total_seconds=seconds))


def test_each_model_has_the_mean_of_its_finished_runs():
    records = [record("maf", 10.2), record("maf", 14.2), record("gan", 30.0), record("vae", 5, "failed")]
    text = with_seconds(SWEEP, records)
    assert text.startswith(SWEEP)
    assert list(yaml.safe_load(text)["seconds"].items()) == [("model=gan", 30), ("model=maf", 12)]
    assert check_sweep(yaml.safe_load(text), "mine").seconds["model=maf"] == 12


def test_earlier_seconds_are_replaced_or_kept_without_a_run():
    once = with_seconds(SWEEP, [record("maf", 10.0)])
    assert with_seconds(once, [record("maf", 10.0)]) == once
    assert with_seconds(once, [record("maf", 70.0)]) == once.replace("maf: 10", "maf: 70")
    assert with_seconds(once, [record("maf", None)]) == once


def test_the_quickstart_expects_a_time_of_every_job():
    jobs = plan_sweep("quickstart", [], None).jobs
    expected = [job.expected for job in jobs]
    assert None not in expected, find_sweep("quickstart")
    assert expected[0] <= 0.5 * max(expected)
