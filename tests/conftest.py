"""Shared fixtures: quiet, offline, one thread (small operations lose by sharing a busy machine)."""

from __future__ import annotations

import os

import pytest

# One thread here and in every process that a test starts: two workers share two cores, and threads that wait
# for each other on a busy core make a command several times slower. Before torch, which reads it once.
os.environ["OMP_NUM_THREADS"] = "1"

import torch

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
