"""Jobs as processes of this machine: their GPUs and their environment."""

from __future__ import annotations

import sys

import pytest
from forked import until

from zoo.errors import ZooError
from zoo.running.provenance import hardware
from zoo.sweep.launcher import Local


@pytest.fixture
def start_on_gpus(tmp_path, monkeypatch):
    """Start jobs that only print which GPUs they see and how many jobs run at a time."""
    stub = tmp_path / "stub"
    stub.write_text('#!/bin/sh\necho "sees ${CUDA_VISIBLE_DEVICES-all} of ${ZOO_JOBS-}"\nexec sleep 60\n')
    stub.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(sys, "executable", str(stub))
    workers = []

    def begin(launcher, *overrides):
        directory = tmp_path / str(len(workers))
        directory.mkdir(exist_ok=True)
        worker = launcher.start(overrides, directory, 1)
        if worker is None:
            return "waits", None
        workers.append(worker)
        until(lambda: (directory / "log.txt").read_text())
        return (directory / "log.txt").read_text().split()[1], worker

    yield begin
    for worker in workers:
        worker.kill()


def test_gpus_are_shared_out_among_the_jobs(start_on_gpus):
    launcher = Local(["3", "5", "GPU-c"])
    one, first = start_on_gpus(launcher)
    two, _ = start_on_gpus(launcher, "trainer.devices=1")
    assert (one, two) == ("3", "5")
    pair = ["trainer=ddp", "trainer.devices=2"]
    assert start_on_gpus(launcher, *pair)[0] == "waits"
    assert start_on_gpus(launcher, "trainer.devices=auto")[0] == "waits"
    assert start_on_gpus(launcher, "trainer=cpu")[0] == "all"
    first.kill()
    both, pair_worker = start_on_gpus(launcher, *pair)
    assert both == "3,GPU-c", "the GPU of a killed job is free"
    assert start_on_gpus(launcher)[0] == "5", "a job with one GPU keeps away from a job with several"
    pair_worker.kill()
    assert [start_on_gpus(launcher)[0] for _ in range(3)] == ["3", "GPU-c", "3"], "the GPU with fewest jobs"
    assert start_on_gpus(Local([]))[0] == "all"


def test_the_record_of_a_job_has_the_number_of_jobs_at_a_time(start_on_gpus, tmp_path, monkeypatch):
    start_on_gpus(Local([], jobs=7))
    assert (tmp_path / "0" / "log.txt").read_text().split() == ["sees", "all", "of", "7"]
    monkeypatch.setenv("ZOO_JOBS", "7")
    assert hardware().jobs == 7
    monkeypatch.delenv("ZOO_JOBS")
    assert hardware().jobs is None


def test_a_sweep_sees_the_visible_gpus(tmp_path, monkeypatch):
    for chosen, seen in {"2,GPU-7": ["2", "GPU-7"], "": [], "-1": [], "1,-1,0": ["1"]}.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
        assert Local().devices == seen
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    smi = tmp_path / "nvidia-smi"
    listing = "GPU 0: A (UUID: GPU-x)\n  MIG 1g.5gb Device 0: (UUID: MIG-y)\nGPU 1: A (UUID: GPU-z)"
    smi.write_text(f"#!/bin/sh\ncat << END\n{listing}\nEND\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert Local().devices == ["MIG-y", "GPU-z"]


def test_a_slice_of_a_gpu_is_for_a_job_with_one_device(monkeypatch, tmp_path):
    given = []

    class Runs:
        def poll(self):
            return None

    monkeypatch.setattr("zoo.sweep.launcher.launch", lambda *a, devices, **k: given.append(devices))
    monkeypatch.setattr("zoo.sweep.launcher.Process", lambda *_, **__: Runs())
    gpu = ["trainer=ddp", "trainer.accelerator=gpu"]
    mixed = Local(["MIG-a", "0", "1"])
    mixed.start([*gpu, "trainer.devices=2"], tmp_path, 1)
    mixed.start([*gpu, "trainer.devices=1"], tmp_path, 1)
    slices = Local(["MIG-a", "MIG-b"])
    for _ in range(2):
        slices.start([*gpu, "trainer.devices=1"], tmp_path, 1)
    assert given == [["0", "1"], ["MIG-a"], ["MIG-a"], ["MIG-b"]]
    with pytest.raises(ZooError, match="needs whole GPUs"):
        slices.start([*gpu, "trainer.devices=2"], tmp_path, 1)


def test_the_processes_of_a_job_divide_its_threads(monkeypatch, tmp_path):
    threads = []
    monkeypatch.setattr("zoo.sweep.launcher.launch", lambda *a, **k: threads.append(a[3]))
    for devices in ([], ["0", "1"]):
        launcher = Local(devices)
        launcher.start(["trainer=ddp", "trainer.devices=2"], tmp_path, 8)
        launcher.running.clear()
        launcher.start(["trainer=cpu"], tmp_path, 8)
    assert threads == [4, 8, 4, 8]
