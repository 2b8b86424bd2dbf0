"""The progress of a sweep: a table that grows and redraws itself on a terminal, lines elsewhere.

Every job that ends adds its row: likelihood, distance of its samples and, on a terminal, the samples.
"""

from __future__ import annotations

import time
import zipfile
import zlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from zoo.record import SAMPLES
from zoo.sweep.estimate import seconds_left
from zoo.sweep.job import Job
from zoo.sweep.plan import Plan

MOST_PICTURES = 20  # jobs of a sweep that shows the samples of each
SIDE = 16  # most pixels of a side of a sample: of a larger one, every second, third ... is shown
SHOWN = 8  # samples of a job


class Display(Protocol):
    """Shows the jobs of a sweep while they run."""

    def __enter__(self) -> Display: ...
    def __exit__(self, *error: object) -> None: ...

    def ended(self, job: Job) -> None:
        """Show that a job has ended."""

    def update(self) -> None:
        """Show the progress of the running jobs."""


def make_display(plan: Plan, console: Console, workers: int = 1) -> Display:
    """Return the display that suits the console.

    Args:
        plan: the sweep.
        console: where to show it.
        workers: number of jobs that run at a time.
    """
    return (_Screen if console.is_terminal else _Lines)(plan, console, workers)


def describe_progress(progress: dict[str, Any]) -> str:
    """Return the content of a run's ``progress.json`` as one line.

    >>> describe_progress({"updates": 1200, "budget": 5000, "epoch": 0.5, "loss": 2.0, "seconds_left": 9.7})
    'update 1,200/5,000 · epoch 0.5 · loss 2.000 · 10 s left'
    """
    parts = [f"update {progress['updates']:,}/{progress['budget']:,}"]
    if progress.get("epoch") is not None:
        parts.append(f"epoch {progress['epoch']:g}")
    if progress.get("loss") is not None:
        parts.append(f"loss {progress['loss']:.3f}")
    if progress.get("seconds_left") is not None:
        parts.append(f"{progress['seconds_left']:.0f} s left")
    return " · ".join(parts)


def describe_result(job: Job) -> list[str]:
    """Return likelihood and distance of samples of a job that has finished, as the comparison prints them."""
    from zoo.comparison.collect import Run
    from zoo.comparison.tables.cells import Footnotes
    from zoo.comparison.tables.columns import metric_columns

    record = job.record()
    if record is None or record.status != "finished":
        return []
    run = Run(record, job.directory)
    cells = [(column.heading, column.cell([run], Footnotes())) for column in metric_columns([run])[0]]
    return [f"{heading} {cell.text}" for heading, cell in cells if cell.value is not None][:2]


def describe_samples(directory: Path, width: int) -> list[Text]:
    """Return the lines of a strip with a run's first samples; none if they are not images, or missing."""
    from zoo.comparison.terminal import half_blocks, tiled

    try:
        with np.load(directory / SAMPLES) as content:
            images, levels = content["samples"][:SHOWN], int(content["levels"])
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return []
    if images.ndim != 4 or levels < 2 or not len(images):
        return []
    step = -(-max(images.shape[2:]) // SIDE)
    images = images[: max(1, (width + 1) // (-(-images.shape[3] // step) + 1)), :, ::step, ::step]
    return list(half_blocks(tiled(images, len(images)) / (levels - 1)))


def describe_seconds(seconds: float | None) -> str:
    """Return a time left, as exactly as it is known; an empty text if it is unknown, or nothing is left.

    >>> describe_seconds(41.0), describe_seconds(152.0), describe_seconds(400.0), describe_seconds(9000.0)
    ('about 40 s left', 'about 150 s left', 'about 7 min left', 'about 2.5 h left')
    >>> describe_seconds(6.0), describe_seconds(0.0), describe_seconds(None)
    ('a few seconds left', '', '')
    """
    if not seconds:
        return ""
    if seconds < 10:
        return "a few seconds left"
    if seconds < 300:  # whole minutes would be wrong by up to a quarter
        step = 5 if seconds < 100 else 10
        return f"about {step * round(seconds / step)} s left"
    return f"about {seconds / 60:.0f} min left" if seconds < 5400 else f"about {seconds / 3600:.1f} h left"


def _count_done(plan: Plan) -> int:
    return sum(job.ended or job.state == "cut off" for job in plan.jobs)


class _Lines:
    """A line when a job ends, and one for each running job every few seconds."""

    def __init__(self, plan: Plan, console: Console, workers: int = 1, every: float = 8.0) -> None:
        self.plan, self.console, self.workers, self.every = plan, console, workers, every
        self.size, self.last_update = plan.size, time.monotonic()

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def ended(self, job: Job) -> None:
        reason = f": {job.reason}" if job.reason else ""
        done = f"[{_count_done(self.plan)}/{self.size}]"
        result = "".join(f" · {part}" for part in describe_result(job))
        self._print(f"{done} {job.identity.run_id} {job.state} in {job.seconds:.0f} s{reason}{result}")

    def update(self) -> None:
        if time.monotonic() - self.last_update < self.every:
            return
        self.last_update = time.monotonic()
        for job in self.plan.jobs:
            if job.is_running:
                progress = describe_progress(job.progress) if job.progress else ""
                self._print(f"  {job.identity.run_id}: {job.state} {progress}")
        if left := describe_seconds(seconds_left(self.plan, self.workers)):
            self._print(f"  {_count_done(self.plan)} of {_jobs(self.size)} · {left}")

    def _print(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


def _jobs(number: int) -> str:
    return f"{number} job{'' if number == 1 else 's'}"


class _Screen:
    """A row for each job that has ended, then a bar for the sweep and one for each running job."""

    def __init__(self, plan: Plan, console: Console, workers: int = 1) -> None:
        self.plan, self.size, self.workers = plan, plan.size, workers
        self.live = Live(self._table(), console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> _Screen:
        self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.live.stop()

    def ended(self, job: Job) -> None:
        colour = {"finished": "green", "pruned": "cyan", "diverged": "yellow"}.get(job.state, "red")
        self.live.console.print(
            f"[{colour}]{job.state:9}[/] {job.identity.run_id} [dim]{job.seconds:.0f} s[/] "
            f"{escape(job.reason)}{escape(' · '.join(describe_result(job)))}"
        )
        if self.size <= MOST_PICTURES:
            for line in describe_samples(job.directory, self.live.console.width):
                self.live.console.print(line, no_wrap=True, crop=True)

    def update(self) -> None:
        self.live.update(self._table())

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        done, left = _count_done(self.plan), describe_seconds(seconds_left(self.plan, self.workers))
        table.add_row(
            "[bold]sweep[/]",
            _bar(done / max(1, self.size)),
            " · ".join(filter(None, (f"{done} of {_jobs(self.size)}", left))),
        )
        for job in filter(lambda job: job.is_running, self.plan.jobs):
            progress = job.progress
            share = progress["updates"] / max(1, progress["budget"]) if progress else 0.0
            training = progress and job.state == "training"
            # no epoch, so that a row fits a terminal of 80 columns
            detail = (
                describe_progress(progress | {"epoch": None})
                if training
                else f"{job.state} {job.seconds:.0f} s"
            )
            name = f"{escape(job.identity.model)} [dim]seed {job.identity.seed}[/]"
            table.add_row(name, _bar(share), detail)
        return table


def _bar(share: float, width: int = 12) -> str:
    full = round(min(1.0, share) * width)
    return f"[cyan]{'━' * full}[/][dim]{'━' * (width - full)}[/]"
