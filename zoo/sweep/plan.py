"""The plan of a sweep: its jobs, each with its identity and its directory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zoo.config.identities import Identities
from zoo.config.overrides import as_text, as_typed, split
from zoo.config.own import own_files
from zoo.sweep.async_search import AsyncSearch
from zoo.sweep.definition import expand, expected_seconds, find_sweep, read_sweep, unmet_conditions
from zoo.sweep.job import Job
from zoo.sweep.search import BaseSearch, Search


@dataclass
class Plan:
    """The jobs and searches of a sweep.

    Attributes:
        root: the directory of its runs.
        jobs: the jobs known so far; a search proposes more.
        searches: one for each point of the grid, if the sweep searches.
        parallel: the sweep's number of jobs at a time.
        threads: threads of each job's arithmetic; None: the machine's cores are shared out.
        unmet: conditions of ``when`` that no job meets.
        identities: computes the identities of the jobs.
    """

    name: str
    root: Path
    parallel: int
    threads: int | None = None
    jobs: list[Job] = field(default_factory=list)
    searches: Sequence[BaseSearch] = ()
    unmet: list[str] = field(default_factory=list)
    identities: Identities = field(default_factory=Identities, repr=False)

    @property
    def size(self) -> int:
        """Number of jobs, including the trials that are not proposed yet."""
        return len(self.jobs) + sum(search.unlisted for search in self.searches)

    @property
    def points(self) -> list[list[str]]:
        """The overrides of each job, and of each search those that its trials share."""
        return [list(job.overrides) for job in self.jobs] + [list(search.point) for search in self.searches]

    def own_files(self) -> list[str]:
        """Return a sentence for each file of the user's ``./conf`` that a job uses."""
        return own_files(*self.points)

    def job(self, overrides: Sequence[str]) -> Job:
        """Return the job with these overrides."""
        overrides = [*overrides, f"sweep={as_text(self.name)}"]
        identity = self.identities.of(overrides)
        return Job(overrides, identity, self.root / identity.run_id)


def plan_sweep(name: str, extra: Sequence[str], out: Path | None) -> Plan:
    """Return the plan of a sweep. A run that is named twice is one job.

    Args:
        name: a sweep (see :func:`zoo.sweep.definition.find_sweep`).
        extra: overrides for every job.
        out: the directory of the runs; ``runs/NAME`` by default.

    Raises:
        ZooError: there is no such sweep, or a mistake in it.
    """
    extra = [as_typed(override, several=True) for override in extra]
    file = find_sweep(name)
    sweep = read_sweep(file)
    root = (out or Path("runs") / file.stem).absolute()
    plan = Plan(file.stem, root, sweep.jobs, sweep.threads, unmet=unmet_conditions(sweep, extra))
    points = expand(sweep, extra)
    if sweep.search is None:
        jobs = [plan.job(point) for point in points]
        plan.jobs = list({job.identity.run_id: job for job in jobs}.values())
        for job in plan.jobs:
            job.expected = expected_seconds(sweep, job.overrides)
        return plan
    fixed = {split(override)[0] for override in extra}
    kind = Search if sweep.search.mode == "batches" else AsyncSearch
    plan.searches = [kind(sweep.search, point, root, fixed) for point in points]
    for overrides in (o for search in plan.searches for o in search.extremes()):
        plan.job(overrides)  # a mistake shows before anything runs
    return plan
