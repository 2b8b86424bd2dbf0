"""Parameters and distance of a continuous flow, beside a coupling flow's."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

from zoo.comparison.claims.compare import compare, compare_distance, compare_unbiased
from zoo.comparison.claims.evidence import (
    REFUTED,
    SUPPORTED,
    UNDECIDED,
    Direction,
    Evidence,
    Missing,
    Part,
    Verdict,
    claim,
    judge,
)
from zoo.comparison.claims.measure import LATENCY, distance_of
from zoo.comparison.claims.panels import Scatter
from zoo.comparison.claims.sides import continuous_flow, parallel_flow
from zoo.comparison.configurations import Group
from zoo.comparison.quantities import PARAMETERS
from zoo.comparison.statistics import LEAST_SEEDS, MARGIN, Outcome, equivalence
from zoo.comparison.studies import Study

ENERGY = "energy_distance"
SAME = f"the same quality: the 95 % interval of a ratio within {1 / MARGIN:g} to {MARGIN:g}"


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
    """Return the part that decides: the numbers of parameters, and whether the distances match.

    Args:
        study: the runs.
        continuous, discrete: the two flows.
        parameters, others: the parameters of the continuous flow and of the discrete one.
    """
    unbiased = distance_of(study).name == ENERGY  # it may be about zero, where ratios are noise
    quality = (
        compare_unbiased(study, continuous, discrete)
        if unbiased
        else compare_distance(study, continuous, discrete)
    )
    if isinstance(quality, Missing) or quality.outcome is None:
        return quality
    fewer = parameters < others
    verdict, p, remark = _matched(fewer, quality.outcome)
    return replace(
        quality,
        sentence=f"Parameters: {continuous.label} {parameters:,.0f}, {discrete.label} {others:,.0f}. "
        f"{quality.sentence}{remark}",
        verdict=verdict,
        p=p,
        unit="",
        variants=lambda: [
            replace(one, verdict=_matched(fewer, one.outcome, one.claimed)[0])
            for one in (quality.variants or list)()
        ],
        test=f"{quality.test}, beside a count; {SAME}",
        panel=_panel(study),
    )


def _matched(fewer: bool, distances: Outcome, nearer: Direction = "lower") -> tuple[Verdict, float, str]:
    """Return the verdict, its p, and a remark where it is undecided.

    Fewer parameters at a better or the same distance support the sentence, as many or more at a worse or the
    same one refute it. In the other two cases the quality was not matched, which says nothing: there is no p,
    NaN, which counts as 1 in the correction over the ledger.

    Args:
        fewer: whether the continuous flow has fewer parameters.
        distances: the test of its distance over that of the discrete flow. Of distances that may be about
            zero it is a difference; then the two are never called the same.
        nearer: "lower" if the flow with the smaller value is nearer to the data, "higher" if the one with the
            larger value is, as with coverage.
    """
    none = 1.0 if distances.factor else 0.0
    verdict = judge(distances, nearer, none)
    better, worse = verdict == SUPPORTED, verdict == REFUTED
    same = distances.factor and distances.low > 1 / MARGIN and distances.high < MARGIN
    p = min(1.0, 2 * equivalence(distances, MARGIN)) if same else distances.p
    if fewer and (better or same):
        return SUPPORTED, p, ""
    if not fewer and (worse or same):
        return REFUTED, p, ""
    seen = "worse" if worse else "better" if better else "neither better nor the same beyond doubt"
    return (
        UNDECIDED,
        math.nan,
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
