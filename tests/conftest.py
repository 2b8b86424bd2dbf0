"""Shared fixtures: a fixed seed, W&B offline, one thread (faster for small operations on a busy machine)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

# One thread here and in every process that a test starts: two workers share two cores, and threads that wait
# for each other on a busy core make a command several times slower. torch reads it
# once, at its import.
os.environ["OMP_NUM_THREADS"] = "1"

import torch

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")
torch.set_num_threads(1)

from forks import ForkHere, start_forked  # noqa: E402

from zoo.processes import PARENT  # noqa: E402

LONG = ("tests/cli", "tests/docs", "tests/running", "tests/sweep", "tests/test_readme.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that start processes first, so that two workers finish at about the same time."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_parent() -> Iterator[None]:
    """Forget the parent that a command set in this process, so that later tests start without one."""
    yield
    os.environ.pop(PARENT, None)


@pytest.fixture
def forked_jobs(monkeypatch) -> None:
    """Start the jobs of sweeps and multiruns as forks of this process, not of a server of its own."""
    monkeypatch.setattr(subprocess, "Popen", start_forked)
    monkeypatch.setattr("zoo.sweep.launcher.ForkServer", ForkHere)


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """Return an empty directory, which is the working directory; modules in it are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # a command adds the working directory
    return tmp_path
