"""How far a sweep is: on a terminal a table that redraws itself, elsewhere a line now and then."""

from __future__ import annotations

import time
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from zoo.sweep.plan import Job, Plan


class Display(Protocol):
    """Shows a sweep's jobs while they run."""

    def __enter__(self) -> Display: ...
    def __exit__(self, *error: object) -> None: ...
    def ended(self, job: Job) -> None: ...
    def update(self) -> None: ...


def make_display(plan: Plan, console: Console) -> Display:
    """What suits the console."""
    return _Screen(plan, console) if console.is_terminal else _Lines(plan, console)


def describe(progress: dict[str, Any]) -> str:
    """A run's progress in one line."""
    parts = [f"update {progress['updates']:,}/{progress['budget']:,}", f"epoch {progress['epoch']:g}"]
    if progress.get("loss") is not None:
        parts.append(f"loss {progress['loss']:.3f}")
    if progress.get("seconds_left") is not None:
        parts.append(f"{progress['seconds_left']:.0f} s left")
    return " · ".join(parts)


def _done(plan: Plan) -> int:
    return sum(job.ended or job.state == "cut off" for job in plan.jobs)


class _Lines:
    """A line when something ends, and for each job now and then."""

    def __init__(self, plan: Plan, console: Console, every: float = 8.0) -> None:
        self.plan, self.console, self.every, self.told = plan, console, every, time.monotonic()
        self.size = plan.size

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def ended(self, job: Job) -> None:
        tail = f": {job.reason}" if job.reason else ""
        done = f"[{_done(self.plan)}/{self.size}]"
        self._line(f"{done} {job.identity.run_id} {job.state} in {job.seconds:.0f} s{tail}")

    def update(self) -> None:
        if time.monotonic() - self.told < self.every:
            return
        self.told = time.monotonic()
        for job in self.plan.jobs:
            if job.worker is not None or job.state == "elsewhere":
                detail = describe(job.progress) if job.progress else ""
                self._line(f"  {job.identity.run_id}: {job.state} {detail}")

    def _line(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


class _Screen:
    """A bar for the sweep and one for each job at work."""

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
        done = _done(self.plan)
        table.add_row("[bold]sweep[/]", _bar(done / max(1, self.size)), f"{done} of {self.size} jobs")
        for job in self.plan.jobs:
            if job.worker is not None or job.state == "elsewhere":
                p = job.progress
                share = p["updates"] / max(1, p["budget"]) if p else 0.0
                detail = describe(p) if p and job.state == "training" else f"{job.state} {job.seconds:.0f} s"
                table.add_row(
                    f"{escape(job.identity.model)} [dim]seed {job.identity.seed}[/]", _bar(share), detail
                )
        return table


def _bar(share: float, width: int = 24) -> str:
    full = round(min(1.0, share) * width)
    return f"[cyan]{'━' * full}[/][dim]{'━' * (width - full)}[/]"
