"""The configurations that stand for the sides of a claim, chosen from the runs of a study."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from zoo.comparison import statistics as tests
from zoo.comparison.claims.measure import distance_of, validated_distance
from zoo.comparison.configurations import Group, differing, is_number
from zoo.comparison.quantities import PARAMETERS
from zoo.comparison.statistics import LEAST_SEEDS
from zoo.comparison.studies import Study
from zoo.record import SamplingOrder

Condition = Callable[[Mapping[str, Any]], bool]  # on the settings of a configuration


def baseline(study: Study, model: str) -> Group:
    """Return the configuration that stands for a named model; without runs if the study has none of it.

    For sentences about that model alone. A sentence about a family takes :func:`representative`, so that a
    user's model of the family can decide it.
    """
    return study.baseline(model) or Group(model, [])


def of_family(
    study: Study, family: str, where: Condition | None = None, order: SamplingOrder | None = None
) -> list[Group]:
    """Return the baselines of a family's models, the one that stands for the family first.

    They are ordered by most finished seeds, then by most configurations that differ from the baseline in one
    setting alone, then by name.

    Args:
        study: the runs.
        family: as the records declare it.
        where: a condition on the settings of the baseline.
        order: the order of sampling that the records have to declare.
    """
    groups = study.baselines(family)
    if where is not None:
        groups = [group for group in groups if where(group.settings)]
    if order is not None:
        declare = {run.record.model for run in study.runs if run.record.sampling.order == order}
        groups = [group for group in groups if group.model in declare]

    def place(group: Group) -> tuple[int, int, str]:
        return *study.standing(group), group.model

    return sorted(groups, key=place)


def representative(study: Study, family: str, where: Condition | None = None, *, called: str) -> Group:
    """Return the configuration that stands for a family, the first of :func:`of_family`.

    Without such a model the group has no runs and the label ``called``.
    """
    return next(iter(of_family(study, family, where)), Group("", [], called))


def autoregressive_flow(study: Study) -> Group:
    """Return the configuration that stands for the flows that sample one dimension after the other.

    It is the first of :func:`of_family`, and has no runs if no flow of the study declares this order.
    """
    flows = of_family(study, "flow", order="sequential")
    return next(iter(flows), Group("", [], "an autoregressive flow"))


def residual_flow(study: Study) -> Group:
    """Return the configuration that stands for the discrete flows that invert their layers by iteration.

    Their records declare sampling by a solver. It is the first of :func:`of_family`, and has no runs if the
    study has no such flow.
    """
    flows = of_family(study, "flow", order="solver")
    return next(iter(flows), Group("", [], "a residual flow"))


def parallel_flow(study: Study) -> Group:
    """Return the configuration that stands for the flows that sample all dimensions at once.

    It is that of the flow with most finished seeds, then of the one that most configurations vary, then of
    the smallest, then of the first by name. It has no runs if no flow of the study declares this order.
    """

    def place(flow: Group) -> tuple[int, int, float, str]:
        return *study.standing(flow), min(flow.values(PARAMETERS), default=math.inf), flow.model

    flows = of_family(study, "flow", order="parallel")
    return min(flows, key=place, default=Group("", [], "a coupling flow"))


def parallel_flows(study: Study) -> list[Group]:
    """Return the baselines of the flows that sample all dimensions at once, :func:`parallel_flow` first."""
    first = parallel_flow(study)
    flows = of_family(study, "flow", order="parallel")
    return sorted(flows, key=lambda flow: (flow.model != first.model, flow.model))


def continuous_flow(study: Study) -> Group:
    """Return the configuration that stands for the continuous flows that are trained by their likelihood."""
    flows = (flow for flow in of_family(study, "continuous flow") if not is_matched(flow))
    return next(flows, Group("", [], "a continuous flow"))


def trick(
    study: Study, family: str, setting: str, absent: Callable[[Any], bool], names: tuple[str, str]
) -> tuple[Group, Group]:
    """Return a model with a trick and without it: two configurations that differ in that setting alone.

    They are taken at one number of updates (:func:`at_equal_updates`).

    Args:
        study: the runs.
        family: of the model, which is the first of :func:`of_family` that has such a pair.
        setting: the setting that holds the trick.
        absent: whether a value of it means that the trick is off.
        names: names of the two; both are without runs if the study has no such pair.
    """
    for pair in (pair for group in of_family(study, family) for pair in study.pair(group.model, setting)):
        without, with_it = sorted(pair, key=lambda group: not absent(group.settings.get(setting)))
        if absent(without.settings.get(setting)) and not absent(with_it.settings.get(setting)):
            return at_equal_updates(study, with_it.named(names[0]), without.named(names[1]))
    return Group("", [], names[0]), Group("", [], names[1])


def has_momentum(betas: Any) -> bool:
    """Whether the betas of an optimiser, as a record has them, give it momentum."""
    return isinstance(betas, list) and bool(betas) and is_number(betas[0]) and betas[0] > 0


def is_matched(group: Group) -> bool:
    """Whether a model is trained by a matching loss (flow or score matching) instead of its likelihood.

    Records made before they declared the objective of training say so by the name of zoo's class alone.
    """
    declared = {run.record.provenance.objective for run in group.runs} - {None}
    if declared:
        return declared == {"matching"}
    return str(group.settings.get("training._target_")).endswith(".Matching")


def is_wasserstein(settings: Mapping[str, Any]) -> bool:
    """Whether a GAN's configuration has the Wasserstein loss."""
    return settings.get("training.loss") == "wasserstein"


def is_clipped_wgan(settings: Mapping[str, Any]) -> bool:
    """Whether a GAN is a WGAN whose critic's weights are clipped."""
    return is_wasserstein(settings) and bool(settings.get("training.weight_clip"))


def is_penalised_wgan(settings: Mapping[str, Any]) -> bool:
    """Whether a GAN is a WGAN with a gradient penalty in place of clipped weights."""
    penalised = bool(settings.get("training.gradient_penalty")) and not settings.get("training.weight_clip")
    return is_wasserstein(settings) and penalised


@dataclass(frozen=True)
class Sides:
    """The two configurations that a claim compares, in every measurement that it reports.

    Attributes:
        a, b: the configurations.
        remark: a sentence on their learning rates, after a space; empty if the rates are unknown.
        tied: other pairs of the same two, at learning rates that are not significantly different from the
            chosen ones, see :func:`tied_rates`.
    """

    a: Group
    b: Group
    remark: str = ""
    tied: tuple[tuple[Group, Group], ...] = ()


def at_best_rates(study: Study, a: Group, b: Group) -> Sides:
    """Return both sides at the learning rate that is best for each, with a remark on these rates.

    The sides are taken at one number of updates (:func:`at_equal_updates`). They must have been run at the
    same number of rates, two or more, with :data:`LEAST_SEEDS` seeds at each; otherwise they are returned as
    they are, with a remark on their rates.
    """
    if not a.runs or not b.runs:
        return Sides(a, b)
    a, b = at_equal_updates(study, a, b)
    grids = [_rate_grid(study, side) for side in (a, b)]
    usual = [side.settings.get("training.lr") for side in (a, b)]
    if len(grids[0]) != len(grids[1]) or len(grids[0]) < 2:
        known = [f"{rate:g}" for rate in usual if is_number(rate)]
        rates = " and ".join(dict.fromkeys(known))
        remark = f" At one learning rate each ({rates}): effort of tuning is not matched."
        return Sides(a, b, remark * bool(known))
    best, how = best_rates(study, grids)
    sides = [grid[rate].named(side.label) for grid, rate, side in zip(grids, best, (a, b), strict=True)]
    chosen = " and ".join(_rate_text(rate, grid) for rate, grid in zip(best, grids, strict=True))
    remark = f" Each at the best of its {len(grids[0])} learning rates, {how}: {chosen}."
    alike = tied_rates(study, grids, best)
    also = [
        f"{', '.join(f'{rate:g}' for rate in rates)} ({side.label})"
        for rates, side in zip(alike, (a, b), strict=True)
        if rates
    ]
    if also:
        remark += f" Not told apart from the chosen rates: {' and '.join(also)}."
    others = product(*([rate, *rates] for rate, rates in zip(best, alike, strict=True)))
    tied = [(grids[0][one].named(a.label), grids[1][other].named(b.label)) for one, other in others]
    return Sides(sides[0], sides[1], remark, tuple(tied[1:]))


def edge_text(rate: float, grid: Collection[float]) -> str:
    """Return in words whether a learning rate is the least or the largest tried; empty if neither.

    >>> edge_text(0.001, [0.001, 0.002])
    'the least tried'
    """
    if len(grid) < 2 or min(grid) < rate < max(grid):
        return ""
    return "the least tried" if rate == min(grid) else "the largest tried"


def _rate_text(rate: float, grid: Collection[float]) -> str:
    edge = edge_text(rate, grid)
    return f"{rate:g}" + f" ({edge})" * bool(edge)


def tied_rates(
    study: Study, grids: Sequence[Mapping[float, Group]], best: Sequence[float]
) -> list[list[float]]:
    """Return for each side the other learning rates that are not significantly different from its best one.

    The distances by which :func:`best_rates` chooses are compared by Welch's t, or by ranks where a run
    failed, two-sided at :data:`~zoo.comparison.statistics.LEVEL`, without correction for several rates.

    Args:
        study: the runs.
        grids: for each side its configurations, by learning rate.
        best: the best rate of each side.
    """
    scores, _ = _scores(study, grids)

    def apart(one: Group, other: Group) -> bool:
        sides = scores(one), scores(other)
        if min(map(len, sides)) < LEAST_SEEDS:
            return True
        lost = any(math.isinf(value) for side in sides for value in side)
        return (tests.rank_test if lost else tests.welch)(*sides).significant

    return [
        [rate for rate in sorted(grid) if rate != chosen and not apart(grid[rate], grid[chosen])]
        for grid, chosen in zip(grids, best, strict=True)
    ]


def at_one_rate_text(a: Group, b: Group) -> str:
    """Return a sentence, after a space, that both sides come from one training at the shipped learning rate.

    It warns the reader that claims about other tricks have other numbers for the same GAN, since they take it
    at its best rate. It is empty if the rate is unknown.
    """
    rates = {side.settings.get("training.lr") for side in (a, b) if side.runs}
    rate = rates.pop() if len(rates) == 1 else None
    if not is_number(rate):
        return ""
    return (
        f" One training, read out in two ways, at the shipped learning rate ({rate:g}); claims about other "
        "tricks take each side at its best one."
    )


def at_equal_updates(study: Study, a: Group, b: Group) -> tuple[Group, Group]:
    """Return both sides at a number of updates that both were trained for, at their own learning rates.

    Of several such numbers that is taken at which both were run at most learning rates, as many on either
    side, then the largest. The sides are returned as they are if there is none with :data:`LEAST_SEEDS`
    seeds.
    """

    def tuning(updates: float) -> tuple[int, float]:
        rates = [len(_rate_grid(study, side[updates])) for side in known]
        return rates[0] if rates[0] == rates[1] else 1, updates

    known = [_by_updates(study, side) for side in (a, b)]
    common = known[0].keys() & known[1].keys()
    if not common:
        return a, b
    best = max(common, key=tuning)
    return known[0][best].named(a.label), known[1][best].named(b.label)


def _by_updates(study: Study, side: Group) -> dict[float, Group]:
    """Return a side's configurations by their numbers of updates, each at the rate nearest to its own."""
    alike: dict[float, list[Group]] = {}
    for group in study.of(side.model):
        updates = group.settings.get("training.updates")
        enough = len(group.runs) >= LEAST_SEEDS
        if is_number(updates) and enough and differing(group, side) <= {"training.updates", "training.lr"}:
            alike.setdefault(updates, []).append(group)

    def apart(group: Group) -> float:
        rates = [g.settings.get("training.lr") for g in (group, side)]
        logarithms = [math.log(rate) for rate in rates if is_number(rate) and rate > 0]
        return abs(logarithms[0] - logarithms[1]) if len(logarithms) == 2 else math.inf

    return {updates: min(groups, key=apart) for updates, groups in alike.items()}


def _rate_grid(study: Study, side: Group) -> dict[float, Group]:
    """Return a side's configurations of :data:`LEAST_SEEDS` or more seeds by their learning rates."""
    return {rate: group for rate, group in study.rates(side).items() if len(group.runs) >= LEAST_SEEDS}


def best_rates(study: Study, grids: Sequence[Mapping[float, Group]]) -> tuple[list[float], str]:
    """Return the learning rate that is best for each side, and by what the rates were chosen.

    The best rate has the least median over seeds of the distance from validation data
    (:func:`~zoo.comparison.claims.measure.validated_distance`). If a finished run of any side lacks that
    curve, the distance from test data chooses for all sides, and is then smaller than fresh data would show.
    A run that did not finish is infinitely far.

    Args:
        study: the runs.
        grids: of each side its configurations by their learning rates.
    """
    scores, validated = _scores(study, grids)

    def median(group: Group) -> float:
        return statistics.median(scores(group) or [math.inf])

    best = [min(grid, key=lambda rate: (median(grid[rate]), rate)) for grid in grids]
    return best, "chosen by validation" if validated else "chosen on the test data, for want of validation"


def _scores(
    study: Study, grids: Sequence[Mapping[float, Group]]
) -> tuple[Callable[[Group], list[float]], bool]:
    """Return how learning rates are scored, and whether the scores come from validation data.

    The first is a function from a configuration to the distances of its runs, infinite for a run that did not
    finish. They are on validation data if all finished runs have such a distance, otherwise on test data.
    """
    finished = [run for grid in grids for group in grid.values() for run in group.finished]
    validated = all(validated_distance(run) is not None for run in finished)
    measure = distance_of(study)

    def of(group: Group) -> list[float]:
        if validated:
            known = [validated_distance(run) for run in group.finished]
            values = [value for value in known if value is not None]
            lost = len(group.runs) - len(values)
        else:
            values, lost = measure.of(group), measure.failed(group)
        return [*values, *[math.inf] * lost]

    return of, validated
