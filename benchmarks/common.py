"""Shared by the benchmarks: medians of interleaved runs, and a results file with versions and hardware."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import table
import torch


def wait() -> None:
    """Wait until the GPU, if one is in use, has finished its work."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def medians(
    jobs: Mapping[str, Callable[[], object]], repeats: int = 7, seconds: float = 10.0
) -> dict[str, float]:
    """Return the median seconds of each job; the jobs run in turns, after one round that is not measured.

    Args:
        jobs: functions by name.
        repeats: largest number of rounds.
        seconds: time after which no new round starts; at least one round is measured.
    """
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()
    begun = time.perf_counter()
    for done in range(repeats):
        if done and time.perf_counter() - begun > seconds:
            break
        for name, job in jobs.items():
            wait()
            started = time.perf_counter()
            job()
            wait()
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def write(name: str, rows: list[dict[str, Any]], **about: Any) -> Path:
    """Write ``results/benchmarks/<name>.json`` (rows, versions, hardware) and make the tables anew.

    Raises:
        SystemExit: the rows lack a value that a table shows; the file is written nevertheless.
    """
    record = {
        "benchmark": name,
        "command": f"python benchmarks/{name}.py",
        **about,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "hardware": {
            "cpu": processor(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "load": round(os.getloadavg()[0], 2),
            "accelerator": torch.cuda.get_device_name() if torch.cuda.is_initialized() else None,
        },
        "rows": rows,
    }
    path = table.RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    table.rewrite()
    return path


def processor() -> str:
    """Return the name of the processor, or the kind of machine if the name is unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
