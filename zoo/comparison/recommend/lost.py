"""How many runs of a configuration were lost, with the exact interval of their share."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group
from zoo.comparison.guards import why_collapsed
from zoo.comparison.statistics import share_interval
from zoo.comparison.studies import Study

WAYS = ("diverged", "failed", "collapsed")


@dataclass(frozen=True)
class Lost:
    """The runs of a configuration that came to nothing.

    Attributes:
        diverged: runs whose training diverged.
        failed: runs that ended with an error, or whose samples could not be judged.
        collapsed: finished runs that :func:`~zoo.comparison.guards.why_collapsed` has a reason for.
        runs: all runs of the configuration.
        low, high: exact 95 % interval of the share of lost runs.
    """

    diverged: int
    failed: int
    collapsed: int
    runs: int
    low: float
    high: float

    @property
    def total(self) -> int:
        """The number of lost runs."""
        return self.diverged + self.failed + self.collapsed

    @property
    def share(self) -> float:
        """The share of lost runs."""
        return self.total / self.runs

    @property
    def how(self) -> str:
        """How they were lost, such as ``2 diverged, 1 collapsed``; empty if none was."""
        counts = {name: getattr(self, name) for name in WAYS}
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count)

    @property
    def text(self) -> str:
        """The share in words, with its interval."""
        how = f" ({self.how})" if self.total else ""
        runs = f"{self.runs} run{'s' * (self.runs != 1)}"
        ends = f"{100 * self.low:.0f} to {100 * self.high:.0f} %"
        return f"lost {self.total} of {runs}{how}, 95 % interval {ends}"


def lost_of(study: Study, group: Group) -> Lost:
    """Return how many runs of a configuration of a study were lost."""
    key = ("lost", tuple(run.record.run_id for run in group.runs))
    if key not in study.memo:
        ends = [end_of(study, run) for run in group.runs]
        low, high = share_interval(sum(end != "sound" for end in ends), len(ends))
        diverged, failed, collapsed = (ends.count(name) for name in WAYS)
        study.memo[key] = Lost(diverged, failed, collapsed, len(ends), low, high)
    known: Lost = study.memo[key]
    return known


def end_of(study: Study, run: Run) -> str:
    """Return how a run ended: ``diverged``, ``failed``, ``collapsed`` or ``sound``."""
    if run.record.status != "finished":
        return "diverged" if run.record.status == "diverged" else "failed"
    judged = run.record.metrics.get(study.quality.name) if study.quality is not None else None
    if judged is not None and judged.value is None:
        return "failed"
    return "collapsed" if why_collapsed(study, run) else "sound"
