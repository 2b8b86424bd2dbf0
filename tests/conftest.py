"""Shared fixtures: a fixed seed, W&B offline, one thread (faster for small operations on a busy machine)."""

from __future__ import annotations

import atexit
import gc
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

# One thread here and in every process that a test starts: two workers share two cores, and threads that wait
# for each other on a busy core make a command several times slower. torch reads it
# once, at its import.
os.environ["OMP_NUM_THREADS"] = "1"

gc.disable()  # until the tests are collected: what is imported is no garbage

import torch  # noqa: E402

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_SILENT", "true")
torch.set_num_threads(1)

from forks import ForkHere, start_forked  # noqa: E402
from omegaconf import DictConfig, flag_override  # noqa: E402

from zoo.config import compose, places  # noqa: E402
from zoo.processes import PARENT  # noqa: E402

LONG = ("tests/cli", "tests/docs", "tests/running", "tests/sweep", "tests/test_readme.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that start processes first, so that two workers finish at about the same time."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


def remembering(function: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """Return the function that composes, which composes the same overrides of shipped files once.

    What it returns is new each time. A user's ``./conf`` and a changed ``conf/`` are read each time.
    """
    shipped, known = places.shipped("conf"), {}

    def composed(overrides, return_hydra_config=False):
        if places.own_conf() is not None or compose.shipped("conf") != shipped:
            return function(overrides, return_hydra_config)
        compose.register()
        key = (*overrides, return_hydra_config)
        if key not in known:
            known[key] = pickle.dumps(function(overrides, return_hydra_config))
        config = pickle.loads(known[key])
        if return_hydra_config:
            with flag_override(config.hydra.runtime, "readonly", False):
                config.hydra.runtime.cwd = os.getcwd()
        return config

    return composed


compose.composition = remembering(compose.composition)


def pytest_collection_finish() -> None:
    """Collect garbage from here on, but leave alone what the tests' imports have made."""
    gc.freeze()
    atexit.register(gc.unfreeze)
    gc.enable()


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
