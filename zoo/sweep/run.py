"""Run a sweep: start the jobs that are not done, follow them, and report the end of each."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from zoo.config.overrides import split
from zoo.errors import ZooError
from zoo.locks import is_locked
from zoo.processes import stop_on_signals
from zoo.record.plan import write_plan
from zoo.sweep.async_search import AsyncSearch
from zoo.sweep.job import Job
from zoo.sweep.launcher import Batches, Launcher, Local
from zoo.sweep.loop import Loop
from zoo.sweep.mps import check_sharing, shared_gpus
from zoo.sweep.plan import Plan, plan_sweep
from zoo.sweep.search import Search
from zoo.sweep.searching import enter_ended, list_known, search_async, search_in_batches, trial_value


def run_sweep(
    name: str,
    extra: Sequence[str] = (),
    *,
    out: Path | None = None,
    parallel: int | None = None,
    dry_run: bool = False,
    submit: bool = False,
    mps: bool = False,
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
        dry_run: print the plan and stop; what a run would refuse is refused.
        submit: put all jobs that are left into Slurm's queue and stop.
        mps: let jobs that share a GPU run on it at the same time (:mod:`zoo.sweep.mps`).
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
    asynchronous = [search for search in plan.searches if isinstance(search, AsyncSearch)]
    for search in asynchronous:
        search.check()
    if dry_run:
        if mps or submit:
            chosen = launcher or _make_launcher(plan, parallel or plan.parallel)
            if mps:
                check_sharing(chosen, plan.points)
            if submit:
                _queue(plan, chosen)
        _preview(plan, retry_failed, again, console)
        return plan.root, plan.jobs
    if again:
        for job in plan.jobs:
            job.forget()
    if not again:
        for search in asynchronous:
            enter_ended(plan, search)
    done = sum(job.adopt_record(retry_failed) for job in plan.jobs)
    found_later = any(isinstance(search, Search) for search in plan.searches)
    trials = " (trials that have run are found as the search goes on)" if found_later else ""
    console.print(_summary(plan, done) + trials)
    _say_done(plan, console)
    stop_on_signals()
    launcher = launcher or _make_launcher(plan, parallel or plan.parallel)
    write_plan(plan.root, [job.identity.run_id for job in plan.jobs], plan.size)
    with ExitStack() as stack:
        if mps:
            sentence = stack.enter_context(shared_gpus(launcher, plan.points))
            console.print(sentence, markup=False, highlight=False, soft_wrap=True)
        if submit:
            _submit(plan, launcher, parallel, console)
            return plan.root, plan.jobs
        # an asynchronous search learns nothing if all its trials wait in a queue at once
        count = parallel or (None if asynchronous else launcher.parallel) or plan.parallel
        loop = Loop(plan, count, launcher, console)
        if asynchronous:
            search_async(plan, asynchronous, loop, retry_failed, again, console)
        elif plan.searches:
            search_in_batches(plan, loop, retry_failed, again, console)
        else:
            loop.run([job for job in plan.jobs if not job.ended])
    return plan.root, plan.jobs


def _make_launcher(plan: Plan, jobs: int) -> Launcher:
    """Return the launcher that the jobs name.

    Raises:
        ZooError: the jobs name several launchers, or one that only ``zoo train -m`` can use.
    """
    names = {dict(map(split, overrides)).get("launcher", "local") for overrides in plan.points}
    if names <= {"local"}:
        return Local(jobs=jobs, forks=plan.size > 1)
    from zoo.sweep import slurm

    if len(names) == 1 and slurm.is_slurm(plan.points[0]):
        return slurm.Slurm(plan.points[0])
    raise ZooError(
        "A sweep starts all its jobs itself or through Slurm, launcher=local or launcher=slurm; got "
        f"{', '.join(sorted(names))} (the other launchers are for zoo train -m)."
    )


def _submit(plan: Plan, launcher: Launcher, parallel: int | None, console: Console) -> None:
    """Submit to a cluster's queue the jobs that are left, save those in the queue or at work elsewhere.

    Raises:
        ZooError: the launcher has no queue, the sweep searches, or the queue does not take the jobs.
    """
    queue = _queue(plan, launcher)
    left = [job for job in plan.jobs if not job.ended]
    fresh = [job for job in left if queue.attach(job.directory) is None and not is_locked(job.directory)]
    for job in fresh:
        job.prepare()
    jobs = [(job.overrides, job.directory) for job in fresh]
    while jobs and not queue.submit(jobs, parallel or queue.parallel or plan.parallel):
        time.sleep(queue.pace)
    there = f" ({len(left) - len(fresh)} were there or are at work)" if len(left) > len(fresh) else ""
    console.print(
        f"Submitted {len(fresh)} job{'' if len(fresh) == 1 else 's'}{there}. No sweep need run for them; the "
        "command without --submit follows them.",
        highlight=False,
        soft_wrap=True,
    )


def _queue(plan: Plan, launcher: Launcher) -> Batches:
    """Return the launcher if all jobs of the plan can be submitted at once.

    Raises:
        ZooError: it has no queue, or the sweep searches.
    """
    if not isinstance(launcher, Batches):
        raise ZooError("--submit fills the queue of a cluster; it needs launcher=slurm.")
    if plan.searches:
        raise ZooError("A search proposes trials from the results of earlier ones; run it without --submit.")
    return launcher


def _summary(plan: Plan, done: int) -> str:
    jobs = f"{plan.size} job{'' if plan.size == 1 else 's'}"
    return (
        f"Sweep [bold]{escape(plan.name)}[/]: {jobs}, {done} done, {plan.size - done} left; "
        f"runs in {escape(_relative(plan.root))}"
    )


def _relative(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _say_done(plan: Plan, console: Console) -> None:
    """Print how many jobs are skipped because they are done, when the last ended, and how to repeat them."""
    skipped = [job for job in plan.jobs if job.ended]
    if skipped:
        times = [job.finished_at[:16].replace("T", " at ") for job in skipped if job.finished_at]
        when = f" The last one ended on {max(times)} (UTC)." if times else ""
        which = "All jobs are" if len(skipped) == plan.size else f"{len(skipped)} of {plan.size} jobs are"
        console.print(
            f"{which} already done, nothing was trained for them.{when} --again makes every job anew.",
            highlight=False,
            soft_wrap=True,
        )


def _preview(plan: Plan, retry_failed: bool, again: bool, console: Console) -> None:
    """Print every job of the plan; for a search, the trials that can be known without running any."""
    size, jobs = plan.size, list(plan.jobs)
    for search in plan.searches:
        if isinstance(search, AsyncSearch) and not again:
            jobs += list_known(plan, search, retry_failed)
        while isinstance(search, Search) and not search.done:
            trials = search.ask(keep=False)
            batch = [plan.job(search.overrides(trial)) for trial in trials]
            jobs += batch
            known = [not again and job.adopt_record(retry_failed) for job in batch]
            if not all(known):
                break
            search.tell([(t, trial_value(job)) for t, job in zip(trials, batch, strict=True)])
    console.print(_summary(plan, sum(not again and job.adopt_record(retry_failed) for job in jobs)))
    for job in jobs:
        own = [override for override in job.overrides if not override.startswith("search.")]
        line = f"  {job.state:9} zoo train {shlex.join(own)}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if size > len(jobs):
        console.print(f"  and {size - len(jobs)} trials that the search will propose")
    plan.jobs, plan.searches = jobs, []
