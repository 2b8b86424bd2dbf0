"""The provenance of a run, collected from this process: command, code, versions and hardware."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
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


def provenance_of(spec: RunSpec) -> Provenance:
    """Return the provenance of a run before it starts."""
    return Provenance(
        command=command(spec.overrides),
        overrides=spec.overrides,
        config=spec.identity.config,
        **spec.identity.hashes,
        git_commit=git_commit(),
        versions=versions(),
        hardware=hardware(),
        host=socket.gethostname(),
        job=cluster_job(),
    )


def command(overrides: Sequence[str]) -> str:
    """Return the shell command that makes the run of these overrides.

    Paths of data and weights are absolute. A run with a user's own ``conf/`` or model needs the command to be
    run in the directory that holds them.
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
    return installed | (gpu_libraries() if torch.cuda.is_available() else {})


def gpu_libraries() -> dict[str, str]:
    """Return the versions of CUDA (or ROCm), cuDNN and NCCL that torch was built with or has loaded."""
    nccl = None
    if torch.distributed.is_available() and torch.distributed.is_nccl_available():
        nccl = ".".join(map(str, torch.cuda.nccl.version()))
    cudnn = torch.backends.cudnn.version()
    libraries = {"cuda": torch.version.cuda, "rocm": torch.version.hip, "cudnn": cudnn, "nccl": nccl}
    return {name: str(version) for name, version in libraries.items() if version}


def cluster_job(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the name of the cluster's job that this process runs in; None outside a cluster.

    >>> cluster_job({"SLURM_JOB_ID": "815", "SLURM_ARRAY_JOB_ID": "812", "SLURM_ARRAY_TASK_ID": "3"})
    'Slurm 812_3'
    >>> cluster_job({"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "2"}), cluster_job({"PBS_JOBID": "9.head"})
    ('Slurm 7, restart 2', 'PBS 9.head')
    """
    restarts = environment.get("SLURM_RESTART_COUNT", "0")
    again = f", restart {restarts}" if restarts != "0" else ""
    if "SLURM_ARRAY_JOB_ID" in environment and "SLURM_ARRAY_TASK_ID" in environment:
        return f"Slurm {environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}{again}"
    if "SLURM_JOB_ID" in environment:
        return f"Slurm {environment['SLURM_JOB_ID']}{again}"
    for cluster, name in (("PBS", "PBS_JOBID"), ("LSF", "LSB_JOBID"), ("Kubernetes", "KUBERNETES_POD_NAME")):
        if environment.get(name):
            return f"{cluster} {environment[name]}"
    return None


def hardware() -> Hardware:
    """Return the properties of the machine that speed depends on."""
    gpu = torch.cuda.is_available()
    return Hardware(
        cpu=_processor(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        jobs=int(os.environ[JOBS]) if JOBS in os.environ else None,
        accelerator=torch.cuda.get_device_name() if gpu else None,
        accelerators=torch.cuda.device_count() if gpu else None,
        accelerator_bytes=torch.cuda.get_device_properties().total_memory if gpu else None,
        driver=driver_version() if gpu else None,
    )


@cache
def driver_version(file: Path = Path("/proc/driver/nvidia/version")) -> str | None:
    """Return the version of NVIDIA's driver, from the kernel or else ``nvidia-smi``; None if unknown."""
    with contextlib.suppress(OSError):
        if match := re.search(r"^NVRM version:.*?\s(\d+\.[\d.]+)\s", file.read_text(encoding="utf-8"), re.M):
            return match[1]
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.split("\n")[0].strip() or None if answer.returncode == 0 else None


def machine() -> dict[str, Any]:
    """Return the fields of a :class:`~zoo.record.Segment` that describe this machine, as plain values.

    Checkpoints store them.
    """
    return {
        "host": socket.gethostname(),
        "job": cluster_job(),
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
