"""Pairs of models of which one has the better likelihood and the worse samples."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

from zoo.comparison import statistics as tests
from zoo.comparison.claims.measure import distance_of, drawn_alike
from zoo.comparison.claims.panels import Scatter
from zoo.comparison.claims.verdict import SUPPORTED, UNDECIDED, Evidence, Missing, Part, claim
from zoo.comparison.claims.wording import interval_text, p_text
from zoo.comparison.configurations import Group
from zoo.comparison.quantities import BITS_PER_DIM, NLL, Quantity
from zoo.comparison.statistics import LEAST_SEEDS, LEVEL
from zoo.comparison.studies import Study

Inversion = tuple[Group, Group, float]  # better likelihood and larger distance than the second; adjusted p
TEST = (
    f"inverted pairs by two Welch tests each, the larger p, Holm-corrected, at {LEVEL:.0%}; the rank "
    "correlation decides nothing: one sure pair is enough for the sentence, and no correlation is against it"
)


@claim("Likelihood and sample quality need not agree.", order=170)
def likelihood_quality(study: Study) -> Evidence:
    distance = distance_of(study)
    if distance.quantity is None:
        yield Missing(needs="a distance between samples and data")
        return
    has_bits = any("bits_per_dim" in run.record.metrics for run in study.runs)
    likelihood = BITS_PER_DIM if has_bits else NLL
    kind, models = _largest_kind(study, likelihood)
    if len(models) < 4:
        needs = f"four or more models whose likelihoods are of one kind, {LEAST_SEEDS} finished seeds each"
        yield Missing(needs=needs)
        return
    likelihoods = [statistics.fmean(group.values(likelihood)) for group in models]
    distances = [statistics.fmean(distance.of(group)) for group in models]
    correlation = tests.spearman(likelihoods, distances)
    inversions = _inversions(models, likelihood, distance.quantity)
    sure = [inversion for inversion in inversions if inversion[2] < LEVEL]
    points = [(g.label, g.family, x, y) for g, x, y in zip(models, likelihoods, distances, strict=True)]
    yield Part(
        sentence=f"Over {len(models)} models of kind {kind} {likelihood.name} and {distance.name} have the "
        f"rank correlation {correlation.estimate:.2f} ({interval_text(correlation)}); "
        f"{_inversions_text(sure, inversions)}.",
        verdict=SUPPORTED if sure else UNDECIDED,
        test=TEST,
        n=f"{len(models)} models",
        outcome=correlation,
        p=min((inversion[2] for inversion in inversions), default=1.0),
        panel=Scatter(f"{likelihood.name} ({kind})", distance.name, points),
        runs=[run for group in models for run in group.finished],
    )


def _largest_kind(study: Study, likelihood: Quantity) -> tuple[str, list[Group]]:
    """Return the kind of likelihood that most models have, and these models."""
    distance, by_kind = distance_of(study), dict[str, list[Group]]()
    for group in study.baselines():
        kinds = group.kinds(likelihood.name)
        seeds = min(len(group.values(likelihood)), len(distance.of(group)))
        if len(kinds) == 1 and seeds >= LEAST_SEEDS:
            by_kind.setdefault(kinds.pop(), []).append(group)
    return max(by_kind.items(), key=lambda item: len(item[1]), default=("", []))


def _inversions(models: Sequence[Group], likelihood: Quantity, distance: Quantity) -> list[Inversion]:
    """Return the pairs whose first has the better likelihood and the worse samples, the surest first.

    The p of a pair is the larger one of its two tests, with Holm's correction over all pairs.
    """
    pairs: list[tuple[Group, Group] | None] = []
    ps = []
    for a, b in itertools.combinations(models, 2):
        nats = tests.welch(a.values(likelihood), b.values(likelihood))
        shared = [drawn_alike(group, distance, relative=True) for group in (a, b)]
        ratio = tests.ratio(tests.welch, a.values(distance), b.values(distance), shared=shared)
        inverted = (nats.estimate < 0) == (ratio.estimate > 1)
        tested = not math.isnan(nats.p + ratio.p)
        ps.append(max(nats.p, ratio.p) if inverted and tested else 1.0)
        ordered = (a, b) if nats.estimate < 0 else (b, a)
        pairs.append(ordered if inverted and tested else None)
    inversions = [(*pair, p) for pair, p in zip(pairs, tests.holm(ps), strict=True) if pair is not None]
    return sorted(inversions, key=lambda inversion: inversion[2])


def _inversions_text(sure: Sequence[Inversion], all_inversions: Sequence[Inversion]) -> str:
    shown = "; ".join(
        f"{a.label} has the better likelihood and the worse samples of {a.label} and {b.label} ({p_text(p)})"
        for a, b, p in sure[:3] or all_inversions[:1]
    )
    if sure:
        return f"{len(sure)} pairs are inverted: {shown}"
    return "no pair is inverted beyond doubt" + (f"; the surest: {shown}" if shown else "")
