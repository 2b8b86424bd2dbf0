"""Run a sweep: start the jobs that are not done, follow them, and report the end of each."""

from __future__ import annotations

import math
import shlex
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from zoo.config.overrides import split
from zoo.errors import ZooError
from zoo.locks import is_locked
from zoo.processes import PATIENCE, stop_on_signals, usable_cores
from zoo.sweep.display import Display, make_display
from zoo.sweep.job import Job
from zoo.sweep.launcher import Batches, Launcher, Local
from zoo.sweep.plan import Plan, plan_sweep
from zoo.sweep.search import Search, objective


def run_sweep(
    name: str,
    extra: Sequence[str] = (),
    *,
    out: Path | None = None,
    parallel: int | None = None,
    dry_run: bool = False,
    submit: bool = False,
    retry_failed: bool = False,
    again: bool = False,
    console: Console | None = None,
    launcher: Launcher | None = None,
    check: Callable[[Plan, Sequence[Sequence[str]]], None] | None = None,
) -> tuple[Path, list[Job]]:
    """Run the jobs of a sweep that are not done; return its directory and its jobs.

    Several sweeps of one directory share its jobs: each starts those that no other process is at work on.

    Args:
        name: a sweep (see :func:`zoo.sweep.find_sweep`).
        extra: overrides for every job.
        out: the directory of the runs; ``runs/NAME`` by default.
        parallel: number of jobs at a time; by default the sweep's ``jobs``, or 1.
        dry_run: print the plan and stop.
        submit: put all jobs that are left into Slurm's queue and stop.
        retry_failed: run failed jobs again.
        again: make every run anew, without its earlier record and checkpoints.
        check: called before any job starts, with the plan and the overrides of the jobs that are left; raises
        a
            ZooError for a wrong setting. :func:`zoo.sweep.check.check_jobs` does so and imports torch. None:
            each job checks its own settings.
        launcher: what starts the jobs; by default the one that their ``launcher=`` names.

    Raises:
        ZooError: a mistake in the sweep or in the overrides.
    """
    console = console or Console()
    if parallel is not None and parallel < 1:
        raise ZooError(f"--jobs is how many run at a time, at least 1; got {parallel}.")
    plan = plan_sweep(name, extra, out)
    for sentence in plan.own_files():
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    for condition in plan.unmet:
        note = f"note: no job meets the condition '{condition}' of 'when'."
        console.print(note, style="yellow", markup=False)
    if check is not None:
        left = [job.overrides for job in plan.jobs if again or not job.adopt_record(retry_failed)]
        check(plan, [*left, *(trial for search in plan.searches for trial in search.extremes())])
    if dry_run:
        _preview(plan, retry_failed, again, console)
        return plan.root, plan.jobs
    if again:
        for job in plan.jobs:
            job.forget()
    done = sum(job.adopt_record(retry_failed) for job in plan.jobs)
    trials = " (trials that have run are found as the search goes on)" if plan.searches else ""
    console.print(_summary(plan, done) + trials)
    _say_done(plan.jobs, console)
    stop_on_signals()
    launcher = launcher or _make_launcher(plan, parallel or plan.parallel)
    if submit:
        _submit(plan, launcher, parallel, console)
        return plan.root, plan.jobs
    loop = _Loop(plan, parallel or launcher.parallel or plan.parallel, launcher, console)
    if plan.searches:
        _search(plan, loop, retry_failed, again, console)
    else:
        loop.run([job for job in plan.jobs if not job.ended])
    return plan.root, plan.jobs


def _make_launcher(plan: Plan, jobs: int) -> Launcher:
    """Return the launcher that the jobs name.

    Raises:
        ZooError: the jobs name several launchers, or one that only ``zoo train -m`` can use.
    """
    points = [job.overrides for job in plan.jobs] + [search.point for search in plan.searches]
    names = {dict(map(split, overrides)).get("launcher", "local") for overrides in points}
    if names <= {"local"}:
        return Local(jobs=jobs, forks=plan.size > 1)
    from zoo.sweep import slurm

    if len(names) == 1 and slurm.is_slurm(points[0]):
        return slurm.Slurm(points[0])
    raise ZooError(
        "A sweep starts all its jobs itself or through Slurm, launcher=local or launcher=slurm; got "
        f"{', '.join(sorted(names))} (the other launchers are for zoo train -m)."
    )


def _submit(plan: Plan, launcher: Launcher, parallel: int | None, console: Console) -> None:
    """Submit to a cluster's queue the jobs that are left, save those in the queue or at work elsewhere.

    Raises:
        ZooError: the launcher has no queue, the sweep searches, or the queue does not take the jobs.
    """
    if not isinstance(launcher, Batches):
        raise ZooError("--submit fills the queue of a cluster; it needs launcher=slurm.")
    if plan.searches:
        raise ZooError("A search proposes trials from the results of earlier ones; run it without --submit.")
    left = [job for job in plan.jobs if not job.ended]
    fresh = [job for job in left if launcher.attach(job.directory) is None and not is_locked(job.directory)]
    for job in fresh:
        job.prepare()
    jobs = [(job.overrides, job.directory) for job in fresh]
    while jobs and not launcher.submit(jobs, parallel or launcher.parallel or plan.parallel):
        time.sleep(launcher.pace)
    there = f" ({len(left) - len(fresh)} were there or are at work)" if len(left) > len(fresh) else ""
    console.print(
        f"Submitted {len(fresh)} jobs{there}. They need no sweep; the command without --submit follows them.",
        highlight=False,
        soft_wrap=True,
    )


def _summary(plan: Plan, done: int) -> str:
    return (
        f"Sweep [bold]{escape(plan.name)}[/]: {plan.size} jobs, {done} done, {plan.size - done} left; "
        f"runs in {escape(_relative(plan.root))}"
    )


def _relative(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _say_done(jobs: Sequence[Job], console: Console) -> None:
    """Print how many jobs are skipped because they are done, when the last ended, and how to repeat them."""
    skipped = [job for job in jobs if job.ended]
    if skipped:
        times = [job.finished_at[:16].replace("T", " at ") for job in skipped if job.finished_at]
        when = f" The last one ended on {max(times)} (UTC)." if times else ""
        which = "All jobs are" if len(skipped) == len(jobs) else f"{len(skipped)} of {len(jobs)} jobs are"
        console.print(
            f"{which} already done, nothing was trained for them.{when} --again makes every job anew.",
            highlight=False,
            soft_wrap=True,
        )


def _preview(plan: Plan, retry_failed: bool, again: bool, console: Console) -> None:
    """Print every job of the plan; for a search, the trials that can be known without running any."""
    size, jobs = plan.size, list(plan.jobs)
    for search in plan.searches:
        while not search.done:
            trials = search.ask(keep=False)
            batch = [plan.job(search.overrides(trial)) for trial in trials]
            jobs += batch
            known = [not again and job.adopt_record(retry_failed) for job in batch]
            if not all(known):
                break
            search.tell([(t, _trial_value(job)) for t, job in zip(trials, batch, strict=True)])
    console.print(_summary(plan, sum(not again and job.adopt_record(retry_failed) for job in jobs)))
    for job in jobs:
        line = f"  {job.state:9} zoo train {shlex.join(job.overrides)}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if size > len(jobs):
        console.print(f"  and {size - len(jobs)} trials that the search will propose")
    plan.jobs, plan.searches = jobs, []


def _search(plan: Plan, loop: _Loop, retry_failed: bool, again: bool, console: Console) -> None:
    """Propose, run and evaluate batches of trials until every search has had its trials."""
    active = list(plan.searches)
    plan.searches = []  # their trials become jobs as they are proposed
    while active:
        batches = [search.ask() for search in active]
        jobs = [[plan.job(s.overrides(t)) for t in batch] for s, batch in zip(active, batches, strict=True)]
        by_directory = {job.directory: job for batch in jobs for job in batch}
        known = {job.directory for job in plan.jobs}
        fresh = [job for job in by_directory.values() if job.directory not in known]
        plan.jobs += fresh
        if again:
            for job in fresh:
                job.forget()
        loop.run([job for job in by_directory.values() if not job.adopt_record(retry_failed)])
        unfinished: list[Search] = []
        for search, trials, batch in zip(active, batches, jobs, strict=True):
            batch = [by_directory[job.directory] for job in batch]
            if not all(job.ended for job in batch):  # the next batch depends on their results
                console.print("A search waits for trials that were cut off; the same command goes on.")
                continue
            search.tell([(t, _trial_value(job)) for t, job in zip(trials, batch, strict=True)])
            if not search.done:
                unfinished.append(search)
            elif search.best is not None:
                trial, value = search.best
                settings = ", ".join(f"{key}={v}" for key, v in trial.items())
                line = f"Best of {len(search.results)} trials: val/loss {value:.6g} with {settings}"
                console.print(line, markup=False)
        active = unfinished


def _trial_value(job: Job) -> float:
    """Return the objective of a trial; infinity if it diverged or failed.

    Raises:
        ZooError: the run finished but its training objective has no validation loss.
    """
    if job.state != "finished":
        return math.inf
    value = objective(job.directory)
    if not math.isfinite(value):
        raise ZooError(
            f"A search needs a validation loss, and {job.identity.model} has none; search by a grid instead."
        )
    return value


class _Loop:
    """Runs jobs, a number at a time. When interrupted it ends them all, each with a checkpoint."""

    def __init__(self, plan: Plan, count: int, launcher: Launcher, console: Console) -> None:
        self.count, self.launcher, self.console = count, launcher, console
        self.batches = isinstance(launcher, Batches)
        # by the configured number, not the number of jobs left: a restart must not change rounding
        self.threads = plan.threads or max(1, usable_cores() // count)
        self.display: Display = make_display(plan, console, count)

    def run(self, jobs: list[Job]) -> None:
        """Run these jobs until each has ended or was cut off."""
        waiting, running = deque(jobs), list[Job]()
        if not jobs:
            return
        with self.display:
            try:
                while waiting or running:
                    self._fill(waiting, running)
                    time.sleep(self.launcher.pace)
                    for job in list(running):
                        job.refresh()
                        assert job.worker is not None
                        code = job.worker.poll()
                        if code is not None:
                            running.remove(job)
                            job.end(code)
                            self.display.ended(job)
                    self.display.update()
            except BaseException:
                self._stop(running)
                raise

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
                self.display.ended(job)
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
                    self.display.ended(job)

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
                self.display.ended(job)
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
