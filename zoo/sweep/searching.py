"""Run the searches of a sweep: in batches, or with a trial whenever a place is free."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from zoo.errors import ZooError
from zoo.sweep.async_search import STATUS, AsyncSearch
from zoo.sweep.job import REFUSED_STATE, Job
from zoo.sweep.loop import Loop
from zoo.sweep.plan import Plan
from zoo.sweep.search import Search, describe_best, objective


def search_in_batches(plan: Plan, loop: Loop, retry_failed: bool, again: bool, console: Console) -> None:
    """Propose, run and evaluate batches of trials until every search has had its trials."""
    active = [search for search in plan.searches if isinstance(search, Search)]
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
            search.tell([(t, trial_value(job)) for t, job in zip(trials, batch, strict=True)])
            if not search.done:
                unfinished.append(search)
            elif search.best is not None:
                console.print(describe_best(*search.best, len(search.results)), markup=False)
        active = unfinished


def search_async(
    plan: Plan,
    searches: Sequence[AsyncSearch],
    loop: Loop,
    retry_failed: bool,
    again: bool,
    console: Console,
) -> None:
    """Propose a trial whenever a place is free, until every search has had its trials.

    Args:
        plan: the sweep; its jobs become those of all trials.
        searches: its searches.
        loop: runs the jobs.
        retry_failed: make trials that have failed again.
        again: begin every search anew, and every run.
        console: where to print the best trials.
    """

    def retry(status: str) -> bool:
        return status == REFUSED_STATE or (status == "failed" and retry_failed)

    with ExitStack() as stack:
        for search in searches:
            stack.enter_context(search.taking_part(retry, again))
        loop.run(source=Trials(plan, searches, retry, retry_failed, again))
        for search in searches:
            if search.is_open() or any(not trial.state.is_finished() for trial in search.results().values()):
                console.print("A search waits for trials that were cut off; the same command goes on.")
            elif (sentence := search.summary()) is not None:
                console.print(sentence, markup=False)


class Trials:
    """The source of a loop's jobs: the trials of searches in turn.

    Args:
        plan: the sweep, see :func:`enter_ended`.
        searches: its searches.
        retry: whether a trial with this status is made again.
        retry_failed: ignore the records of failed runs.
        again: ignore every record.
    """

    def __init__(
        self,
        plan: Plan,
        searches: Sequence[AsyncSearch],
        retry: Callable[[str], bool],
        retry_failed: bool,
        again: bool,
    ) -> None:
        self.plan, self.searches = plan, list(searches)
        self.retry, self.retry_failed, self.again = retry, retry_failed, again
        self.jobs: dict[Path, Job] = {job.directory: job for job in plan.jobs}
        self.numbers: dict[Path, list[tuple[AsyncSearch, int]]] = {}

    def next(self) -> Job | None:
        """Return the job of a trial that is to be run; None while there is none.

        A trial whose run has ended before, or is at work as that of another trial, needs no job of its own.
        """
        for _ in range(len(self.searches)):
            search = self.searches.pop(0)
            self.searches.append(search)
            while (found := search.next()) is not None:
                number, trial = found
                job = self.plan.job(search.trial_overrides(number, trial))
                known = self.jobs.get(job.directory)
                self.numbers.setdefault(job.directory, []).append((search, number))
                if known is not None and not self.retry(known.state):
                    search.unlisted = max(0, search.unlisted - 1)
                    if known.ended:
                        self.ended(known)
                    continue
                self._enter(job, search, known)
                if self.again:
                    job.forget()
                if not job.adopt_record(self.retry_failed):
                    return job
                self.ended(job)
        return None

    def _enter(self, job: Job, search: AsyncSearch, former: Job | None) -> None:
        """Add a job to the plan, in place of one that is made again."""
        self.jobs[job.directory] = job
        if former is not None:
            self.plan.jobs.remove(former)
        else:
            search.unlisted = max(0, search.unlisted - 1)
        self.plan.jobs.append(job)

    def ended(self, job: Job) -> None:
        """Tell the searches how a job has ended, once for each of its trials.

        Raises:
            ZooError: the run finished but its training objective has no validation loss.
        """
        value = trial_value(job)
        for search, number in self.numbers.pop(job.directory, ()):
            search.tell(number, job.state, value if math.isfinite(value) else None)

    def is_open(self) -> bool:
        """Return whether a search may have more trials, or waits for those of another sweep."""
        return any(search.is_open() for search in self.searches)


def enter_ended(plan: Plan, search: AsyncSearch) -> None:
    """Add the runs of the trials that have ended to the jobs of the plan."""
    known = [job for job in list_known(plan, search, False) if job.ended]
    search.unlisted = max(0, search.settings.trials - len(known))
    plan.jobs += known


def list_known(plan: Plan, search: AsyncSearch, retry_failed: bool) -> list[Job]:
    """Return the jobs of the trials in a search's journal, each once, in the states of their records.

    Args:
        plan: the sweep.
        search: one of its searches.
        retry_failed: a failed run is then not done.
    """
    jobs: dict[Path, Job] = {}
    for trial in search.known():
        job = plan.job(search.trial_overrides(trial.number, search.settings_of(trial)))
        jobs[job.directory] = job
        if not job.adopt_record(retry_failed) and trial.state.is_finished():
            status = trial.user_attrs[STATUS]  # of a record that is gone, or that there never was
            job.state = "waiting" if status == "failed" and retry_failed else status
    return list(jobs.values())


def trial_value(job: Job) -> float:
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
