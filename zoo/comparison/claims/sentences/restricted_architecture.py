"""Discrete flows, each restricted by a rule of its own, beside a continuous flow with no more parameters."""

from __future__ import annotations

import math
from dataclasses import replace

from zoo.comparison.claims.compare import compare_unbiased
from zoo.comparison.claims.evidence import Evidence, Missing, Part, claim, judge
from zoo.comparison.claims.sides import autoregressive_flow, continuous_flow, parallel_flow, residual_flow
from zoo.comparison.configurations import Group
from zoo.comparison.quantities import PARAMETERS, UPDATES
from zoo.comparison.statistics import LEAST_SEEDS, MARGIN
from zoo.comparison.studies import Study

ALIKE = f"parameters of the discrete flow 1 to {MARGIN:g} times the continuous one's, updates the same"


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
    part = compare_unbiased(study, free, flow)
    if isinstance(part, Missing) or part.outcome is None:
        return missing
    return replace(
        part,
        sentence=f"{flow.label} ({restriction}; {sizes[1]:,.0f} parameters), {free.label} (any field; "
        f"{sizes[0]:,.0f}). {part.sentence}",
        verdict=judge(part.outcome, "lower"),
        test=f"{part.test}; {ALIKE}",
    )
