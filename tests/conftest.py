"""Shared fixtures: quiet, offline, one thread (small operations lose by sharing a busy machine)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# One thread here and in every process that a test starts: two workers share two cores, and threads that wait
# for each other on a busy core make a command several times slower. Before torch, which reads it once.
os.environ["OMP_NUM_THREADS"] = "1"

import torch

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")
torch.set_num_threads(1)

from zoo.processes import PARENT  # noqa: E402


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _followed_by_none() -> Iterator[None]:
    """A command that ran in this process is not what the processes of later tests belong to."""
    yield
    os.environ.pop(PARENT, None)


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
