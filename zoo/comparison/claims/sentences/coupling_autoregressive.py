"""Likelihood and latency of an autoregressive flow, beside a coupling flow that differs in masking alone."""

from __future__ import annotations

from dataclasses import replace

from zoo.comparison.claims.compare import compare, compare_likelihood
from zoo.comparison.claims.measure import LATENCY
from zoo.comparison.claims.sides import autoregressive_flow, parallel_flow
from zoo.comparison.claims.verdict import Evidence, Missing, Part, claim
from zoo.comparison.configurations import Group
from zoo.comparison.quantities import PARAMETERS
from zoo.comparison.statistics import LEAST_SEEDS, MARGIN
from zoo.comparison.studies import Study

AUTOREGRESSIVE, COUPLING = "_autoregressive", "_coupling"  # ends of the names of one flow with either mask


@claim(
    "An autoregressive flow has the better density, an affine coupling flow the faster samples.", order=120
)
def coupling_autoregressive(study: Study) -> Evidence:
    pairs = masking_pairs(study)
    sizes = [max(a.values(PARAMETERS), default=0) / max(b.values(PARAMETERS), default=1) for a, b in pairs]
    matched = [1 / MARGIN < size < MARGIN for size in sizes]
    if not any(matched):
        yield Missing(
            needs=f"an autoregressive and a coupling flow that differ in masking alone, parameters within a "
            f"factor of {MARGIN:g}, {LEAST_SEEDS} finished seeds each",
            commands=("zoo sweep claims_factorial",),
        )
    for (autoregressive, coupling), size, decides in zip(pairs, sizes, matched, strict=True):
        remark = "" if decides else f" Sizes are not matched: {size:.2f} times the parameters."
        yield _with(remark, compare_likelihood(autoregressive, coupling, "lower", decides))
        yield compare(autoregressive, coupling, LATENCY, "higher", decides)
    affine = autoregressive_flow(study), parallel_flow(study)
    if affine not in pairs:
        yield compare_likelihood(*affine, "lower", decides=False)
        yield compare(*affine, LATENCY, "higher", decides=False)


def masking_pairs(study: Study) -> list[tuple[Group, Group]]:
    """Return the flows of a study that differ in their masking alone, the autoregressive one first.

    They are recognised by the ends of their names: ``nsf_autoregressive`` and ``nsf_coupling`` have one
    transformation and conditioner.
    """
    flows = {flow.model: flow for flow in study.baselines("flow")}
    return [
        (flow, flows[name.removesuffix(AUTOREGRESSIVE) + COUPLING])
        for name, flow in sorted(flows.items())
        if name.endswith(AUTOREGRESSIVE) and name.removesuffix(AUTOREGRESSIVE) + COUPLING in flows
    ]


def _with(remark: str, part: Part | Missing) -> Part | Missing:
    return replace(part, sentence=part.sentence + remark) if isinstance(part, Part) else part
