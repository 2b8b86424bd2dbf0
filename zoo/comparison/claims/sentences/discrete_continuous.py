"""Parameters and distance of a continuous flow, beside a coupling flow's."""

from __future__ import annotations

import statistics
from dataclasses import replace

from zoo.comparison.claims.compare import WELCH_OF_LOGARITHMS, compare, compare_distance
from zoo.comparison.claims.measure import LATENCY, distance_of
from zoo.comparison.claims.panels import Scatter
from zoo.comparison.claims.sides import continuous_flow, parallel_flow
from zoo.comparison.claims.verdict import (
    REFUTED,
    SUPPORTED,
    UNDECIDED,
    Evidence,
    Missing,
    Part,
    Verdict,
    claim,
)
from zoo.comparison.configurations import Group
from zoo.comparison.quantities import PARAMETERS
from zoo.comparison.statistics import LEAST_SEEDS, LEVEL, MARGIN, Outcome, equivalence
from zoo.comparison.studies import Study

TEST = (
    f"{WELCH_OF_LOGARITHMS}, beside a count; the same quality: the 95 % interval within {1 / MARGIN:g} to "
    f"{MARGIN:g}"
)


@claim("A continuous flow needs fewer parameters than a discrete one of the same quality.", order=130)
def discrete_continuous(study: Study) -> Evidence:
    continuous, discrete = continuous_flow(study), parallel_flow(study)
    sizes = [group.values(PARAMETERS) for group in (continuous, discrete)]
    if not all(sizes) or min(len(continuous.finished), len(discrete.finished)) < LEAST_SEEDS:
        yield Missing(needs=f"{continuous.label} and {discrete.label}, {LEAST_SEEDS} finished seeds each")
        return
    yield _at_the_same_quality(study, continuous, discrete, sizes[0][0], sizes[1][0])
    yield compare(continuous, discrete, LATENCY, "higher", decides=False)


def _at_the_same_quality(
    study: Study, continuous: Group, discrete: Group, parameters: float, others: float
) -> Part | Missing:
    quality = compare_distance(study, continuous, discrete, "lower")
    if isinstance(quality, Missing) or quality.outcome is None:
        return quality
    verdict, p, remark = _matched(parameters < others, quality.outcome)
    return replace(
        quality,
        sentence=f"Parameters: {continuous.label} {parameters:,.0f}, {discrete.label} {others:,.0f}. "
        f"{quality.sentence}{remark}",
        verdict=verdict,
        p=p,
        unit="",
        variants=None,
        test=TEST,
        panel=_panel(study),
    )


def _matched(fewer: bool, ratio: Outcome) -> tuple[Verdict, float, str]:
    """Return the verdict on having fewer parameters, from the ratio of the distances, its p, and a remark."""
    better = ratio.significant and ratio.estimate < 1
    worse = ratio.significant and ratio.estimate > 1
    alike = equivalence(ratio, MARGIN)
    same = ratio.low > 1 / MARGIN and ratio.high < MARGIN
    p = min(1.0, 2 * alike) if same else ratio.p
    if fewer and (better or same):
        return SUPPORTED, p, ""
    if not fewer and (worse or same):
        return REFUTED, p, ""
    seen = "worse" if worse else "better" if better else "neither better nor the same beyond doubt"
    return (
        UNDECIDED,
        max(ratio.p, LEVEL),
        (
            f" Quality was not matched: the continuous flow has {'fewer' if fewer else 'no fewer'} "
            f"parameters and is {seen}, which says nothing of flows of the same quality."
        ),
    )


def _panel(study: Study) -> Scatter:
    """Return the panel of every flow's distance against its parameters."""
    distance = distance_of(study)
    points = [
        (group.label, group.family, statistics.fmean(parameters), statistics.fmean(distances))
        for group in study.baselines()
        if group.family in ("flow", "continuous flow", "diffusion")
        and (parameters := group.values(PARAMETERS))
        and (distances := distance.of(group))
    ]
    return Scatter("parameters", distance.name, points)
