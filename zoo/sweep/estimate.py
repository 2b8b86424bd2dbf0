"""The time left of a sweep, from what its file expects, the jobs that have ended and those that run."""

from __future__ import annotations

import heapq

from zoo.sweep.job import Job
from zoo.sweep.plan import Plan

PRIOR = 10.0  # seconds of work after which the pace seen counts as much as the pace that the file expects


def seconds_left(plan: Plan, workers: int) -> float | None:
    """Return the seconds until the last job of a plan ends; None while nothing is known.

    A job takes as long as the sweep's file expects, times how much slower this machine has been so far: by
    the jobs that have ended, and by those whose training alone takes longer than expected. A job's own pace
    counts little in its first seconds, since first updates are slow. If the file does not say it of every
    job, all jobs count alike. The jobs that wait start in their order, each when one of the ``workers`` is
    free.
    """
    expected = all(job.expected for job in plan.jobs) and not plan.searches
    spent = work = PRIOR if expected else 0.0
    running = [job for job in plan.jobs if job.is_running]
    for job in plan.jobs:
        size = _size(job, expected)
        if job.started and not job.is_running:
            spent, work = spent + job.seconds, work + size
        elif job.is_running:
            total = _by_training(job, expected)
            if total is not None and (total > size or not expected):
                spent, work = spent + total, work + size
    if not work:
        return None
    pace = spent / work
    free = [
        max(_size(job, expected) * pace, _by_training(job, expected) or 0.0, job.seconds + 1.0) - job.seconds
        for job in running
    ]
    free += [0.0] * (workers - len(free))
    heapq.heapify(free)
    waiting = [_size(job, expected) for job in plan.jobs if job.state == "waiting"]
    for size in waiting + [1.0] * (plan.size - len(plan.jobs)):
        heapq.heapreplace(free, free[0] + size * pace)
    return max(free)


def _by_training(job: Job, expected: bool) -> float | None:
    """Return how many seconds after its start a running job will end its training, as its pace tells.

    The pace is taken over the seconds that it has run and :data:`PRIOR` more seconds at the pace that the
    file expects. None: training has not begun.
    """
    if job.training_left is None:
        return None
    total = job.seconds + job.training_left
    if not expected or total <= 0:
        return total
    done = job.seconds / total
    pace = (job.seconds + PRIOR) / (done + PRIOR / _size(job, expected))  # seconds of the whole job
    return job.seconds + (1 - done) * pace


def _size(job: Job, expected: bool) -> float:
    """Return the work of a job: the seconds that the file expects, or 1 where it does not."""
    return job.expected or 1.0 if expected else 1.0
