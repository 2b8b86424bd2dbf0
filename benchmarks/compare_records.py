"""Seconds to compare ten thousand records, and to plan a sweep of ten thousand jobs.

The records are made up, with curves and samples; each is as large as a real record and has its provenance.
They are compared as by ``zoo compare DIR -o OUT``: read, tabled, drawn, written. A sweep is planned as by
``zoo sweep``: every job's configuration, identity and directory. Jobs that differ in plain values share one
composition; the shipped toys, most of whose jobs are a model and data of their own, share few.
"""

from __future__ import annotations

import dataclasses
import io
import math
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TypeVar
from unittest import mock

import yaml
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests" / "comparison")]
from common import write  # noqa: E402
from fake_records import NINE  # noqa: E402
from fake_records import write as write_record  # noqa: E402

from zoo.comparison import compare  # noqa: E402
from zoo.record import Cost, Provenance, Sampling, read  # noqa: E402
from zoo.sweep import plan_sweep  # noqa: E402

REAL = read(sorted((ROOT / "results/quickstart/records").glob("glow-*"))[0])
COUNTS, SEEDS = (1000, 10_000), 5
Part = TypeVar("Part", Provenance, Cost, Sampling)
MODELS = ("realnvp", "glow", "maf", "vae", "gan")


def records(root: Path, count: int) -> None:
    """Write ``count`` runs: nine models, many configurations, five seeds; one in fifty diverged."""
    for index in range(count):
        model = list(NINE)[index // SEEDS % len(NINE)]
        family, kind, value, distance, latency, evaluations, details = NINE[model]
        number, seed = index // (SEEDS * len(NINE)), index % SEEDS
        shift = 0.001 * number + 0.01 * seed
        record = write_record(
            root, model, family, kind, None if value is None else value + shift, seed,
            "diverged" if index % 50 == 49 else "finished", distance + shift, details, f"-c{number}",
            latency * (1 + shift), evaluations,
        )  # fmt: skip
        record.provenance = filled(record.provenance, REAL.provenance)
        record.provenance.config = REAL.provenance.config
        record.cost = filled(record.cost, REAL.cost)
        if record.status == "finished":
            record.sampling = filled(record.sampling, REAL.sampling)
            record.metrics = REAL.metrics | record.metrics
        record.write(root / record.run_id)


def filled(part: Part, other: Part) -> Part:
    """Return a part of a record; values that it lacks are taken from another."""
    values = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    return dataclasses.replace(other, **{name: value for name, value in values.items() if value})


def sweep_file(folder: Path, count: int) -> Path:
    """Write a sweep whose grid has ``count`` jobs over models, rates and seeds."""
    rates = math.ceil(count / len(MODELS) / SEEDS)
    sweep = {
        "overrides": {"data": "digits", "training.updates": 1000},
        "grid": {
            "model": list(MODELS),
            "training.lr": [1e-4 * (1 + k) for k in range(rates)],
            "seed": list(range(SEEDS)),
        },
    }
    file = folder / f"many{count}.yaml"
    file.write_text(yaml.safe_dump(sweep))
    return file


def planned(sweep: str) -> tuple[int, dict[str, float]]:
    """Return the number of a sweep's jobs, and the seconds that planning it took."""
    begun = time.perf_counter(), time.process_time()
    jobs = plan_sweep(sweep, [], Path("none")).jobs
    return len(jobs), {
        "plan_seconds": time.perf_counter() - begun[0],
        "plan_cpu_seconds": time.process_time() - begun[1],
    }


def main() -> None:
    rows = []
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            runs, out = Path(folder) / "runs", Path(folder) / "out"
            with mock.patch.object(os, "fsync"):  # temporary files need not be safe on the disk
                records(runs, count)
            console = Console(file=io.StringIO(), width=160)
            took = {}
            for what, where in (("terminal", None), ("files", out), ("unchanged", out)):
                begun = time.perf_counter(), time.process_time()
                compare([runs], where, console=console)
                took[f"compare_{what}_seconds"] = time.perf_counter() - begun[0]
                took[f"compare_{what}_cpu_seconds"] = time.process_time() - begun[1]
            jobs, planning = planned(str(sweep_file(Path(folder), count)))
        assert jobs == count
        rows.append({"count": count, **{name: round(value, 2) for name, value in (took | planning).items()}})
        print(rows[-1], flush=True)
    jobs, planning = planned("toys")
    rows.append(
        {"sweep": "toys", "jobs": jobs, **{name: round(value, 2) for name, value in planning.items()}}
    )
    print(rows[-1], flush=True)
    write("compare_records", rows)


if __name__ == "__main__":
    main()
