"""The configurations that stand for the sides of a claim, chosen from the runs of a study."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from typing import Any

from zoo.comparison.claims.measure import distance_of
from zoo.comparison.configurations import Group, differing, is_number
from zoo.comparison.quantities import PARAMETERS
from zoo.comparison.statistics import LEAST_SEEDS
from zoo.comparison.studies import Study
from zoo.record import SamplingOrder


def baseline(study: Study, model: str) -> Group:
    """Return the configuration that stands for a model; without runs if the study has none of it."""
    return study.baseline(model) or Group(model, [])


def autoregressive_flow(study: Study) -> Group:
    """Return the configuration that stands for the flows that sample one dimension after the other.

    It is that of the flow with most finished seeds, then of the one that most configurations vary, then of
    the first by name. It has no runs if no flow of the study declares this order of sampling.
    """
    return min(
        _flows(study, "sequential"), key=_standing(study), default=Group("", [], "an autoregressive flow")
    )


def parallel_flow(study: Study) -> Group:
    """Return the configuration that stands for the flows that sample all dimensions at once.

    It is that of the flow with most finished seeds, then of the one that most configurations vary, then of
    the smallest, then of the first by name. It has no runs if no flow of the study declares this order.
    """
    standing = _standing(study)

    def place(flow: Group) -> tuple[int, int, float, str]:
        return *standing(flow)[:2], min(flow.values(PARAMETERS), default=math.inf), flow.model

    return min(_flows(study, "parallel"), key=place, default=Group("", [], "a coupling flow"))


def parallel_flows(study: Study) -> list[Group]:
    """Return the baselines of the flows that sample all dimensions at once, :func:`parallel_flow` first."""
    first = parallel_flow(study)
    return sorted(_flows(study, "parallel"), key=lambda flow: (flow.model != first.model, flow.model))


def _flows(study: Study, order: SamplingOrder) -> list[Group]:
    """Return the baselines of the flows whose records declare an order of sampling."""
    declare = {run.record.model for run in study.runs if run.record.sampling.order == order}
    return [flow for flow in study.baselines("flow") if flow.model in declare]


def _standing(study: Study) -> Callable[[Group], tuple[int, int, str]]:
    """Return a key of flows that is least for the one with most finished seeds, variations, and by name."""

    def place(flow: Group) -> tuple[int, int, str]:
        seeds = {run.record.seed for run in flow.finished}
        variations = sum(len(differing(flow, other)) == 1 for other in study.of(flow.model))
        return -len(seeds), -variations, flow.model

    return place


def trick(
    study: Study, setting: str, absent: Callable[[Any], bool], names: tuple[str, str]
) -> tuple[Group, Group]:
    """Return the GAN with a trick and without it: two configurations that differ in that setting alone.

    Args:
        study: the runs.
        setting: the setting that holds the trick.
        absent: whether a value of it means that the trick is off.
        names: names of the two; both are without runs if the study has no such pair.
    """
    for pair in study.pair("gan", setting):
        without, with_it = sorted(pair, key=lambda group: not absent(group.settings.get(setting)))
        if absent(without.settings.get(setting)) and not absent(with_it.settings.get(setting)):
            return with_it.named(names[0]), without.named(names[1])
    return Group("gan", [], names[0]), Group("gan", [], names[1])


def has_momentum(betas: Any) -> bool:
    """Whether the betas of an optimiser, as a record has them, give it momentum."""
    return isinstance(betas, list) and bool(betas) and is_number(betas[0]) and betas[0] > 0


def at_best_rates(study: Study, a: Group, b: Group) -> tuple[Group, Group, str]:
    """Return both sides at the learning rate that is best for each, and a remark that says so.

    The sides must have been run at the same number of rates, two or more, with :data:`LEAST_SEEDS` seeds at
    each; otherwise they are returned as they are, with a remark on their rates.
    """
    grids = [
        {rate: group for rate, group in study.rates(side).items() if len(group.runs) >= LEAST_SEEDS}
        for side in (a, b)
    ]
    usual = [side.settings.get("training.lr") for side in (a, b)]
    if len(grids[0]) != len(grids[1]) or len(grids[0]) < 2:
        known = [f"{rate:g}" for rate in usual if is_number(rate)]
        rates = " and ".join(dict.fromkeys(known))
        return a, b, f" At one learning rate each ({rates}): effort of tuning is not matched." * bool(known)
    best = [best_rate(study, grid) for grid in grids]
    sides = [grid[rate].named(side.label) for grid, rate, side in zip(grids, best, (a, b), strict=True)]
    return (
        sides[0],
        sides[1],
        (f" Each at the best of its {len(grids[0])} learning rates ({best[0]:g} and {best[1]:g})."),
    )


def best_rate(study: Study, by_rate: Mapping[float, Group]) -> float:
    """Return the learning rate of least median distance, where a failed run counts as infinitely far."""
    measure = distance_of(study)

    def median(rate: float) -> float:
        group = by_rate[rate]
        values = [*measure.of(group), *[math.inf] * measure.failed(group)]
        return statistics.median(values) if values else math.inf

    return min(by_rate, key=lambda rate: (median(rate), rate))
