"""The other ranks of a machine: how they are started, and what their end does to the first one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from lightning.pytorch.plugins.environments import SLURMEnvironment

from zoo.errors import ZooError
from zoo.training import distributed
from zoo.training.distributed import Averaging, start_ranks, watch

ENDED = [sys.executable, "-c", "raise SystemExit(3)"]
WAITS = [sys.executable, "-c", "import time; time.sleep(100)"]


def exit_code(lost):
    """Return the exit code of a process that watches a rank that has failed and one that waits."""
    child = os.fork()
    if child == 0:
        distributed.GRACE = distributed.LONGEST_WRITE = 0.1
        watch([subprocess.Popen(WAITS), subprocess.Popen(ENDED)], lost)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_rank_that_hangs_after_another_has_failed_ends_with_the_code_of_its_run():
    assert exit_code(lambda codes: 2 if codes == [3] else 1) == 2


@pytest.mark.parametrize("lost", [lambda codes: None, lambda codes: 1 / 0])
def test_a_rank_that_hangs_ends_even_if_its_run_has_no_code(lost):
    assert exit_code(lost) == 75


@pytest.fixture
def two_ranks(monkeypatch):
    """Return the strategy of two processes in a job of Slurm that has one task."""
    task = {"JOB_ID": "41", "JOB_NAME": "mine", "NTASKS": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    for name, value in task.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.delenv("SLURM_STEP_ID", raising=False)
    cpus = [torch.device("cpu")] * 2
    return Averaging(parallel_devices=cpus, cluster_environment=SLURMEnvironment())


def test_several_processes_in_a_plain_script_of_slurm_are_refused(two_ranks):
    with pytest.raises(ZooError, match=r"2 processes .* job of Slurm runs one; start it with srun"):
        start_ranks(two_ranks)


def test_several_processes_that_srun_has_started_and_one_without_it_are_accepted(two_ranks, monkeypatch):
    one = Averaging(parallel_devices=[torch.device("cpu")], cluster_environment=SLURMEnvironment())
    start_ranks(one)
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    start_ranks(two_ranks)
