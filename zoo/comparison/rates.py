"""How much the distance between samples and data depends on the learning rate."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from zoo.comparison.configurations import Group
from zoo.comparison.quantities import Quantity
from zoo.comparison.studies import Study

LEAST_RATES = 3  # least number of learning rates for a spread


def common_rates(study: Study) -> list[float] | None:
    """Return the learning rates that are common to all models run at three or more; None if fewer than 3."""
    several = [set(rates) for group in study.groups if len(rates := study.rates(group)) >= LEAST_RATES]
    shared = sorted(set.intersection(*several)) if several else []
    return shared if len(shared) >= LEAST_RATES else None


def sensitivities(
    study: Study, groups: Sequence[Group | None], rates: Sequence[float] | None = None
) -> tuple[list[float], list[list[float]]] | None:
    """Return how much the distance between samples and data depends on the learning rate.

    Args:
        study: of the groups.
        groups: configurations of models.
        rates: the learning rates to use; None: all that the groups share.

    Returns:
        The rates, and for each group and seed the standard deviation, over the rates, of the logarithm of the
        distance; a run that did not finish counts as the largest distance of all. None where a group is
        missing, where fewer than three rates are shared, or where no distance is positive.
    """
    quality = study.quality
    if quality is None or any(group is None for group in groups):
        return None
    grids = [study.rates(group) for group in groups if group is not None]
    shared = set.intersection(*[set(grid) for grid in grids])
    rates = sorted(shared if rates is None else shared.intersection(rates))
    if len(rates) < LEAST_RATES:
        return None
    largest = max((v for g in grids for rate in rates for v in g[rate].values(quality)), default=0.0)
    if largest <= 0:
        return None
    return rates, [_spreads([grid[rate] for rate in rates], quality, largest) for grid in grids]


def _spreads(by_rate: Sequence[Group], quality: Quantity, largest: float) -> list[float]:
    """Return for each seed that was run at every rate the deviation of the logarithm of its distances."""
    runs = [{run.record.seed: run for run in reversed(group.runs)} for group in by_rate]
    spreads = []
    for seed in sorted(set.intersection(*map(set, runs))):
        values = [quality.of(of_rate[seed].record) for of_rate in runs]
        spreads.append(statistics.stdev(math.log(v if v and v > 0 else largest) for v in values))
    return spreads
