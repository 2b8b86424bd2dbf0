"""The stability of the training of two models, compared by three signs of instability.

- *Collapse*: the share of seeds of which a run diverged or collapsed, at any learning rate that both models
  were run at.
- *Oscillation*: how much the distance of the samples from validation data still goes up and down in the last
  third of training, at the model's own best learning rate.
- *Spread*: the standard deviation over seeds of the logarithm of the final distance, at that learning rate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from zoo.comparison import statistics as tests
from zoo.comparison.claims.evidence import REFUTED, SUPPORTED, UNDECIDED, Missing, Part, Variant, Verdict
from zoo.comparison.claims.measure import OSCILLATION, distance_of, failed, metric_of, other_distances
from zoo.comparison.claims.panels import Dots, rows
from zoo.comparison.claims.robustness import ANOTHER_RATE, ANOTHER_TEST, SEED_OUT
from zoo.comparison.claims.sides import best_rates, edge_text, tied_rates
from zoo.comparison.claims.wording import mean_text, p_text, share_text, times_text
from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group, differing, is_number
from zoo.comparison.guards import LEAST_RECALL
from zoo.comparison.statistics import LEAST_SEEDS, LEVEL, Outcome, holm
from zoo.comparison.studies import Study
from zoo.comparison.tables import number

UPDATES, RATE = "training.updates", "training.lr"
# Other limits of the recall below which a run counts as collapsed, in place of LEAST_RECALL: the verdict by
# each of them is among the variants.
OTHER_RECALLS = (0.02, 0.1)
OTHER_COUNT = "another count of collapse"  # the kind of those variants, and of others that count differently
TEST = (
    f"three signs, Holm-corrected at {LEVEL:.0%}: Fisher's exact test of the share of seeds of which a run "
    f"diverged or collapsed (recall below {LEAST_RECALL:g}, or samples all alike) at a rate of both; at each "
    "model's own best rate (by validation) Welch's t of log oscillation and the F-test of the spread of log "
    "distance over seeds; supported if a sign is against the first model and none against the second"
)


def compare_stability(
    study: Study, a: Group, b: Group, *, describe_a: str = "", decides: bool = True
) -> Part | Missing:
    """Return the test of whether the training of ``a`` is less stable than that of ``b``, by three signs.

    Args:
        study: the runs.
        a, b: the configurations. The study's runs of them at other learning rates are part of the test.
        describe_a: what to call ``a`` where runs of it are missing; by default its label.
        decides: whether the claim depends on the result.

    Returns:
        The test; a :class:`Missing` in its place if there is no learning rate at which both configurations
        have :data:`LEAST_SEEDS` seeds, or if the study has no distance.
    """
    called = describe_a or a.label
    missing = Missing(
        needs=f"{called} and {b.label}, {LEAST_SEEDS} seeds at a common learning rate", decides=decides
    )
    grids = [study.rates(group) if group.runs else {} for group in (a, b)]
    rates = sorted(
        rate
        for rate in grids[0].keys() & grids[1].keys()
        if all(len(grid[rate].runs) >= LEAST_SEEDS for grid in grids)
    )
    if not rates or study.quality is None:
        return missing
    shared = [
        {rate: grid[rate].named(group.label) for rate in rates}
        for grid, group in zip(grids, (a, b), strict=True)
    ]
    best, how = best_rates(study, shared)
    trained = _Trained(study, shared, best)
    signs = trained.signs()
    sides = trained.at_best()
    adjusted = holm([sign.p for sign in signs])
    distance = distance_of(study)
    samples = [distance.of(side) for side in sides]
    at = [f"{rate:g}" + _edge(rate, rates) for rate in best]
    return Part(
        sentence=f"{a.label} (best at rate {at[0]}) against {b.label} (best at {at[1]}), {how}, "
        f"over the rates {', '.join(f'{rate:g}' for rate in rates)}: "
        f"{'; '.join(sign.text for sign in signs)}. {distance.name} at "
        f"the best rates: "
        f"{' and '.join(mean_text(sample) if sample else 'no value' for sample in samples)}.",
        verdict=_verdict(signs),
        test=TEST,
        brief=f"against {b.label}: {'; '.join(sign.brief for sign in signs)}",
        n=" and ".join(str(len(side.runs)) for side in sides),
        p=min(adjusted),
        variants=lambda: _variants(trained),
        panel=Dots(distance.axis, rows(sides, samples), log=True) if all(samples) else None,
        runs=[run for grid in shared for group in grid.values() for run in group.runs],
        decides=decides,
    )


@dataclass(frozen=True)
class _Sign:
    """The test of one sign of instability.

    Attributes:
        name: the sign.
        p: p-value of the difference between the two models.
        less_stable: whether the first model has more of it than the second.
        text: the result in words.
        brief: the result in few words.
    """

    name: str
    p: float
    less_stable: bool
    text: str = ""
    brief: str = ""


@dataclass(frozen=True)
class _Trained:
    """Two models that were run at the same learning rates.

    Attributes:
        study: the runs.
        grids: for each model its configurations, by learning rate.
        best: for each model the learning rate at which oscillation and spread are compared.
    """

    study: Study
    grids: Sequence[Mapping[float, Group]]
    best: Sequence[float]

    def at_best(self) -> list[Group]:
        """Return for each model its configuration at its best learning rate."""
        return [grid[rate] for grid, rate in zip(self.grids, self.best, strict=True)]

    def seeds(self) -> list[set[int]]:
        """Return the seeds of each model."""
        return [{run.record.seed for group in grid.values() for run in group.runs} for grid in self.grids]

    def without(self, seed: int) -> _Trained:
        """Return the same two models without the runs of one seed."""
        left = [
            {
                rate: Group(group.model, [run for run in group.runs if run.record.seed != seed], group.label)
                for rate, group in grid.items()
            }
            for grid in self.grids
        ]
        return replace(self, grids=left)

    def signs(
        self,
        *,
        recall: float = LEAST_RECALL,
        at_best_alone: bool = False,
        distance: Callable[[Group], Mapping[int, float]] | None = None,
        by_ranks: bool = False,
    ) -> list[_Sign]:
        """Return the tests of the signs: of collapse always, of the others if enough seeds have a value.

        Args:
            recall: a run whose recall is smaller counts as collapsed.
            at_best_alone: count collapsed seeds only at the best learning rates.
            distance: returns the distances of a configuration by seed, whose spread is compared; None: the
                distances that the study is judged by.
            by_ranks: compare oscillations by ranks, and spreads by Brown and Forsythe's test.
        """
        best = self.at_best()
        of_distance = distance or distance_of(self.study).by_seed
        measured = (
            ("oscillation", _oscillation(best, by_ranks)),
            ("spread over seeds", _spread([of_distance(side) for side in best], by_ranks)),
        )
        signs = [self._collapse(recall, at_best_alone)]
        for name, outcome in measured:
            if outcome is not None and not math.isnan(outcome.p):
                text, brief = f"{name} {times_text(outcome)}", f"{name} ×{number(outcome.estimate)}"
                signs.append(_Sign(name, outcome.p, outcome.estimate > 1, text, brief))
        return signs

    def _collapse(self, recall: float, at_best_alone: bool) -> _Sign:
        """Return Fisher's exact test of the shares of seeds of which a run diverged or collapsed."""
        counted = [[side] for side in self.at_best()]
        if not at_best_alone:
            counted = [list(grid.values()) for grid in self.grids]
        lost = [
            len({run.record.seed for group in groups for run in lost_runs(self.study, group, recall)})
            for groups in counted
        ]
        sizes = [len({run.record.seed for group in groups for run in group.runs}) for groups in counted]
        p = tests.fisher(lost[0], sizes[0], lost[1], sizes[1])
        text = (
            f"seeds with a run that collapsed or diverged {share_text(lost[0], sizes[0])} and "
            f"{share_text(lost[1], sizes[1])} ({p_text(p)})"
        )
        brief = f"collapsed or diverged seeds {lost[0]} of {sizes[0]} to {lost[1]} of {sizes[1]}"
        return _Sign("collapse", p, lost[0] / sizes[0] > lost[1] / sizes[1], text, brief)


def _edge(rate: float, rates: Sequence[float]) -> str:
    """Return a remark, after a comma, if the rate is the least or the largest; otherwise an empty text."""
    edge = edge_text(rate, rates)
    return f", {edge}" * bool(edge)


def _verdict(signs: Sequence[_Sign]) -> Verdict:
    """Return the verdict that follows from the signs, by those that are significant after Holm's correction.

    It is *supported* if all of these are against the first model, *not supported* if all are against the
    second, and *undecided* if they disagree or if there are none.
    """
    adjusted = holm([sign.p for sign in signs])
    sure = {sign.less_stable for sign, p in zip(signs, adjusted, strict=True) if p < LEVEL}
    return UNDECIDED if len(sure) != 1 else SUPPORTED if sure.pop() else REFUTED


def _variants(trained: _Trained) -> list[Variant]:
    """Return other reasonable tests of the signs, each with its verdict.

    They leave out a sign or a seed, or differ in the tests, the count of collapsed runs, the distance or the
    learning rates: each model's rate may be any that is not significantly different from its best one.
    """
    signs = trained.signs()
    varied = [("a sign left out", "", [one for one in signs if one is not sign]) for sign in signs]
    varied.append(("ranks and Brown-Forsythe", ANOTHER_TEST, trained.signs(by_ranks=True)))
    for seed in sorted(set.union(*trained.seeds())):
        rest = trained.without(seed)
        if all(group.runs for grid in rest.grids for group in grid.values()):
            varied.append((SEED_OUT, "", rest.signs()))
    varied += [
        (f"recall below {recall:g}", OTHER_COUNT, trained.signs(recall=recall)) for recall in OTHER_RECALLS
    ]
    varied.append(("at the best rates alone", OTHER_COUNT, trained.signs(at_best_alone=True)))
    quality = distance_of(trained.study).quantity
    for other in other_distances(trained.study, quality) if quality is not None else ():
        values = [other.by_seed(side) for side in trained.at_best()]
        if all(len(side) >= LEAST_SEEDS and min(side.values()) > 0 for side in values):
            varied.append((other.name, other.kind, trained.signs(distance=other.by_seed)))
    alike = tied_rates(trained.study, trained.grids, trained.best)
    rates = itertools.product(*([one, *others] for one, others in zip(trained.best, alike, strict=True)))
    for best in list(rates)[1:]:
        varied.append((ANOTHER_RATE, "", replace(trained, best=best).signs()))
    none = Outcome(math.nan, math.nan, math.nan, math.nan)  # three signs have no single effect
    return [Variant(name, none, "higher", kind, _verdict(signs)) for name, kind, signs in varied]


def after_more_updates(study: Study, side: Group) -> Part | None:
    """Return how many seeds of a model collapsed in its usual runs, and in its runs with the most updates.

    A generator that has not learned yet reaches as little of the data as one that has collapsed, so after few
    updates the share of collapsed seeds also counts undertrained ones.

    Args:
        study: the runs.
        side: the model at its usual number of updates. The longer runs differ from it in nothing but the
            number of updates and, possibly, the learning rate.

    Returns:
        The measurement; None if the model has no runs with more updates than usual.
    """
    if not side.runs:
        return None
    by_updates: dict[float, list[Group]] = {}
    for group in study.of(side.model):
        updates = group.settings.get(UPDATES)
        if (
            is_number(updates)
            and differing(group, side) <= {UPDATES, RATE}
            and len(group.runs) >= LEAST_SEEDS
        ):
            by_updates.setdefault(updates, []).append(group)
    usual, longest = side.settings.get(UPDATES), max(by_updates, default=0)
    if not is_number(usual) or longest <= usual:
        return None
    shares = []
    runs: list[Run] = []
    for updates in (usual, longest):
        groups = by_updates.get(updates, [])
        rates = [group.settings.get(RATE) for group in groups]
        runs = [run for group in groups for run in group.runs]
        lost = {run.record.seed for group in groups for run in lost_runs(study, group)}
        recalls = metric_of(study, "recall").of(Group(side.model, runs))
        reach = f", recall {number(min(recalls))} to {number(max(recalls))}" if recalls else ""
        at = ", ".join(f"{rate:g}" for rate in sorted(filter(is_number, rates)))
        share = share_text(len(lost), len({run.record.seed for run in runs}))
        shares.append(f"at {updates:,} updates (rates {at}) {share}{reach}")
    return Part(
        sentence=f"Seeds of {side.label} with a run that collapsed or diverged: {'; '.join(shares)}.",
        n=str(len(runs)),
        runs=runs,
        decides=False,
    )


def lost_runs(study: Study, group: Group, least: float = LEAST_RECALL) -> list[Run]:
    """Return the runs of a group that failed or collapsed.

    A run failed if it did not finish, or if it has no distance since it could not be sampled or its samples
    are all the same. A run collapsed if its recall is below ``least``: its samples reach hardly any of the
    data.
    """
    lost = {run.record.run_id: run for run in failed(group, study.quality)}
    for run in group.finished:
        recalls = [m.value for name, m in run.record.metrics.items() if name.partition("/")[0] == "recall"]
        if any(value is not None and value < least for value in recalls):
            lost[run.record.run_id] = run
    return list(lost.values())


def _oscillation(sides: Sequence[Group], by_ranks: bool) -> Outcome | None:
    """Return the test of the ratio of two sides' oscillations; None for too few seeds."""
    samples = [[value for value in OSCILLATION.of(side) if value > 0] for side in sides]
    if min(map(len, samples)) < LEAST_SEEDS:
        return None
    if by_ranks:
        return tests.as_factor(tests.rank_test(*(list(map(math.log, sample)) for sample in samples)))
    return tests.ratio(tests.welch, *samples)


def _spread(sides: Sequence[Mapping[int, float]], by_ranks: bool) -> Outcome | None:
    """Return the test of the ratio of two sides' spreads over seeds, of log distances; None for too few."""
    samples = [[math.log(value) for value in side.values() if value > 0] for side in sides]
    if min(map(len, samples)) < LEAST_SEEDS:
        return None
    return (tests.brown_forsythe if by_ranks else tests.spread_ratio)(*samples)
