"""Running a sweep: what is not done is started, watched and accounted for."""

from __future__ import annotations

import json
import math
import os
import shlex
import signal
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from zoo.errors import STOPPED, ZooError, cut_off
from zoo.processes import PATIENCE, is_locked, stop_on_signals
from zoo.record import Provenance, Record
from zoo.sweep.display import Display, make_display
from zoo.sweep.launcher import LOG, Launcher, Local
from zoo.sweep.plan import Job, Plan, plan_sweep
from zoo.sweep.search import Search, objective

# What ends a process by a fault of its own, which it will have again.
CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE}


def run_sweep(
    name: str,
    extra: Sequence[str] = (),
    *,
    out: Path | None = None,
    parallel: int | None = None,
    dry_run: bool = False,
    retry_failed: bool = False,
    console: Console | None = None,
    launcher: Launcher | None = None,
) -> tuple[Path, list[Job]]:
    """Run what is not done of a sweep; returns its directory and its jobs.

    Several sweeps of one directory share its jobs: each starts those that nobody is at work on.

    Args:
        name: a sweep (see :func:`zoo.sweep.find_sweep`).
        extra: overrides for every job.
        out: where the runs go; ``runs/NAME`` by default.
        parallel: jobs at a time; the sweep's own ``jobs``, or 1.
        dry_run: only print the plan.
        retry_failed: run failed jobs again.
        launcher: starts the jobs; that of the jobs' ``launcher=`` by default.
    """
    console = console or Console()
    if parallel is not None and parallel < 1:
        raise ZooError(f"--jobs is how many run at a time, at least 1; got {parallel}.")
    found = plan_sweep(name, extra, out)
    for condition in found.unmet:
        console.print(
            f"note: no job meets the condition '{condition}' of 'when'.", style="yellow", markup=False
        )
    done = 0 if dry_run else sum(job.adopt(retry_failed) for job in found.jobs)
    if dry_run:
        _preview(found, retry_failed, console)
        return found.root, found.jobs
    trials = " (trials that have run are found as the search goes on)" if found.searches else ""
    console.print(_head(found, done) + trials)
    stop_on_signals()
    launcher = launcher or _launcher(found, parallel or found.parallel)
    work = _Work(found, parallel or launcher.parallel or found.parallel, launcher, console)
    if found.searches:
        _search(found, work, retry_failed, console)
    else:
        work.do([job for job in found.jobs if not job.ended])
    return found.root, found.jobs


def _launcher(found: Plan, jobs: int) -> Launcher:
    """What the jobs name as their launcher.

    Raises:
        ZooError: not one launcher for all, or one that only ``zoo train -m`` can use.
    """
    every = [job.overrides for job in found.jobs] + [search.point for search in found.searches]
    names = {dict(o.partition("=")[::2] for o in overrides).get("launcher", "local") for overrides in every}
    if names <= {"local"}:
        return Local(jobs=jobs)
    from zoo.sweep import slurm

    if len(names) == 1 and slurm.is_meant(every[0]):
        return slurm.Slurm(every[0])
    raise ZooError(
        "A sweep starts all its jobs itself or through Slurm, launcher=local or launcher=slurm; got "
        f"{', '.join(sorted(names))} (the other launchers are for zoo train -m)."
    )


def _head(found: Plan, done: int) -> str:
    return (
        f"Sweep [bold]{escape(found.name)}[/]: {found.size} jobs, {done} done, {found.size - done} left; "
        f"runs in {escape(_short(found.root))}"
    )


def _preview(found: Plan, retry_failed: bool, console: Console) -> None:
    """Print the plan: every job, of a search the trials that are known."""
    size, jobs = found.size, list(found.jobs)
    for search in found.searches:
        while not search.done:
            trials = search.ask(keep=False)
            batch = [found.job(search.overrides(trial)) for trial in trials]
            jobs += batch
            known = [job.adopt(retry_failed) for job in batch]
            if not all(known):
                break
            search.tell([(t, _value(j)) for t, j in zip(trials, batch, strict=True)])
    done = sum(job.adopt(retry_failed) for job in jobs)
    console.print(_head(found, done))
    for job in jobs:
        console.print(
            f"  {job.state:9} zoo train {shlex.join(job.overrides)}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    if size > len(jobs):
        console.print(f"  and {size - len(jobs)} trials that the search will propose")
    found.jobs, found.searches = jobs, []


def _search(found: Plan, work: _Work, retry_failed: bool, console: Console) -> None:
    """Propose, run and judge batch after batch until every search has had its trials."""
    active = list(found.searches)
    found.searches = []  # their trials become jobs as they are proposed
    while active:
        batches = [search.ask() for search in active]
        jobs = [[found.job(s.overrides(t)) for t in batch] for s, batch in zip(active, batches, strict=True)]
        fresh = {job.directory: job for batch in jobs for job in batch}
        known = {job.directory for job in found.jobs}
        found.jobs += [job for job in fresh.values() if job.directory not in known]
        work.do([job for job in fresh.values() if not job.adopt(retry_failed)])
        going: list[Search] = []
        for search, trials, batch in zip(active, batches, jobs, strict=True):
            states = [fresh[job.directory] for job in batch]
            if not all(job.ended for job in states):  # what comes next depends on how it ends
                console.print("A search waits for trials that were cut off; the same command goes on.")
                continue
            search.tell([(t, _value(job)) for t, job in zip(trials, states, strict=True)])
            if not search.done:
                going.append(search)
            elif search.best is not None:
                best = ", ".join(f"{k}={v}" for k, v in search.best[0].items())
                told = f"Best of {len(search.told)} trials: val/loss {search.best[1]:.6g} with {best}"
                console.print(told, markup=False)
        active = going


def _value(job: Job) -> float:
    """What a trial is worth; infinite where it diverged or failed."""
    if job.state != "finished":
        return math.inf
    value = objective(job.directory)
    if not math.isfinite(value):
        raise ZooError(
            f"A search needs a validation loss, and {job.identity.model} has none; search by a grid instead."
        )
    return value


class _Work:
    """Keeps jobs going; on an interrupt stops them all and keeps what they have."""

    def __init__(self, found: Plan, count: int, launcher: Launcher, console: Console) -> None:
        self.count, self.launcher, self.console = count, launcher, console
        # by what was asked for, not by what is left: a restart must not change the arithmetic
        self.threads = found.threads or max(1, (os.cpu_count() or 1) // count)
        self.display: Display = make_display(found, console)

    def do(self, left: list[Job]) -> None:
        """Run these jobs until each has ended or was cut off."""
        waiting, running = deque(left), list[Job]()
        if not left:
            return
        with self.display:
            try:
                while waiting or running:
                    self._fill(waiting, running)
                    time.sleep(self.launcher.pace)
                    for job in list(running):
                        _look(job)
                        assert job.worker is not None
                        code = job.worker.poll()
                        if code is not None:
                            running.remove(job)
                            job.worker = None
                            _close(job, code)
                            self.display.ended(job)
                    self.display.update()
            except BaseException:
                self._stop(running)
                raise

    def _fill(self, waiting: deque[Job], running: list[Job]) -> None:
        """Start jobs where there is room; those that another process is at work on wait."""
        for _ in range(len(waiting)):
            if len(running) >= self.count:
                return
            job = waiting.popleft()
            job.worker = self.launcher.attach(job.directory)
            if job.worker is not None:
                job.state, job.started = "starting", time.monotonic()
                running.append(job)
            elif is_locked(job.directory):
                job.state = "elsewhere"
                _look(job)
                waiting.append(job)
            elif job.adopt():  # another sweep has ended it
                self.display.ended(job)
            else:
                try:
                    if not _start(job, self.launcher, self.threads):
                        waiting.appendleft(job)  # its turn comes; nobody overtakes it
                        return
                    running.append(job)
                except OSError as error:
                    job.state, job.reason = "cut off", cut_off(error) or str(error)
                    self.display.ended(job)

    def _stop(self, running: list[Job]) -> None:
        if self.launcher.lasting:
            self.console.print(
                f"{len(running)} jobs go on without this sweep; the same command follows them."
            )
            return
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # impatience must not leave a job behind
        try:
            workers = [job.worker for job in running if job.worker is not None]
            for worker in workers:
                worker.interrupt()
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline and any(worker.poll() is None for worker in workers):
                time.sleep(0.1)
            for worker in workers:
                worker.kill()
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _start(job: Job, launcher: Launcher, threads: int) -> bool:
    """Start a job; whether the launcher has room for it now."""
    job.directory.mkdir(parents=True, exist_ok=True)
    (job.directory / "progress.json").unlink(missing_ok=True)
    job.worker = launcher.start(job.overrides, job.directory, threads)
    if job.worker is None:
        job.state = "waiting"
        return False
    job.state, job.started = "starting", time.monotonic()
    return True


def _look(job: Job) -> None:
    if job.started:
        job.seconds = time.monotonic() - job.started
    if job.worker is not None and job.worker.queued:
        job.state = "queued"
    try:
        job.progress = json.loads((job.directory / "progress.json").read_text())
        if job.worker is not None:
            job.state = "queued" if job.worker.queued else job.progress["phase"]
    except (OSError, ValueError, KeyError):
        pass


def _close(job: Job, code: int) -> None:
    """Account for a job whose process has ended."""
    if job.adopt():
        return
    last = _last_line(job.directory / LOG)
    if (code < 0 and -code not in CRASHES) or code in STOPPED:
        what = f"killed by {signal.Signals(-code).name}" if code < 0 else last or "stopped"
        job.state, job.reason = "cut off", f"{what.rstrip('.')}; the same command resumes it"
        return
    crash = f"The process crashed with {signal.Signals(-code).name}" if code < 0 else ""
    job.state, job.reason = "failed", ": ".join(filter(None, (crash, last))) or f"exit code {code}"
    if is_locked(job.directory):
        return  # another process is at work on it and will say how it ends
    identity = job.identity
    record = Record(  # it died before it could write its own
        identity.run_id, identity.model, "unknown", identity.data, identity.seed, "failed", job.reason,
        provenance=Provenance(
            config=identity.config,
            config_hash=identity.config_hash,
            config_hash_without_seed=identity.config_hash_without_seed,
        ),
    )  # fmt: skip
    try:
        record.write(job.directory)
    except OSError as error:
        job.state, job.reason = "cut off", cut_off(error) or str(error)


def _last_line(log: Path) -> str:
    try:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    return lines[-1].removeprefix("zoo: ") if lines else ""


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
