"""The progress of a sweep: a table that redraws itself on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from zoo.sweep.job import Job
from zoo.sweep.plan import Plan


class Display(Protocol):
    """Shows the jobs of a sweep while they run."""

    def __enter__(self) -> Display: ...
    def __exit__(self, *error: object) -> None: ...

    def ended(self, job: Job) -> None:
        """Show that a job has ended."""

    def update(self) -> None:
        """Show the progress of the running jobs."""


def make_display(plan: Plan, console: Console) -> Display:
    """Return the display that suits the console."""
    return _Screen(plan, console) if console.is_terminal else _Lines(plan, console)


def describe_progress(progress: dict[str, Any]) -> str:
    """Return the content of a run's ``progress.json`` as one line.

    >>> describe_progress({"updates": 1200, "budget": 5000, "epoch": 0.5, "loss": 2.0, "seconds_left": 9.7})
    'update 1,200/5,000 · epoch 0.5 · loss 2.000 · 10 s left'
    """
    parts = [f"update {progress['updates']:,}/{progress['budget']:,}", f"epoch {progress['epoch']:g}"]
    if progress.get("loss") is not None:
        parts.append(f"loss {progress['loss']:.3f}")
    if progress.get("seconds_left") is not None:
        parts.append(f"{progress['seconds_left']:.0f} s left")
    return " · ".join(parts)


def _count_done(plan: Plan) -> int:
    return sum(job.ended or job.state == "cut off" for job in plan.jobs)


class _Lines:
    """A line when a job ends, and one for each running job every few seconds."""

    def __init__(self, plan: Plan, console: Console, every: float = 8.0) -> None:
        self.plan, self.console, self.every = plan, console, every
        self.size, self.last_update = plan.size, time.monotonic()

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def ended(self, job: Job) -> None:
        reason = f": {job.reason}" if job.reason else ""
        done = f"[{_count_done(self.plan)}/{self.size}]"
        self._print(f"{done} {job.identity.run_id} {job.state} in {job.seconds:.0f} s{reason}")

    def update(self) -> None:
        if time.monotonic() - self.last_update < self.every:
            return
        self.last_update = time.monotonic()
        for job in self.plan.jobs:
            if job.is_running:
                progress = describe_progress(job.progress) if job.progress else ""
                self._print(f"  {job.identity.run_id}: {job.state} {progress}")

    def _print(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


class _Screen:
    """A bar for the sweep and one for each running job."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self.plan, self.size = plan, plan.size
        self.live = Live(self._table(), console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> _Screen:
        self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.live.stop()

    def ended(self, job: Job) -> None:
        colour = {"finished": "green", "diverged": "yellow"}.get(job.state, "red")
        self.live.console.print(
            f"[{colour}]{job.state:9}[/] {job.identity.run_id} [dim]{job.seconds:.0f} s[/] "
            f"{escape(job.reason)}"
        )

    def update(self) -> None:
        self.live.update(self._table())

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        done = _count_done(self.plan)
        table.add_row("[bold]sweep[/]", _bar(done / max(1, self.size)), f"{done} of {self.size} jobs")
        for job in filter(lambda job: job.is_running, self.plan.jobs):
            progress = job.progress
            share = progress["updates"] / max(1, progress["budget"]) if progress else 0.0
            training = progress and job.state == "training"
            detail = describe_progress(progress) if training else f"{job.state} {job.seconds:.0f} s"
            name = f"{escape(job.identity.model)} [dim]seed {job.identity.seed}[/]"
            table.add_row(name, _bar(share), detail)
        return table


def _bar(share: float, width: int = 24) -> str:
    full = round(min(1.0, share) * width)
    return f"[cyan]{'━' * full}[/][dim]{'━' * (width - full)}[/]"
