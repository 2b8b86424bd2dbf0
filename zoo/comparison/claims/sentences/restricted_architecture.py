"""Discrete flows, each restricted by a rule of its own, beside a continuous flow with no more parameters."""

from __future__ import annotations

import math

from zoo.comparison import statistics as tests
from zoo.comparison.claims.compare import RANKS, WELCH
from zoo.comparison.claims.measure import distance_of, drawn_alike
from zoo.comparison.claims.panels import Dots, rows
from zoo.comparison.claims.robustness import variants
from zoo.comparison.claims.sides import autoregressive_flow, continuous_flow, parallel_flow, residual_flow
from zoo.comparison.claims.verdict import Evidence, Missing, Part, claim, judge
from zoo.comparison.claims.wording import failures_text, interval_text, mean_text
from zoo.comparison.configurations import Group
from zoo.comparison.quantities import PARAMETERS, UPDATES
from zoo.comparison.statistics import LEAST_SEEDS, MARGIN
from zoo.comparison.studies import Study
from zoo.comparison.tables import number

ALIKE = f"parameters of the discrete flow 1 to {MARGIN:g} times the continuous one's, updates the same"
TEST = f"{WELCH}; {ALIKE}"
TEST_OF_RANKS = f"{RANKS}; {ALIKE}; a failed run has the worst rank"


@claim("A discrete flow's architecture is restricted, a continuous flow's is free.", order=140)
def restricted_architecture(study: Study) -> Evidence:
    free = continuous_flow(study)
    for flow, restriction in (
        (parallel_flow(study), "half of the dimensions pass each layer as they are"),
        (autoregressive_flow(study), "triangular Jacobians"),
        (residual_flow(study), "Lipschitz constants below 1"),
    ):
        yield _cost_of(restriction, study, free, flow)


def _cost_of(restriction: str, study: Study, free: Group, flow: Group) -> Part | Missing:
    """Test whether the samples of the free flow are nearer to the data than those of a restricted one."""
    missing = Missing(
        needs=f"{free.label} and {flow.label} of as many parameters and updates, {LEAST_SEEDS} finished "
        "seeds each",
        commands=("zoo sweep claims_digits", "zoo claims ... runs/claims_digits"),
    )
    sizes = [max(group.values(PARAMETERS), default=math.nan) for group in (free, flow)]
    updates = [set(group.values(UPDATES)) for group in (free, flow)]
    if not 1 <= sizes[1] / sizes[0] <= MARGIN or updates[0] != updates[1]:
        return missing
    distance = distance_of(study)
    samples = [distance.of(group) for group in (free, flow)]
    lost = [distance.failed(group) for group in (free, flow)]
    if not all(samples) or min(len(side) + n for side, n in zip(samples, lost, strict=True)) < LEAST_SEEDS:
        return missing
    shared = [drawn_alike(group, distance.quantity) for group in (free, flow)]
    worst = [[math.inf] * n for n in lost]
    if any(lost):
        outcome = tests.rank_test(samples[0] + worst[0], samples[1] + worst[1])
    else:  # not of logarithms: an unbiased distance may be zero
        outcome = tests.welch(samples[0], samples[1], shared)
    return Part(
        sentence=f"{flow.label} ({restriction}; {sizes[1]:,.0f} parameters): {distance.name} "
        f"{mean_text(samples[1])}; {free.label} (any field; {sizes[0]:,.0f}): {mean_text(samples[0])} "
        f"(difference {number(outcome.estimate)}, {interval_text(outcome)})."
        + "".join(failures_text(g.label, n, len(g.runs)) for g, n in zip((free, flow), lost, strict=True)),
        verdict=judge(outcome, "lower"),
        test=TEST_OF_RANKS if any(lost) else TEST,
        n=" and ".join(str(len(side) + n) for side, n in zip(samples, lost, strict=True)),
        outcome=outcome,
        p=outcome.p,
        variants=lambda: variants(
            distance.by_seed(free), distance.by_seed(flow), "lower", shared, worst, log=False
        ),
        panel=Dots(distance.name, rows((free, flow), samples)),
        runs=free.finished + flow.finished,
    )
