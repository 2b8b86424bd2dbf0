"""The cores that a process may use: by its affinity, and by the quotas of the groups around it."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
import torch

from zoo.cli.train import threads_of_a_job, train
from zoo.config import compose_run
from zoo.processes import usable_cores
from zoo.running.fit import processes_here
from zoo.running.run import run
from zoo.sweep.check import multirun_jobs
from zoo.training.distributed import RECORDER, record_collectives, share_cores


@pytest.fixture
def eight(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)


def test_affinity_counts_and_not_the_cores_of_the_machine(eight, monkeypatch, tmp_path):
    monkeypatch.setattr("os.cpu_count", lambda: 128)
    assert usable_cores(tmp_path, tmp_path / "none") == 8


@pytest.mark.parametrize(
    ("group", "line", "files", "cores"),
    [
        ("", "0::/", {"cpu.max": "max 100000"}, 8),
        ("", "0::/", {"cpu.max": "150000 100000"}, 2),
        ("job/step", "0::/job/step", {"../cpu.max": "300000 100000", "cpu.max": "max 100000"}, 3),
        ("", "0::/", {"cpu.max": "1000 100000"}, 1),
        ("", "0::/", {"cpu.max": "damaged"}, 8),
        (
            "cpu,cpuacct/a",
            "4:cpu,cpuacct:/a",
            {"cpu.cfs_quota_us": "400000", "cpu.cfs_period_us": "100000"},
            4,
        ),
        ("cpu/a", "4:cpu:/a", {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}, 8),
    ],
)
def test_the_lowest_quota_of_the_groups_around_a_process_counts(eight, tmp_path, group, line, files, cores):
    groups, membership = tmp_path / "groups", tmp_path / "membership"
    (groups / group).mkdir(parents=True)
    membership.write_text(f"3:memory:/elsewhere\n{line}\n")
    for name, text in files.items():
        (groups / group / name).write_text(text + "\n")
    assert usable_cores(groups, membership) == cores


@pytest.mark.parametrize(
    ("devices", "accelerator", "processes"),
    [
        *[(3, "cpu", 3), ("3", "cpu", 3), ([0, 2], "gpu", 2), ("0,1", "gpu", 2), ("1,", "gpu", 1)],
        *[("auto", "auto", 4), (-1, "gpu", 4), ("-1", "cuda", 4), ("auto", "cpu", 1)],
    ],
)
def test_the_processes_of_a_run_on_this_machine(monkeypatch, devices, accelerator, processes):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert processes_here({"devices": devices, "accelerator": accelerator}) == processes
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert processes_here({"devices": "auto", "accelerator": "auto"}) == 1


def test_the_processes_of_a_run_divide_the_cores_unless_a_number_is_set(monkeypatch):
    chosen = []
    monkeypatch.setattr("zoo.training.distributed.usable_cores", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    share_cores(2)
    assert chosen == []
    monkeypatch.delenv("OMP_NUM_THREADS")
    share_cores(1)
    assert (chosen, "OMP_NUM_THREADS" in os.environ) == ([8], False)
    share_cores(2)
    assert (chosen, os.environ["OMP_NUM_THREADS"]) == ([8, 4], "4")


@pytest.mark.parametrize(
    ("launcher", "jobs", "threads"),
    [
        ({"_target_": "x.BasicLauncher"}, 4, None),
        ({"_target_": "x.LocalLauncher"}, 4, 2),
        ({"_target_": "x.LocalLauncher"}, 20, 1),
        ({"_target_": "x.LocalLauncher"}, 1, None),
        ({"_target_": "x.LocalLauncher"}, None, None),
        ({"_target_": "x.JoblibLauncher", "n_jobs": 2}, 9, 4),
        ({"_target_": "x.JoblibLauncher", "n_jobs": 2}, None, 4),
        ({"_target_": "x.JoblibLauncher", "n_jobs": -1}, 4, 2),
        ({"_target_": "x.JoblibLauncher", "n_jobs": -5}, None, 2),
        ({"_target_": "x.Other"}, 4, None),
    ],
)
def test_the_jobs_of_a_multirun_divide_the_cores(monkeypatch, launcher, jobs, threads):
    monkeypatch.setattr("zoo.cli.train.usable_cores", lambda: 8)
    monkeypatch.setattr("zoo.sweep.check.usable_cores", lambda: 8)
    monkeypatch.setattr("os.cpu_count", lambda: 64)  # the machine has more than the usable cores
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads_of_a_job(launcher, jobs) == threads
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_of_a_job(launcher, jobs) is None


def test_the_jobs_of_a_multirun_are_counted():
    assert len(multirun_jobs(["model=maf,glow", "seed=range(3)", "data=moons"])) == 6
    assert multirun_jobs(["model=glob(*)"]) is None


def test_the_flight_recorder_writes_to_the_runs_directory(monkeypatch, tmp_path):
    for names, _ in RECORDER:
        for name in names:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    record_collectives(tmp_path)
    assert not any(name.startswith("TORCH_FR") for name in os.environ), "there is no GPU"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    os.environ["TORCH_NCCL_TRACE_BUFFER_SIZE"] = "7"
    os.environ["TORCH_FR_DUMP_ON_TIMEOUT"] = "0"
    record_collectives(tmp_path)
    assert os.environ["TORCH_FR_DUMP_TEMP_FILE"] == str(tmp_path / "collectives.rank")
    assert os.environ["TORCH_FR_DUMP_ON_TIMEOUT"] == "0"
    assert "TORCH_FR_BUFFER_SIZE" not in os.environ, "the user's own value, by its former name"
    del os.environ["TORCH_NCCL_TRACE_BUFFER_SIZE"]
    record_collectives(tmp_path)
    assert os.environ["TORCH_FR_BUFFER_SIZE"] == "2000"


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        (["trainer.devices=2"], 1),
        (["trainer.num_nodes=2"], 1),
        ([], 0),
        (["trainer.devices=2", "trainer.accelerator=cpu"], 0),
    ],
)
def test_a_run_of_several_processes_on_gpus_has_a_flight_recorder(monkeypatch, tmp_path, settings, asked):
    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    directories = []
    monkeypatch.setattr("zoo.running.run.share_cores", lambda _: None)
    monkeypatch.setattr("zoo.running.run.record_collectives", directories.append)
    monkeypatch.setattr("zoo.running.run.provenance_of", stop)
    base = [
        "model=maf",
        "data=moons",
        "logger=none",
        "trainer=ddp",
        "trainer.accelerator=gpu",
        "trainer.devices=1",
    ]
    with pytest.raises(Stop):
        run(compose_run([*base, *settings]), tmp_path / "r")
    assert directories == [tmp_path / "r"] * asked


def test_each_job_of_a_multirun_is_started_with_its_threads(monkeypatch, tmp_path):
    started, counted = [], []

    def launch(overrides, directory, threads=None):
        started.append(threads)
        return SimpleNamespace(wait=lambda: 0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("zoo.sweep.launcher.launch", launch)
    monkeypatch.setattr("zoo.sweep.objective", lambda _: 0.0)
    monkeypatch.setattr("zoo.cli.train.threads_of_a_job", lambda _, jobs: counted.append(jobs) or 6)
    assert train(["-m", "model=maf", "data=moons", "trainer=ddp", "trainer.devices=1,2"]) == 0
    assert (started, counted) == ([6, 3], [2, 2])
