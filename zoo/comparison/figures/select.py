"""Choose the runs that fit into a figure."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.comparison.collect import Run
from zoo.comparison.configurations import by_configuration
from zoo.comparison.studies import studies


def first_seeds(runs: Sequence[Run]) -> list[Run]:
    """Return one run of each configuration: seeds look alike in a picture."""
    return [group[0] for study in studies(runs) for group in by_configuration(study.runs).values()]


def at_most(runs: Sequence[Run], most: int) -> list[Run]:
    """Return all runs if they are few, else one seed of each configuration, else one run of each model."""
    if len(runs) <= most:
        return list(runs)
    firsts = first_seeds(runs)
    if len(firsts) <= most:
        return firsts
    return list({(run.data, run.record.model): run for run in reversed(firsts)}.values())[::-1]
