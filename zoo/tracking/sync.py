"""``zoo sync``: upload what runs have kept for W&B while they were offline. Imports no wandb, no torch."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from zoo.errors import ZooError
from zoo.processes import is_locked
from zoo.tracking.login import logged_in

AT_ONCE = 100  # segments handed to one `wandb sync`: an argument list has an end
RUNS = Path("runs")


def sync_runs(paths: Sequence[Path] = ()) -> int:
    """Upload every segment that waits under ``paths`` (``runs/``); returns 0 when none is left.

    A run that was resumed has one segment for each time it was started. All carry the id of the job, and
    W&B appends each to what it has, so they are uploaded in the order in which they were made. What is
    uploaded is marked by wandb (``*.wandb.synced``) and passed over the next time.

    Raises:
        ZooError: no such directory, no key, or something could not be uploaded.
    """
    places = list(paths) or [RUNS]
    for place in places:
        if not place.is_dir():
            raise ZooError(f"There is no directory {place}; name the one that holds the runs.")
    found = sorted({segment for place in places for segment in segments(place)})
    waiting = [segment for segment in found if not is_uploaded(segment)]
    busy = [segment for segment in waiting if is_locked(run_of(segment))]
    waiting = [segment for segment in waiting if segment not in busy]
    where = ", ".join(map(str, places))
    for run in sorted({run_of(segment) for segment in busy}):
        print(f"{run} is still at work; it is uploaded another time.")
    if not waiting:
        print(f"Nothing waits under {where}: {_count(len(found) - len(busy), 'segment')} uploaded before.")
        return 0
    if not logged_in():
        raise ZooError(
            f"This machine is not logged in to W&B, so {_tally(waiting)} under {where} cannot be uploaded; "
            "run `wandb login` or set WANDB_API_KEY, then the same command."
        )
    for first in range(0, len(waiting), AT_ONCE):
        upload(waiting[first : first + AT_ONCE])
    left = [segment for segment in waiting if not is_uploaded(segment)]
    print(f"Uploaded {_tally([segment for segment in waiting if segment not in left])}.")
    if left:
        raise ZooError(
            f"{_tally(left)} could not be uploaded, {run_of(left[0])} among them; wandb says why above, and "
            "the same command tries again."
        )
    return 0


def segments(place: Path) -> Iterator[Path]:
    """The ``.wandb`` files of offline runs anywhere under a directory."""
    for folder, inner, files in os.walk(place):
        if Path(folder).name.startswith("offline-run-"):
            inner.clear()
            yield from (Path(folder) / name for name in files if name.endswith(".wandb"))
        else:
            inner[:] = [name for name in inner if name != "checkpoints"]


def is_uploaded(segment: Path) -> bool:
    """Whether a segment is marked as uploaded."""
    return _mark(segment).exists()


def _mark(segment: Path) -> Path:
    return segment.with_name(segment.name + ".synced")  # wandb's own


def run_of(segment: Path) -> Path:
    """The directory of the run that a segment belongs to: ``RUN/wandb/offline-run-.../run-ID.wandb``."""
    return segment.parent.parent.parent


def upload(batch: Sequence[Path]) -> None:
    """Hand segments to ``wandb sync``, which sorts those of one run by time and says what it does.

    A segment whose last record was torn by whatever ended its run is marked here: the rest of it is uploaded,
    more will not come, and wandb, which waits for more, would append it again every time.
    """
    # of a run in progress, or of the choice to be offline; none of them is about this upload
    ours = ("WANDB_MODE", "WANDB_SILENT", "WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_DIR", "WANDB_SERVICE")
    with subprocess.Popen(
        [sys.executable, "-m", "wandb", "sync", *map(str, batch)],
        env={key: value for key, value in os.environ.items() if key not in ours},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:  # its exit code does not tell which were uploaded; the marks do
        assert process.stderr is not None
        for line in process.stderr:
            print(line, end="", file=sys.stderr)
            torn = re.search(r'sync all data from "(.+?)": the file ends with an incomplete record', line)
            for segment in batch:
                if torn and segment.parent.resolve() == Path(torn[1]).resolve():
                    _mark(segment).touch()


def _tally(found: Sequence[Path]) -> str:
    return f"{_count(len(found), 'segment')} of {_count(len({run_of(s) for s in found}), 'run')}"


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
