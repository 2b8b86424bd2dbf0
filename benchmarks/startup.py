"""Seconds of the commands that do not train, to a run's first update, and of a sweep's job besides its run.

A command is timed from the start of a fresh process to its end. For comparison: an interpreter that does
nothing, and one that imports torch, which is the least time of a command that needs torch; the ratio is by
torch's. ``first update`` is a run of one update, from the start of its process, without the evaluation that
its record counts. ``sweep job`` is what a job adds to a sweep of such runs, without the training and the
evaluation of the records.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import medians, write

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "comparison"))
from fake_records import NINE  # noqa: E402
from fake_records import write as write_run  # noqa: E402

RECORDS, ROUNDS, JOBS = 20, 5, (2, 6)
COMMANDS = {
    "python": ["-c", "pass"],
    "import torch": ["-c", "import torch"],
    "zoo --help": ["-m", "zoo", "--help"],
    "zoo compare, 20 records": ["-m", "zoo", "compare", "runs"],
    "zoo claims, 20 records": ["-m", "zoo", "claims", "runs"],
    "zoo sweep quickstart --dry-run": ["-m", "zoo", "sweep", "quickstart", "--dry-run"],
}
AIMS = {"zoo --help": 0.15, "zoo compare, 20 records": 0.5, "first update": 5.0, "sweep job": 5.0}
TINY = [
    "model=realnvp",
    "data=moons",
    "trainer=cpu",
    "logger=none",
    "training.updates=1",
    "evaluation.samples=64",
    "evaluation.likelihood_examples=64",
    "evaluation.time_limit_seconds=0.01",
    "evaluation.latency_repeats=1",
    "evaluation.throughput_batches=[4]",
    "evaluation.throughput_repeats=1",
]


def process(arguments: list[str], folder: str) -> Callable[[], object]:
    """Return a job that runs a fresh interpreter to its end."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return lambda: subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


def records(root: Path) -> None:
    """Write 20 finished runs of nine models, two or three seeds each."""
    for index in range(RECORDS):
        model = list(NINE)[index % len(NINE)]
        family, kind, value, distance, latency, evaluations, details = NINE[model]
        write_run(
            root, model, family, kind, value, seed=index // len(NINE), fd=distance, details=details,
            latency=latency, evaluations=evaluations,
        )  # fmt: skip


def costs(root: Path) -> list[dict[str, Any]]:
    """Return the costs of the records below a folder."""
    return [json.loads(path.read_text())["cost"] for path in sorted(root.rglob("record.json"))]


def first_update(folder: Path) -> float:
    """Return the seconds of a run of one update, without its evaluation."""
    run = folder / f"run-{time.monotonic_ns()}"
    begun = time.perf_counter()
    process(["-m", "zoo", "train", *TINY, f"hydra.run.dir={run}"], str(folder))()
    return time.perf_counter() - begun - costs(run)[0]["evaluation_seconds"]


def sweep_job(folder: Path) -> float:
    """Return the seconds that a job adds to a sweep, without its training and evaluation."""
    totals = []
    for count in JOBS:
        out = folder / f"sweep-{time.monotonic_ns()}"
        overrides = [*TINY, f"seed=range(0,{count})"]
        begun = time.perf_counter()
        process(["-m", "zoo", "sweep", "tiny.yaml", "--jobs", "1", "-o", str(out), *overrides], str(folder))()
        passed = time.perf_counter() - begun
        work = sum(cost["train_seconds"] + cost["evaluation_seconds"] for cost in costs(out))
        totals.append(passed - work)
    return (totals[1] - totals[0]) / (JOBS[1] - JOBS[0])


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        records(folder / "runs")
        (folder / "tiny.yaml").write_text("description: Runs of one update.\ngrid: {seed: [0]}\n")
        seconds = medians(
            {name: process(arguments, place) for name, arguments in COMMANDS.items()}, ROUNDS, 60.0
        )
        first_update(folder)
        seconds["first update"] = statistics.median(first_update(folder) for _ in range(3))
        seconds["sweep job"] = sweep_job(folder)
    rows = [
        {
            "command": name,
            "seconds": round(value, 3),
            "ratio": round(value / seconds["import torch"], 2),
            "aim_seconds": AIMS.get(name),
        }
        for name, value in seconds.items()
    ]
    for row in rows:
        aim = f"aim {row['aim_seconds']}" if row["aim_seconds"] else ""
        print(f"{row['command']:32} {row['seconds']:6.2f} s  {row['ratio']:5.2f}  {aim}", flush=True)
    if "--dry" not in sys.argv:
        print(write("startup", rows, about="seconds of a fresh process; ratios by one that imports torch"))


if __name__ == "__main__":
    main()
