"""The cores that a process may use: by its affinity, and by the quotas of the groups around it."""

from __future__ import annotations

import os

import pytest
import torch

from zoo.processes import usable_cores
from zoo.running.fit import processes_here
from zoo.training.distributed import share_cores


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
