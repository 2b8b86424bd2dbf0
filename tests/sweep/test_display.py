"""Tests of what a sweep prints while it runs: results, samples and the estimate of the time left."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from forked import SWEEP
from rich.console import Console

from zoo.errors import ZooError
from zoo.record import Metric, Record
from zoo.sweep import Job, Plan, check_sweep, plan_sweep
from zoo.sweep.definition import expected_seconds
from zoo.sweep.display import describe_samples, make_display
from zoo.sweep.estimate import seconds_left


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    place = tmp_path_factory.mktemp("sweep")
    (place / "mine.yaml").write_text(SWEEP)
    return plan_sweep(str(place / "mine.yaml"), ["seed=0,1"], place / "runs").jobs


@pytest.fixture
def plan(planned, tmp_path):
    jobs = [Job(job.overrides, job.identity, tmp_path / job.identity.run_id) for job in planned]
    for job in jobs:
        job.directory.mkdir()
    return Plan("mine", tmp_path, 1, jobs=jobs)


def end(job, seconds):
    """Let a job end as finished after so many seconds."""
    job.state, job.started, job.seconds = "finished", 1.0, seconds


def start(job, seconds, left=None):
    """Let a job run for so many seconds, with so many left of its training."""
    job.worker, job.state, job.started, job.seconds = object(), "training", 1.0, seconds
    job.progress = {"seconds_left": left, "updates": 1, "budget": 2, "epoch": 0.0}


def shown(plan, job, terminal):
    output = io.StringIO()
    console = Console(file=output, width=200, force_terminal=terminal, color_system="truecolor")
    with make_display(plan, console, 2) as display:
        display.ended(job)
        display.update()
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output.getvalue())


@pytest.mark.parametrize("terminal", [True, False])
def test_a_job_that_ends_adds_a_row_with_its_results(plan, terminal):
    job = plan.jobs[0]
    metrics = {
        "nll": Metric(88.9, "nats", "exact", standard_error=0.6),
        "bits_per_dim": Metric(2.0041, "bits/dim", "lower bound", standard_error=0.013),
        "fd/digits-cnn": Metric(6.861, "1", standard_error=0.45),
    }
    Record(job.identity.run_id, "maf", "flow", "digits", 0, "finished", metrics=metrics).write(job.directory)
    end(job, 12)
    text = shown(plan, job, terminal)
    assert job.identity.run_id in text
    assert "bits/dim ≤ 2.004 ± 0.013 · fd/digits-cnn 6.86 ± 0.45" in text


def test_a_terminal_shows_the_samples_of_a_job_that_ends(plan):
    job = plan.jobs[0]
    end(job, 12)
    assert "▀" not in shown(plan, job, True)
    np.savez(job.directory / "samples.npz", samples=np.zeros((3, 1, 8, 8), np.uint8), levels=17)
    assert shown(plan, job, True).count("▀") == (3 * 9 - 1) * 4
    assert "▀" not in shown(plan, job, False)


def test_the_brightest_level_is_white(tmp_path):
    images = np.zeros((1, 1, 2, 2), np.uint8)
    images[0, 0] = [[16, 0], [8, 4]]
    np.savez(tmp_path / "samples.npz", samples=images, levels=17)
    (line,) = describe_samples(tmp_path, 80)
    assert line.plain == "▀▀"
    assert [str(span.style) for span in line.spans] == [
        "rgb(255,255,255) on rgb(128,128,128)",
        "rgb(0,0,0) on rgb(64,64,64)",
    ]


@pytest.mark.parametrize(
    ("shape", "width", "lines", "characters"),
    [
        ((9, 3, 32, 32), 200, 8, 8 * 17 - 1),
        ((2, 1, 7, 5), 80, 4, 2 * 6 - 1),
        ((8, 1, 8, 8), 30, 4, 3 * 9 - 1),
    ],
)
def test_a_strip_fits_the_line_and_small_images_are_shown_whole(tmp_path, shape, width, lines, characters):
    np.savez(tmp_path / "samples.npz", samples=np.zeros(shape, np.uint8), levels=256)
    assert [len(line.plain) for line in describe_samples(tmp_path, width)] == [characters] * lines


def test_samples_that_are_no_images_or_damaged_have_no_strip(tmp_path):
    assert describe_samples(tmp_path, 80) == []
    np.savez(tmp_path / "samples.npz", samples=np.zeros((5, 2)), levels=0)
    assert describe_samples(tmp_path, 80) == []
    (tmp_path / "samples.npz").write_bytes(b"PK")
    assert describe_samples(tmp_path, 80) == []


def test_nothing_is_said_of_the_time_left_while_nothing_is_known(plan):
    assert seconds_left(plan, 2) is None
    start(plan.jobs[0], 3.0)
    assert seconds_left(plan, 2) is None


def test_without_expectations_jobs_take_as_long_as_those_that_ended(plan):
    n = len(plan.jobs)
    end(plan.jobs[0], 50.0)
    assert seconds_left(plan, 1) == pytest.approx(50 * (n - 1))
    start(plan.jobs[1], 20.0, left=10.0)
    assert seconds_left(plan, 1) == pytest.approx((80 / 2) * (n - 1) - 20)


def test_nothing_is_left_once_every_job_has_ended(plan):
    for job in plan.jobs:
        end(job, 50.0)
    assert seconds_left(plan, 2) == 0


def test_the_time_left_follows_the_file_and_the_order_of_the_queue(plan):
    plan.jobs = plan.jobs[:4]
    for job, seconds in zip(plan.jobs, [40.0, 30.0, 20.0, 10.0], strict=True):
        job.expected = seconds
    assert seconds_left(plan, 2) == 50  # 40 + 10 beside 30 + 20
    plan.jobs[0].expected = 90.0
    assert seconds_left(plan, 2) == 90
    start(plan.jobs[0], 30.0)
    assert seconds_left(plan, 2) == 60


def test_a_slower_machine_takes_longer_than_the_file_expects(plan):
    plan.jobs = plan.jobs[:2]
    for job in plan.jobs:
        job.expected = 100.0
    end(plan.jobs[0], 210.0)
    assert seconds_left(plan, 1) == pytest.approx(100 * (210 + 10) / (100 + 10))
    start(plan.jobs[1], 190.0, left=70.0)
    done = 190 / 260
    told = (1 - done) * (190 + 10) / (done + 10 / 100)
    assert seconds_left(plan, 1) == pytest.approx(told), "training alone takes about as long as it says"
    assert told == pytest.approx(70, rel=0.1)


def test_slow_training_shows_before_the_first_job_ends(plan):
    plan.jobs = plan.jobs[:2]
    for job in plan.jobs:
        job.expected = 90.0
    start(plan.jobs[0], 20.0, left=20.0)
    assert seconds_left(plan, 1) == 160, "the rest of the job is its judgement"
    plan.jobs[0].progress["seconds_left"] = 170.0
    done = 20 / 190
    told = (1 - done) * (20 + 10) / (done + 10 / 90)
    assert seconds_left(plan, 1) == pytest.approx(told + 90 * (20 + told + 10) / (90 + 10))
    start(plan.jobs[0], 1.0, left=900.0)
    assert seconds_left(plan, 1) < 200, "the first updates are slow and say little"


def test_the_last_condition_that_a_job_meets_says_how_long_it_takes():
    sweep = check_sweep({"seconds": {"model=gan": 20, "training.lr=0.001": 90}}, "mine")
    assert expected_seconds(sweep, ["model=gan", "training.lr=0.01"]) == 20
    assert expected_seconds(sweep, ["model=gan", "training.lr=1e-3"]) == 90
    assert expected_seconds(sweep, ["model=maf"]) is None
    with pytest.raises(ZooError, match=r"seconds.model=gan must be at least 1"):
        check_sweep({"seconds": {"model=gan": 0}}, "mine")


def test_each_running_job_is_one_line_of_a_terminal_of_80_columns(plan):
    job = plan.jobs[0]
    start(job, 20.0, left=142.0)
    job.progress |= {"updates": 10_500, "budget": 20_000, "epoch": 35.8, "loss": 0.679}
    output = io.StringIO()
    with make_display(plan, Console(file=output, width=80, force_terminal=True), 2) as display:
        display.update()
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output.getvalue()).splitlines()
    assert any("10,500/20,000 · loss 0.679 · 142 s left" in line for line in lines), lines
