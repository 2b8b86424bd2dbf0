"""``zoo sync``: upload offline runs to W&B. Imports neither wandb nor torch."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from zoo.errors import ZooError
from zoo.locks import is_locked
from zoo.record import CHECKPOINTS
from zoo.tracking.login import logged_in

AT_ONCE = 100  # segments for one call of `wandb sync`: the length of a command line is limited
TOGETHER = 8  # calls of `wandb sync` at a time, each with other runs
PAUSES = (60.0, 180.0)  # seconds to wait before what W&B's rate limit refused is tried again, by fewer calls
_LIMITED = re.compile(r"rate limit|too many requests|\b429\b", re.I)
RUNS = Path("runs")


def sync_runs(paths: Sequence[Path] = ()) -> int:
    """Upload every segment under ``paths`` (``runs/``) that is not uploaded yet; return 0.

    A resumed run has one segment for each start. All segments have the same run id, and W&B appends each to
    the run, so they are uploaded in the order in which they were made. Several runs are uploaded at a time;
    where W&B's rate limit refuses some, they are tried again later by half as many calls. wandb marks an
    uploaded segment (``*.wandb.synced``), which is then skipped.

    Raises:
        ZooError: a directory does not exist, there is no key, or a segment could not be uploaded.
    """
    places = list(paths) or [RUNS]
    for place in places:
        if not place.is_dir():
            raise ZooError(f"There is no directory {place}; name the one that holds the runs.")
    every = sorted({segment for place in places for segment in segments(place)})
    waiting = [segment for segment in every if not is_uploaded(segment)]
    busy = [segment for segment in waiting if is_locked(run_of(segment))]
    waiting = [segment for segment in waiting if segment not in busy]
    where = ", ".join(map(str, places))
    for run in sorted({run_of(segment) for segment in busy}):
        print(f"{run} is still at work and is skipped.")
    if not waiting:
        print(f"Nothing waits under {where}: {_count(len(every) - len(busy), 'segment')} uploaded before.")
        return 0
    if not logged_in():
        raise ZooError(
            f"This machine is not logged in to W&B, so {_tally(waiting)} under {where} cannot be uploaded; "
            "run `wandb login` or set WANDB_API_KEY, then the same command."
        )
    together = TOGETHER
    for pause in (0.0, *PAUSES):
        time.sleep(pause)
        with ThreadPoolExecutor(together) as pool:
            limited = any(list(pool.map(upload, portions(waiting, together))))
        if not limited or all(map(is_uploaded, waiting)):
            break
        together = max(1, together // 2)
    left = [segment for segment in waiting if not is_uploaded(segment)]
    print(f"Uploaded {_tally([segment for segment in waiting if segment not in left])}.")
    if left:
        raise ZooError(
            f"{_tally(left)} could not be uploaded, {run_of(left[0])} among them; wandb says why above, and "
            "the same command tries again."
        )
    return 0


def portions(waiting: Sequence[Path], together: int) -> list[list[Path]]:
    """Return the segments that are not uploaded, in portions of whole runs and in their order."""
    runs: dict[Path, list[Path]] = {}
    for segment in waiting:
        if not is_uploaded(segment):
            runs.setdefault(run_of(segment), []).append(segment)
    size = min(AT_ONCE, max(1, -(-sum(map(len, runs.values())) // together)))
    result: list[list[Path]] = []
    for run in runs.values():
        if not result or len(result[-1]) + len(run) > size:
            result.append([])
        result[-1] += run
    return result


def segments(place: Path) -> Iterator[Path]:
    """Yield the ``.wandb`` files of offline runs at any depth under a directory."""
    for folder, inner, files in os.walk(place):
        if Path(folder).name.startswith("offline-run-"):
            inner.clear()
            yield from (Path(folder) / name for name in files if name.endswith(".wandb"))
        else:
            inner[:] = [name for name in inner if name != CHECKPOINTS]


def is_uploaded(segment: Path) -> bool:
    """Return whether a segment is marked as uploaded."""
    return _mark(segment).exists()


def _mark(segment: Path) -> Path:
    return segment.with_name(segment.name + ".synced")  # wandb's own


def run_of(segment: Path) -> Path:
    """Return the run directory of a segment, which is ``RUN/wandb/offline-run-.../run-ID.wandb``."""
    return segment.parent.parent.parent


def upload(batch: Sequence[Path]) -> bool:
    """Upload segments with ``wandb sync``, which sorts the segments of a run by time and prints to stderr.

    Returns:
        Whether W&B's rate limit refused something.

    If a crash cut off a segment's last record, wandb uploads the rest but does not mark the segment, and
    would append it again every time. So it is marked here.
    """
    # set for a run in progress, or to be offline; they must not affect this upload
    ours = ("WANDB_MODE", "WANDB_SILENT", "WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_DIR", "WANDB_SERVICE")
    limited = False
    with subprocess.Popen(
        [sys.executable, "-m", "wandb", "sync", *map(str, batch)],
        env={key: value for key, value in os.environ.items() if key not in ours},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:  # the marks, not the exit code, show which were uploaded
        assert process.stderr is not None
        for line in process.stderr:
            print(line, end="", file=sys.stderr)
            limited |= _LIMITED.search(line) is not None
            torn = re.search(r'sync all data from "(.+?)": the file ends with an incomplete record', line)
            for segment in batch:
                if torn and segment.parent.resolve() == Path(torn[1]).resolve():
                    _mark(segment).touch()
    return limited


def _tally(files: Sequence[Path]) -> str:
    return f"{_count(len(files), 'segment')} of {_count(len({run_of(s) for s in files}), 'run')}"


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
