"""Slurm's queue as its command squeue prints it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence

MANY = 50  # with more jobs than this in the queue, squeue is called every RARELY seconds
RARELY = 30.0
# States of a job that has ended for good. In every other state that squeue prints, a job waits or runs.
OVER = {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"}
OVER |= {"BOOT_FAIL", "DEADLINE", "REVOKED"}


class Queue:
    """This user's jobs in Slurm's queue, which one call of squeue lists.

    Args:
        every: seconds between two calls; :data:`RARELY` if that is more and the queue holds many jobs.

    Attributes:
        states: state of each job by its number, ``ARRAY_TASK`` for a task of an array. Slurm forgets a job
            some minutes after its end.
        ids: number of each waiting or running job by its name; None while Slurm does not answer.
        arrays: for each array, by its name, the number of each waiting or running task, by its index.
        answers: number of calls that squeue has answered.
        last_answer: time of the last answer, on the monotonic clock; before the first, when this was created.
        last_query: time of the last call, on the same clock.
        pause: seconds between the last call and the next.
    """

    def __init__(self, every: float) -> None:
        self.every, self.pause, self.last_query, self.answers = every, every, -1e9, 0
        self.last_answer = time.monotonic()
        self.states: dict[str, str] = {}
        self.ids: dict[str, str] | None = None
        self.arrays: dict[str, dict[str, str]] = {}

    def refresh_if_old(self) -> bool:
        """Call squeue if the last call is ``pause`` seconds old; return whether the queue is known."""
        if time.monotonic() - self.last_query > self.pause:
            self.refresh()
        return self.ids is not None

    def refresh(self) -> None:
        """Call squeue now and take in its answer."""
        command = ["squeue", "--me", "--array", "--noheader", "--states=all", "--format=%i|%T|%j"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        self.last_query = time.monotonic()
        if answer.returncode:
            self.back_off()
            return
        rows = [line.split("|", 2) for line in answer.stdout.splitlines()]
        self.states = {number: state for number, state, _ in rows}
        self.ids, self.arrays = {}, {}
        for number, state, name in rows:
            if state not in OVER:
                self._enter(name, number)
        self.answers += 1
        many = len(self.ids) + sum(map(len, self.arrays.values())) > MANY
        self.pause, self.last_answer = max(self.every, RARELY if many else 0.0), self.last_query

    def add_array(self, name: str, numbers: Sequence[str]) -> None:
        """Add an array that was submitted after the last answer."""
        for number in numbers:
            self._enter(name, number)
            self.states[number] = "PENDING"

    def _enter(self, name: str, number: str) -> None:
        """Add a waiting or running job, or task of an array, to ``ids`` or ``arrays``."""
        assert self.ids is not None
        _, is_task, task = number.partition("_")
        if is_task:
            self.arrays.setdefault(name, {})[task] = number
        else:
            self.ids[name] = number

    def back_off(self) -> None:
        """Forget the queue and double the pause, up to a minute, after a call that Slurm has not answered."""
        self.ids, self.pause = None, min(2 * self.pause, 60.0)


def last_line(text: str) -> str:
    """Return the last line of what a command of Slurm has printed, as the reason that it gives."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it does not say why."
