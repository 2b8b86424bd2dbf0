"""Three signs of unstable training, at each model's own best learning rate: collapse, oscillation, spread."""

from __future__ import annotations

import math
from collections.abc import Sequence

from zoo.comparison import statistics as tests
from zoo.comparison.claims.measure import OSCILLATION, distance_of, failed
from zoo.comparison.claims.panels import Dots, rows
from zoo.comparison.claims.sides import best_rates
from zoo.comparison.claims.verdict import REFUTED, SUPPORTED, UNDECIDED, Missing, Part
from zoo.comparison.claims.wording import mean_text, p_text, share_text, times_text
from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group
from zoo.comparison.guards import LEAST_RECALL
from zoo.comparison.statistics import LEAST_SEEDS, LEVEL, Outcome, holm
from zoo.comparison.studies import Study

TEST = (
    f"three signs, Holm-corrected at {LEVEL:.0%}: Fisher's exact test of the share of seeds of which a run "
    f"diverged or collapsed (recall below {LEAST_RECALL:g}, or samples all alike) at a rate of both; at each "
    "model's own best rate (by validation) Welch's t of log oscillation and the F-test of the spread of log "
    "distance over seeds; supported if a sign is against the first model and none against the second"
)


def compare_stability(
    study: Study, a: Group, b: Group, *, describe_a: str = "", decides: bool = True
) -> Part | Missing:
    """Test whether the training of ``a`` is less stable than that of ``b``, by any of three signs.

    Args:
        study: the runs.
        a, b: the configurations, whose neighbours at other learning rates are looked up.
        describe_a: name of ``a`` if runs of it are missing; by default its label.
        decides: whether the claim depends on the result.
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
    shared = [{rate: grid[rate] for rate in rates} for grid in grids]
    best, how = best_rates(study, shared)
    sides = [grid[rate].named(group.label) for grid, rate, group in zip(shared, best, (a, b), strict=True)]
    runs = [[run for group in grid.values() for run in group.runs] for grid in shared]
    seeds = [{run.record.seed for run in side} for side in runs]
    lost = [
        len({run.record.seed for run in lost_runs(study, Group(group.model, members))})
        for group, members in zip((a, b), runs, strict=True)
    ]
    sizes = [len(side) for side in seeds]
    share = tests.fisher(lost[0], sizes[0], lost[1], sizes[1])
    signs = [(share, lost[0] / sizes[0] > lost[1] / sizes[1])]
    texts = [
        f"seeds with a run that collapsed or diverged {share_text(lost[0], sizes[0])} and "
        f"{share_text(lost[1], sizes[1])} "
        f"({p_text(share)})"
    ]
    for name, outcome in (("oscillation", _oscillation(sides)), ("spread over seeds", _spread(study, sides))):
        if outcome is not None and not math.isnan(outcome.p):
            signs.append((outcome.p, outcome.estimate > 1))
            texts.append(f"{name} {times_text(outcome)}")
    adjusted = holm([p for p, _ in signs])
    sure = [less_stable for p, (_, less_stable) in zip(adjusted, signs, strict=True) if p < LEVEL]
    distance = distance_of(study)
    samples = [distance.of(side) for side in sides]
    return Part(
        sentence=f"{a.label} (best at rate {best[0]:g}) against {b.label} (best at {best[1]:g}), {how}, "
        f"over the rates {', '.join(f'{rate:g}' for rate in rates)}: {'; '.join(texts)}. {distance.name} at "
        f"the best rates: "
        f"{' and '.join(mean_text(sample) if sample else 'no value' for sample in samples)}.",
        verdict=UNDECIDED if len(set(sure)) != 1 else SUPPORTED if sure[0] else REFUTED,
        test=TEST,
        n=" and ".join(str(len(side.runs)) for side in sides),
        p=min(adjusted),
        panel=Dots(distance.axis, rows(sides, samples), log=True) if all(samples) else None,
        runs=runs[0] + runs[1],
        decides=decides,
    )


def lost_runs(study: Study, group: Group) -> list[Run]:
    """Return the runs that diverged, could not be judged, or whose samples reach hardly any of the data."""
    lost = {run.record.run_id: run for run in failed(group, study.quality)}
    for run in group.finished:
        recalls = [m.value for name, m in run.record.metrics.items() if name.partition("/")[0] == "recall"]
        if any(value is not None and value < LEAST_RECALL for value in recalls):
            lost[run.record.run_id] = run
    return list(lost.values())


def _oscillation(sides: Sequence[Group]) -> Outcome | None:
    samples = [[value for value in OSCILLATION.of(side) if value > 0] for side in sides]
    return tests.ratio(tests.welch, *samples) if min(map(len, samples)) >= LEAST_SEEDS else None


def _spread(study: Study, sides: Sequence[Group]) -> Outcome | None:
    samples = [[math.log(value) for value in distance_of(study).of(side) if value > 0] for side in sides]
    return tests.spread_ratio(*samples) if min(map(len, samples)) >= LEAST_SEEDS else None
