"""``zoo time``: measure the speed of finished runs anew, in turns, and write it beside their records."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from zoo.errors import ZooError
from zoo.evaluation.device import placement
from zoo.evaluation.interleaved import TOLERANCE, interleaved_times
from zoo.evaluation.speed import is_compiled, load_average
from zoo.factory import load
from zoo.record import RECORD, Load, read
from zoo.record.timing import LEAST_CALLS, Timing
from zoo.running.provenance import hardware


@dataclass(frozen=True)
class Result:
    """The directory, the name and the measured times of a run."""

    directory: Path
    name: str
    timing: Timing


def time_runs(
    paths: Sequence[Path],
    *,
    rounds: int = 10,
    batches: Sequence[int] = (1, 16, 256),
    device: str = "cpu",
    seed: int = 0,
    limit: float = 60.0,
) -> list[Result]:
    """Time the finished runs below some directories in turns and write ``timing.json`` beside each record.

    Args:
        paths: directories that hold runs with checkpoints, at any depth.
        rounds: number of rounds; in each round every run has its turn, in shuffled order.
        batches: batch sizes.
        device: device to sample on.
        seed: seed of the order.
        limit: seconds; a run whose call takes longer is not timed at larger batches.

    Raises:
        ZooError: a number is out of range, there is no finished run, or the machine was too busy throughout.
    """
    if rounds < 1 or limit <= 0 or not batches or min(batches) < 1:
        raise ZooError("zoo time needs --rounds, --batch and --limit of at least 1.")
    models, names = {}, {}
    for directory in sorted({file.parent for path in paths for file in _records(path)}):
        record = read(directory)
        if record.status == "finished":
            models[str(directory)] = load(directory, device)
            names[str(directory)] = record.run_id
    if not models:
        raise ZooError("There is no finished run to time; give directories of runs, such as runs/quickstart.")
    began, before = datetime.now(UTC).isoformat(timespec="seconds"), load_average()
    times = interleaved_times(models, rounds=rounds, batches=batches, seed=seed, limit=limit)
    machine_load = Load(before, load_average(), os.cpu_count() or 1)
    least = min(LEAST_CALLS, rounds)
    if not any(len(calls.seconds) >= least for by_batch in times.values() for calls in by_batch.values()):
        raise ZooError(
            f"The machine was so busy that no run has {least} undisturbed calls; run zoo time again when it "
            "is idle."
        )
    session, results = uuid.uuid4().hex[:12], []
    for key, by_batch in times.items():
        place, dtype = placement(models[key])
        timing = Timing(
            session=session,
            measured_at=began,
            rounds=rounds,
            runs=len(models),
            device=torch.cuda.get_device_name(place) if place.type == "cuda" else place.type,
            threads=torch.get_num_threads(),
            dtype=str(dtype).removeprefix("torch."),
            compiled=is_compiled(models[key]),
            cpu=hardware().cpu,
            load=machine_load,
            tolerance=TOLERANCE,
            batches={str(batch): calls for batch, calls in by_batch.items()},
        )
        if timing.counts:  # otherwise the run keeps the times that it has
            timing.write(Path(key))
        results.append(Result(Path(key), names[key], timing))
    return results


def _records(path: Path) -> list[Path]:
    """Return the records at or below a path.

    Raises:
        ZooError: the path does not exist.
    """
    if not path.exists():
        raise ZooError(f"There is no directory {path}; give one that holds runs, such as runs/quickstart.")
    return [path / RECORD] if (path / RECORD).exists() else sorted(path.rglob(RECORD))
