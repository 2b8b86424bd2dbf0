"""The scheduler loses no job on a simulated cluster; the cost of failures agrees with the closed form."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import launches
import pytest
import scaling_plan
import scheduler_simulation as simulation
from restarts import daly_interval, expected_time, young_interval
from scheduler_simulation import HARSH, Cluster, Work, many, simulate

from zoo.config import compose_run
from zoo.sweep.plan import plan_sweep

# so bad that a sweep of 300 jobs has every kind of failure
WORSE = replace(
    HARSH, worker_hours=100.0, node_hours=100.0, preempted_hours=40.0, sweep_hours=20.0, full_hours=20.0
)


@pytest.mark.parametrize("seed", range(3))
def test_no_job_is_lost_or_done_twice(seed):
    outcome = simulate(many(300, WORSE, seed=seed), WORSE, seed=seed)
    assert outcome.sound, (outcome.lost, outcome.twice, outcome.wrong)
    causes = ("worker deaths", "node failures", "pre-emptions", "sweep deaths", "full disks met")
    assert all(outcome.events[cause] > 0 for cause in causes)
    assert outcome.events["starts"] > 300
    assert outcome.events["resumed"] > 30
    assert outcome.commands > 2
    assert outcome.events.get("started for nothing", 0) == 0


def test_the_simulation_detects_a_scheduler_that_forgets_jobs(monkeypatch):
    adopt = simulation.Job.adopt_record
    forgets = random.Random(0)
    monkeypatch.setattr(simulation, "ended", lambda directory: None)
    monkeypatch.setattr(
        simulation.Job, "adopt_record", lambda job, *a: forgets.random() < 0.9 and adopt(job, *a)
    )
    assert simulate(many(40, WORSE), WORSE).twice


def test_the_simulation_detects_a_scheduler_that_loses_cut_off_jobs(monkeypatch):
    monkeypatch.setattr("zoo.sweep.job.STOPPED", set())  # a pre-empted job is then recorded as failed
    outcome = simulate(many(60, WORSE), WORSE)
    assert outcome.wrong


def test_equal_seeds_give_equal_simulations():
    first, again, other = (simulate(many(30, WORSE), WORSE, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_without_failures_the_simulated_time_is_the_time_of_the_jobs():
    quiet = Cluster(slots=2, slots_per_node=1)
    works = [Work(hours, 4) for hours in (1.0, 2.0, 3.0)]
    outcome = simulate(works, quiet)
    each = quiet.start_hours + 4 * quiet.write_hours + quiet.leave_hours
    assert outcome.hours["work"] == pytest.approx(6)
    assert outcome.hours["occupied"] == pytest.approx(6 + 3 * each, abs=1e-3)
    assert outcome.hours["lost"] == 0
    assert outcome.makespan_hours == pytest.approx(1 + 3 + 2 * each, abs=1e-3)
    assert outcome.expected_hours == pytest.approx(outcome.hours["occupied"], abs=1e-3)


def test_simulation_and_closed_form_agree():
    cluster = Cluster(
        worker_hours=4.0, preempted_hours=4.0, write_hours=0.05, start_hours=0.1, again_hours=0.1
    )
    outcome = simulate([Work(8.0, 10)] * 200, cluster)
    assert outcome.sound
    assert outcome.hours["occupied"] == pytest.approx(outcome.expected_hours, rel=0.03)
    assert outcome.wasted_share > 0.25


@pytest.mark.parametrize(("write", "rate"), [(0.05, 0.5), (0.2, 0.5), (0.2, 1.0)])
def test_dalys_interval_is_the_cheapest(write, rate):
    def cost(interval: float) -> float:  # cost per hour of work, with many intervals
        return expected_time(1000 * interval, interval, write, 0.1, rate) / (1000 * interval)

    best = min((cost(10 ** (k / 200)), 10 ** (k / 200)) for k in range(-400, 400))[1]
    assert daly_interval(write, rate) == pytest.approx(best, rel=0.03)
    assert abs(daly_interval(write, rate) - best) < abs(young_interval(write, rate) - best)


def test_without_failures_the_expected_time_is_work_and_writing():
    assert expected_time(10, 3, 0.5, 1, 0) == pytest.approx(10 + 3 * 0.5 + 1)
    assert expected_time(10, 3, 0.5, 1, 1e-9) == pytest.approx(10 + 3 * 0.5 + 1)
    assert math.isfinite(expected_time(10, 3, 0.5, 1, 1.0))


ROOT = Path(__file__).resolve().parents[2]


def test_the_page_on_scaling_has_the_committed_tables():
    results = ROOT / "results" / "scaling"
    plan = json.loads((results / "plan.json").read_text())
    scenarios = json.loads((results / "simulation.json").read_text())["scenarios"]
    tables = scaling_plan.markdown(plan) | {"simulation": simulation.markdown(scenarios)}
    page = (ROOT / "docs" / "scaling.md").read_text()
    for name, table in tables.items():
        assert (results / f"{name}.md").read_text() == table
        embedded = f"<!-- begin: results/scaling/{name}.md -->\n{table.strip()}\n<!-- end -->"
        assert embedded in page or (name in ("sources", "saving") and f"results/scaling/{name}.md" in page)
    assert plan["totals"] == pytest.approx(scaling_plan.totals(plan["rows"]))
    assert [row["model"] for row in plan["rows"]] == [entry.name for entry in scaling_plan.SWEEP]


def test_the_planned_sweep_can_be_started():
    jobs = plan_sweep("imagenet64", ["seed=0"], None).jobs
    configs = [compose_run(job.overrides) for job in jobs]
    choices = [config.hydra.runtime.choices for config in configs]
    assert [c.get("experiment") or c.model for c in choices] == [e.name for e in scaling_plan.SWEEP]
    for config, entry in zip(configs, scaling_plan.SWEEP, strict=True):
        assert (config.training.batch_size, config.training.updates) == (entry.batch, entry.updates)
        assert entry.batch % config.trainer.devices == 0
        assert entry.devices == config.trainer.devices
        assert (config.training.ema > 0) == entry.averaged
        for name, value in entry.settings.items():
            assert config.model[name] == value


def test_the_committed_simulation_lost_no_job():
    scenarios = json.loads((ROOT / "results/scaling/simulation.json").read_text())["scenarios"]
    harsh, *planned = scenarios.values()
    assert harsh["outcome"]["jobs"] == 10_000
    assert {scenario["outcome"]["jobs"] for scenario in planned} == {len(scaling_plan.SWEEP) * 5}
    for scenario in scenarios.values():
        outcome = scenario["outcome"]
        assert outcome["lost"] == outcome["twice"] == outcome["wrong"] == []
        assert outcome["hours"]["work"] > 0
        expected = pytest.approx(scenario["closed_form_wasted_share"], rel=1 / 6, abs=1e-3)
        assert (
            outcome["wasted_share"] == expected
        )  # the own cluster's one failure in two sweeps may not occur
    assert harsh["outcome"]["events"]["resumed"] > 1000


def test_operations_are_counted_without_computing():
    entry = scaling_plan.Entry("vae", "small", 1, "", {"width": 8, "hidden": 32})
    size, once = scaling_plan.operations(entry)
    assert size > 1000
    assert scaling_plan.operations(replace(entry, calls=3.0))[1] == 3 * once
    assert once > 2 * size  # a convolution uses its weight at many places


# Models whose update takes more than a few seconds to count.
LONG = {"glow_cifar10", "iresnet"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in scaling_plan.ENTRIES],
)
def test_an_update_launches_as_many_kernels_as_the_plan_says(name):
    counted = json.loads(scaling_plan.LAUNCHES.read_text())["models"]
    assert set(counted) == set(scaling_plan.BLOCKS) == set(scaling_plan.ENTRIES)
    assert launches.launches(scaling_plan.ENTRIES[name]) == pytest.approx(counted[name], rel=0.05)


def test_models_that_are_bound_by_launches_have_one_gpu():
    rows = json.loads((ROOT / "results/scaling/plan.json").read_text())["rows"]
    counted = json.loads(scaling_plan.LAUNCHES.read_text())["models"]
    for row in rows:
        bound = row["launching_seconds"] > row["computing_seconds_on_a_node"]
        assert row["devices"] == (1 if bound else 8), row["model"]
        assert row["kernels"] == counted[row["model"]]["kernels"]
        update = max(row["computing_seconds"], row["launching_seconds"])
        assert row["hours"] == pytest.approx(row["updates"] * update / 3600 * 1.05)


def test_a_job_with_several_gpus_waits_for_a_whole_node():
    quiet = Cluster(slots=16, slots_per_node=8, widest=8)
    outcome = simulate([Work(1.0, 1, slots=1)] * 2 + [Work(1.0, 1, slots=8)] * 2, quiet)
    assert outcome.hours["work"] == pytest.approx(18)
    assert 2 < outcome.makespan_hours < 2.1, (
        "the short jobs share a node, which the second wide job waits for"
    )
