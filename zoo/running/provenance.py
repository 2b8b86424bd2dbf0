"""Where a record's numbers come from: command, configuration, code, versions, hardware."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import shlex
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

import zoo
from zoo.config.overrides import absolute
from zoo.processes import JOBS
from zoo.record import Hardware, Provenance
from zoo.running.spec import RunSpec

PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "torch-fidelity",
    "torchdiffeq",
    "numpy",
    "scipy",
    "hydra-core",
    "wandb",
)


def provenance(spec: RunSpec) -> Provenance:
    """Return the provenance of a run before it starts."""
    return Provenance(
        command=command(spec.overrides),
        overrides=spec.overrides,
        config=spec.identity.config,
        **spec.identity.hashes,
        git_commit=git_commit(),
        versions=versions(),
        hardware=hardware(),
    )


def command(overrides: Sequence[str]) -> str:
    """Return the shell command that makes the run of these overrides.

    Paths of data and weights are absolute. A run of an own ``conf/`` or an own model is made in the directory
    that holds them.
    """
    return shlex.join(["zoo", "train", *map(absolute, overrides)])


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that numbers depend on."""
    installed = {"python": platform.python_version(), "zoo": zoo.__version__}
    for package in PACKAGES:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            installed[package] = "absent"
    return installed


def hardware() -> Hardware:
    """Return the properties of the machine that speed depends on."""
    return Hardware(
        cpu=_processor(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        jobs=int(os.environ[JOBS]) if JOBS in os.environ else None,
        accelerator=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    )


def machine() -> dict[str, Any]:
    """Return the fields of a segment that describe the machine, as plain values, which checkpoints hold."""
    return {
        "host": socket.gethostname(),
        "hardware": dataclasses.asdict(hardware()),
        "git_commit": git_commit(),
    }


@cache
def git_commit() -> str | None:
    """Return the commit of zoo's code, with ``-dirty`` if files were changed; None outside a repository."""
    here = Path(__file__).resolve().parent
    answer = subprocess.run(
        ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() or None if answer.returncode == 0 else None


def peak_memory() -> int:
    """Return the peak memory in bytes: of the GPU if there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
