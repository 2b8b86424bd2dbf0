"""The command in a record makes the same run, from any working directory."""

from __future__ import annotations

import os
import shlex

import pytest

from zoo.config import compose_run, identify
from zoo.processes import JOBS
from zoo.running.provenance import command, hardware, provenance, versions
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
    made = provenance(RunSpec.of(compose_run(["model=maf", "data=moons", "seed=2"])))
    assert made.command == "zoo train model=maf data=moons seed=2"
    assert made.config["seed"] == 2
    assert made.config_hash != made.config_hash_without_seed
    assert made.hardware.jobs == 3
    assert hardware().cores == os.cpu_count()
    assert {"python", "torch", "lightning", "torchmetrics", "scipy"} <= versions().keys()
