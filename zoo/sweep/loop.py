"""Run jobs, a number at a time: start those that wait, follow those that run."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from rich.console import Console

from zoo.locks import is_locked
from zoo.processes import PATIENCE, usable_cores
from zoo.sweep.display import Display, make_display
from zoo.sweep.job import Job
from zoo.sweep.launcher import Batches, Launcher
from zoo.sweep.plan import Plan


class Source(Protocol):
    """Gives jobs one at a time, whenever a place is free."""

    def next(self) -> Job | None:
        """Return a job; None while there is none."""

    def ended(self, job: Job) -> None:
        """Take in how a job has ended."""

    def is_open(self) -> bool:
        """Return whether there may be more jobs."""


class Loop:
    """Runs jobs, a number at a time. When interrupted it ends them all, each with a checkpoint.

    Args:
        plan: the sweep.
        count: number of jobs that run at a time.
        launcher: what starts them.
        console: where to show them.
    """

    def __init__(self, plan: Plan, count: int, launcher: Launcher, console: Console) -> None:
        self.count, self.launcher, self.console = count, launcher, console
        self.batches = isinstance(launcher, Batches)
        # by the configured number, not the number of jobs left: a restart must not change rounding
        self.threads = plan.threads or max(1, usable_cores() // count)
        self.display: Display = make_display(plan, console, count)

    def run(self, jobs: Sequence[Job] = (), source: Source | None = None) -> None:
        """Run jobs until each has ended or was cut off.

        Args:
            jobs: known from the start.
            source: gives more of them. A job whose process was killed is then resumed at once, until it
                counts as failed.
        """
        waiting, running = deque(jobs), list[Job]()
        if not jobs and source is None:
            return
        self.source = source
        with self.display:
            try:
                while waiting or running or (source is not None and source.is_open()):
                    while source is not None and len(waiting) + len(running) < self.count:
                        if (job := source.next()) is None:
                            break
                        waiting.append(job)
                    self._fill(waiting, running)
                    time.sleep(self.launcher.pace)
                    for job in list(running):
                        job.refresh()
                        assert job.worker is not None
                        code = job.worker.poll()
                        if code is not None:
                            running.remove(job)
                            job.end(code)
                            self._ended(job)
                            if source is not None and job.state == "cut off" and code < 0:
                                job.state = "waiting"
                                waiting.appendleft(job)
                    self.display.update()
            except BaseException:
                self._stop(running)
                raise

    def _ended(self, job: Job) -> None:
        """Show that a job has ended, and tell its source."""
        self.display.ended(job)
        if self.source is not None and job.ended:
            self.source.ended(job)

    def _fill(self, waiting: deque[Job], running: list[Job]) -> None:
        """Start waiting jobs while fewer than ``count`` run.

        A job that another process is at work on goes to the end of the queue. A launcher that submits many
        jobs at once gets them together, see :meth:`_submit`.
        """
        batch: list[Job] = []
        for _ in range(len(waiting)):
            if len(running) + len(batch) >= self.count:
                break
            job = waiting.popleft()
            if job.follow(self.launcher.attach(job.directory)):
                running.append(job)
            elif is_locked(job.directory):
                job.state = "elsewhere"
                job.refresh()
                waiting.append(job)
            elif job.adopt_record():  # another sweep has ended it
                self._ended(job)
            elif self.batches:
                batch.append(job)
            else:
                try:
                    if not job.start(self.launcher, self.threads):
                        job.state = "waiting"
                        waiting.appendleft(job)  # keep the order of the queue
                        return
                    running.append(job)
                except OSError as error:
                    job.cut_off(error)
                    self._ended(job)

        if batch:
            self._submit(batch, waiting, running)

    def _submit(self, batch: list[Job], waiting: deque[Job], running: list[Job]) -> None:
        """Submit jobs together and follow them.

        Jobs go back to the queue until they fill a quarter of the places or are the last, and while the
        cluster does not answer.
        """
        assert isinstance(self.launcher, Batches)
        try:
            submitted = len(batch) >= min(len(batch) + len(waiting), max(1, self.count // 4))
            if submitted:
                for job in batch:
                    job.prepare()
                submitted = self.launcher.submit(
                    [(job.overrides, job.directory) for job in batch], self.count
                )
        except OSError as error:
            for job in batch:
                job.cut_off(error)
                self._ended(job)
            return
        for job in reversed(batch):
            if submitted and job.follow(self.launcher.attach(job.directory)):
                running.append(job)
            else:
                job.state = "waiting"
                waiting.appendleft(job)  # keep the order of the queue

    def _stop(self, running: list[Job]) -> None:
        """End the running jobs, unless they outlive the sweep."""
        if self.launcher.lasting:
            self.console.print(
                f"{len(running)} jobs go on without this sweep; the same command follows them."
            )
            return
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave jobs behind
        try:
            workers = [job.worker for job in running if job.worker is not None]
            for worker in workers:
                worker.interrupt()
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline and any(worker.poll() is None for worker in workers):
                time.sleep(0.1)
            for job in running:
                if job.worker is not None:
                    job.worker.kill()
                job.interrupted()
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
