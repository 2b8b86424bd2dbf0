"""Sequential evaluations and sharpness of the samples of flows that sample all dimensions at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from zoo.comparison import statistics as tests
from zoo.comparison.claims.evidence import (
    REFUTED,
    SUPPORTED,
    UNDECIDED,
    Evidence,
    Missing,
    Part,
    Variant,
    Verdict,
    claim,
)
from zoo.comparison.claims.measure import DEPTH, SHARPNESS
from zoo.comparison.claims.sharp import lost_text, sharpness_of, sharpness_panel, sharpness_variants
from zoo.comparison.claims.sides import parallel_flows
from zoo.comparison.claims.wording import p_text
from zoo.comparison.configurations import Group
from zoo.comparison.datasets import dimensions
from zoo.comparison.guards import UNLEARNED, relative_distance
from zoo.comparison.quantities import metric_value
from zoo.comparison.statistics import LEAST_SEEDS, Outcome
from zoo.comparison.studies import Study
from zoo.comparison.tables import number

SHARP = 0.8  # within this factor of the sharpness of real images is sharp
NARROWER = 0.9  # a narrower factor, for testing how robust the verdict is
MEASURES = (("sharpness", "Sharpness"), ("sharpness/spectrum", "Spectral sharpness"))


@claim("Flows generate in parallel and sharply.", order=40)
def flows_parallel_sharp(study: Study) -> Evidence:
    measured = [flow for flow in parallel_flows(study) if len(SHARPNESS.of(flow)) >= LEAST_SEEDS]
    if not measured:
        yield Missing(needs=f"sharpness of a coupling flow, {LEAST_SEEDS} finished seeds")
        return
    yield _parallel(measured)
    panel = sharpness_panel(study)
    for index, (flow, (metric, name)) in enumerate((flow, one) for flow in measured for one in MEASURES):
        evidence = _as_sharp_as_real(study, flow, metric, name)
        yield replace(evidence, panel=panel) if isinstance(evidence, Part) and index == 0 else evidence


def _parallel(flows: Sequence[Group]) -> Part:
    """Return the count of sequential evaluations, which has to be below the number of dimensions."""
    pixels = dimensions(flows[0].finished[0])
    depths = [max(DEPTH.of(flow), default=math.nan) for flow in flows]
    listed = ", ".join(f"{flow.label} {depth:.0f}" for flow, depth in zip(flows, depths, strict=True))
    return Part(
        sentence=f"Sequential network evaluations of one sample of {pixels} dimensions: {listed}.",
        verdict=SUPPORTED if all(depth < pixels for depth in depths) else REFUTED,
        test="a count, by construction: fewer than the dimensions",
        n="exact",
        by_construction=True,
        runs=[run for flow in flows for run in flow.finished],
    )


def _as_sharp_as_real(study: Study, flow: Group, metric: str, name: str) -> Part | Missing:
    """Test whether samples that resemble real images at all are as sharp as these."""
    values = flow.values(metric_value(metric))
    if len(values) < LEAST_SEEDS:
        return Missing(needs=f"{name.lower()} of {flow.label}, {LEAST_SEEDS} finished seeds")
    outcome = sharpness_of(flow, metric)
    outside = outcome.high < SHARP or outcome.low > 1 / SHARP
    verdict = _within(outcome)
    chance = tests.equivalence(outcome, 1 / SHARP)
    remark = _remark_on_noise(study, flow) if verdict == SUPPORTED else ""
    return Part(
        sentence=f"{name} of {flow.label}: {number(outcome.estimate)} times that of real images, "
        f"95 % interval {number(outcome.low)} to {number(outcome.high)}, within {SHARP:g} to {1 / SHARP:g}: "
        f"{p_text(chance)}.{lost_text(flow, metric)}{remark}",
        verdict=UNDECIDED if remark else verdict,
        test=f"two one-sided t-tests: the 95 % interval of its logarithm lies within {SHARP:g} to "
        f"{1 / SHARP:g}, of samples at most {UNLEARNED:g} times as far from real examples as these are from "
        "each other",
        n=str(len(values)),
        outcome=outcome,
        within=(SHARP, 1 / SHARP),
        p=min(1.0, 2 * (1 - chance if outside else chance)),
        variants=lambda: _variants(flow, metric, bool(remark)),
        runs=flow.finished,
    )


def _within(outcome: Outcome, margin: float = SHARP) -> Verdict:
    """Return the verdict on an interval of the sharpness over that of real images.

    It is supported if the whole interval lies between ``margin`` and its inverse, refuted if it lies outside.
    """
    if outcome.low > margin and outcome.high < 1 / margin:
        return SUPPORTED
    return REFUTED if outcome.high < margin or outcome.low > 1 / margin else UNDECIDED


def _variants(flow: Group, metric: str, noise: bool) -> list[Variant]:
    """Return other tests of a flow's sharpness, among them one with a narrower margin.

    Args:
        flow: the flow.
        metric: name of the sharpness in the records.
        noise: whether the flow's samples may be noise; then no test can support that they are sharp.
    """

    def verdict(outcome: Outcome, margin: float = SHARP) -> Verdict:
        found = _within(outcome, margin)
        return UNDECIDED if noise and found == SUPPORTED else found

    outcome = sharpness_of(flow, metric)
    narrower = Variant(f"within {NARROWER:g} to {1 / NARROWER:.2f}", outcome, "lower", "a narrower margin")
    return [
        *sharpness_variants(flow, metric, verdict),
        replace(narrower, verdict=verdict(outcome, NARROWER)),
    ]


def _remark_on_noise(study: Study, flow: Group) -> str:
    """Return a remark if the samples may be noise, whose fine structure would count as sharpness."""
    far = relative_distance(study, flow)
    if far <= UNLEARNED:
        return ""
    if math.isnan(far):
        reason = "no distance says that these are images"
    else:
        reason = f"the samples are {far:.0f} times as far from real examples as these are from each other"
    return f" But {reason}, and noise has fine structure too."
