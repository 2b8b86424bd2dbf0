"""The command in a record makes the same run, from any working directory."""

from __future__ import annotations

import os
import shlex
import socket
from types import SimpleNamespace

import pytest
import torch

from zoo.config import compose_run, identify
from zoo.processes import JOBS
from zoo.running import provenance as module
from zoo.running.provenance import command, driver_version, hardware, machine, provenance_of, versions
from zoo.running.spec import RunSpec


def composed(words: list[str]) -> str:
    return identify(compose_run(words)).config_hash


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model=maf", "data=moons", "seed=3"],
        ["model=maf", "model.hidden=[64, 64]", "training.lr=1e-4", "evaluation.throughput_batches=[1,2]"],
        ["+experiment=sngan_cifar10", "seed=1"],
        ["sweep='a name'", "data.root=somewhere"],
    ],
)
def test_the_command_reaches_the_same_configuration_hash(overrides):
    words = shlex.split(command(overrides))
    assert words[:2] == ["zoo", "train"]
    assert composed(words[2:]) == composed(overrides)


def test_the_path_of_a_users_data_is_absolute_in_the_command(tmp_path, monkeypatch):
    odd = tmp_path / "my (own) data = 'ü'"
    odd.mkdir()
    (odd / "table.csv").write_text("a,b\n" + "".join(f"{i},{i * i}\n" for i in range(30)))
    monkeypatch.chdir(odd)
    overrides = ["data=table", "data.path=table.csv"]
    before = composed(overrides)
    words = shlex.split(command(overrides))[2:]
    monkeypatch.chdir(tmp_path)
    assert composed(words) == before
    assert any(os.path.isabs(word.partition("=")[2].strip("'\"")) for word in words)


def test_provenance_before_a_run_has_command_hashes_and_hardware(monkeypatch):
    monkeypatch.setenv(JOBS, "3")
    made = provenance_of(RunSpec.of(compose_run(["model=maf", "data=moons", "seed=2"])))
    assert made.command == "zoo train model=maf data=moons seed=2"
    assert made.config["seed"] == 2
    assert made.config_hash != made.config_hash_without_seed
    assert made.hardware.jobs == 3
    assert hardware().cores == os.cpu_count()
    assert {"python", "torch", "lightning", "torchmetrics", "scipy"} <= versions().keys()
    assert made.host == socket.gethostname() == machine()["host"]


def test_a_record_names_the_gpus_their_driver_and_libraries_and_the_clusters_job(monkeypatch, tmp_path):
    kernel = tmp_path / "version"
    kernel.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build\nGCC\n"
    )
    monkeypatch.setattr(module, "driver_version", lambda: driver_version(kernel))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "H100")
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda *_: SimpleNamespace(total_memory=80 << 30, major=9, minor=0),
    )
    monkeypatch.setattr(torch.cuda.nccl, "version", lambda: (2, 27, 5))
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    made = machine() | {"versions": versions()}
    gpus = made["hardware"]
    assert (gpus["accelerators"], gpus["accelerator_bytes"], gpus["driver"]) == (8, 80 << 30, "550.54.15")
    assert (made["versions"]["cuda"], made["versions"]["nccl"]) == ("12.8", "2.27.5")
    assert made["job"] == "Slurm 41"
    kernel.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19\n")
    assert driver_version.__wrapped__(kernel) == "535.104.05"
