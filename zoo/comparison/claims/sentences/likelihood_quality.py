"""Pairs of models of which one has the better likelihood and the worse samples."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence

from zoo.comparison import statistics as tests
from zoo.comparison.claims.evidence import SUPPORTED, UNDECIDED, Evidence, Missing, Part, Variant, claim
from zoo.comparison.claims.measure import (
    Measure,
    distance_of,
    drawn_alike,
    of_examples,
    of_test_images,
    other_distances,
)
from zoo.comparison.claims.panels import Scatter
from zoo.comparison.claims.robustness import ANOTHER_TEST, SEED_OUT
from zoo.comparison.claims.wording import interval_text, p_text
from zoo.comparison.configurations import Group
from zoo.comparison.quantities import BITS_PER_DIM, NLL, Quantity
from zoo.comparison.statistics import LEAST_SEEDS, LEVEL
from zoo.comparison.studies import Study

Inversion = tuple[Group, Group, float]  # better likelihood and larger distance than the second; adjusted p
LEAST_MODELS = 4  # of a study that the claim is about
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
    quantity = distance.quantity
    has_bits = any("bits_per_dim" in run.record.metrics for run in study.runs)
    likelihood = BITS_PER_DIM if has_bits else NLL
    by_kind = _by_kind(study, likelihood)
    pairs = [pair for models in by_kind.values() for pair in itertools.combinations(models, 2)]
    if sum(map(len, by_kind.values())) < LEAST_MODELS:
        yield Missing(
            needs=f"{LEAST_MODELS} models, two or more of each kind of likelihood, {LEAST_SEEDS} finished "
            "seeds each"
        )
        return
    inversions = _inversions(pairs, likelihood, distance.by_seed, shared=distance.quantity)
    sure = [inversion for inversion in inversions if inversion[2] < LEVEL]
    kind, models = max(by_kind.items(), key=lambda item: len(item[1]))
    means = [
        (group, statistics.fmean(group.values(likelihood)), statistics.fmean(distance.of(group)))
        for group in models
    ]
    kinds = ", ".join(f"{len(group)} {name}" for name, group in by_kind.items())
    yield Part(
        sentence=f"Of {len(pairs)} pairs of models whose {likelihood.name} are of one kind ({kinds}), "
        f"{_inversions_text(sure, inversions)}.{_correlation_text(kind, means, distance.name)}",
        verdict=SUPPORTED if sure else UNDECIDED,
        test=TEST,
        brief=f"pairs of models inverted beyond doubt: {len(sure)} of {len(pairs)}",
        n=f"{sum(map(len, by_kind.values()))} models",
        p=min((inversion[2] for inversion in inversions), default=1.0),
        variants=lambda: _variants(study, pairs, likelihood, quantity, sure),
        panel=Scatter(
            f"{likelihood.name} ({kind})", distance.name, [(g.label, g.family, x, y) for g, x, y in means]
        ),
        runs=[run for models in by_kind.values() for group in models for run in group.finished],
    )


def _correlation_text(kind: str, means: Sequence[tuple[Group, float, float]], distance: str) -> str:
    """Return the rank correlation over the models of the commonest kind as a sentence; empty below four."""
    if len(means) < 4:
        return ""
    correlation = tests.spearman([x for _, x, _ in means], [y for _, _, y in means])
    return (
        f" Beside it: over the {len(means)} models of kind {kind} likelihood and {distance} have the rank "
        f"correlation {correlation.estimate:.2f} ({interval_text(correlation)})."
    )


def _by_kind(study: Study, likelihood: Quantity) -> dict[str, list[Group]]:
    """Return the models with enough seeds by the kind of their likelihood, the commonest kind first.

    Only likelihoods of one kind are compared, so that a kind with a single model is left out.
    """
    distance, by_kind = distance_of(study), dict[str, list[Group]]()
    for group in study.baselines():
        kinds = group.kinds(likelihood.name)
        seeds = min(len(group.values(likelihood)), len(distance.of(group)))
        if len(kinds) == 1 and seeds >= LEAST_SEEDS:
            by_kind.setdefault(kinds.pop(), []).append(group)
    several = {kind: models for kind, models in by_kind.items() if len(models) > 1}
    return dict(sorted(several.items(), key=lambda item: (-len(item[1]), item[0])))


def _variants(
    study: Study,
    pairs: Sequence[tuple[Group, Group]],
    likelihood: Quantity,
    distance: Quantity,
    sure: Sequence[Inversion],
) -> list[Variant]:
    """Return the p-value of the surest inversion by other tests.

    An inversion is a pair of models, one with the better likelihood and the worse samples. The other tests
    compare distances instead of their logarithms, leave out each seed in turn, allow for other test images,
    or take another measure of the distance. Each time Holm's correction is over all pairs, and of the
    corrected p-values those of the pairs in ``sure`` count, or all if ``sure`` is empty. Further tests leave
    out each model in turn; there any pair that is left counts.

    Args:
        study: the runs.
        pairs: pairs of models whose likelihoods can be compared.
        likelihood: the likelihood that is compared.
        distance: the deciding measure of the distance.
        sure: the inversions that are significant in the deciding test.
    """
    known = {frozenset((a.model, b.model)) for a, b, _ in sure}

    def surest(inversions: Sequence[Inversion], of_any: bool = False) -> float:
        kept = [p for a, b, p in inversions if of_any or not known or {a.model, b.model} in known]
        return min(kept, default=1.0)

    def values(group: Group) -> Mapping[int, float]:
        return Measure(distance, distance.name).by_seed(group)

    found = [("raw values", ANOTHER_TEST, surest(_inversions(pairs, likelihood, values, log=False)))]
    for seed in sorted({run.record.seed for pair in pairs for group in pair for run in group.finished}):
        left = [(_without(a, seed), _without(b, seed)) for a, b in pairs]
        inversions = _inversions(left, likelihood, values, shared=distance)
        found.append((SEED_OUT, "", surest(inversions)))
    # this test needs the error of the test images, which older records lack
    if any(of_test_images(a, b, distance) for a, b in pairs):
        inversions = _inversions(pairs, likelihood, values, shared=distance, redrawn=True)
        found.append(("other test images", "", surest(inversions)))
    for other in other_distances(study, distance):
        inversions = _inversions(pairs, likelihood, other.by_seed, sign=-1 if other.more_is_nearer else 1)
        found.append((other.name, other.kind, surest(inversions)))
    for model in {group.model: group for pair in pairs for group in pair}:
        rest = [pair for pair in pairs if model not in (pair[0].model, pair[1].model)]
        inversions = _inversions(rest, likelihood, values, shared=distance)
        found.append(("a model left out", "", surest(inversions, of_any=True)))
    # only the sign of the estimate counts: 1.0, since every inversion supports the claim
    return [
        Variant(name, tests.Outcome(1.0, math.nan, math.nan, p), "higher", kind) for name, kind, p in found
    ]


def _without(group: Group, seed: int) -> Group:
    return Group(group.model, [run for run in group.runs if run.record.seed != seed], group.label)


def _inversions(
    of_one_kind: Sequence[tuple[Group, Group]],
    likelihood: Quantity,
    distances: Callable[[Group], Mapping[int, float]],
    *,
    shared: Quantity | None = None,
    sign: int = 1,
    log: bool = True,
    redrawn: bool = False,
) -> list[Inversion]:
    """Return the pairs of which the first model has the better likelihood and the worse samples.

    A pair has two tests, of the difference of likelihoods and of the ratio of distances. Both have to hold,
    so the larger p counts, after Holm's correction over all pairs. The surest pair comes first.

    Args:
        of_one_kind: pairs of models whose likelihoods can be compared.
        likelihood: the likelihood that is compared.
        distances: returns a model's distances by seed.
        shared: the distance, of which the test includes the errors that all seeds share; None: it leaves them
            out.
        sign: 1 if a larger distance is worse, -1 if it is better.
        log: whether distances are compared by their ratio; where a value of a pair is not above zero, they
            are compared by their difference.
        redrawn: whether the error of the ratio includes that of the test images, where the records have it.
    """
    pairs: list[tuple[Group, Group] | None] = []
    ps = []
    for a, b in of_one_kind:
        sides = [list(distances(group).values()) for group in (a, b)]
        if min(map(len, sides)) < 2:
            pairs.append(None)
            ps.append(1.0)
            continue
        examples = of_examples(a, b, likelihood)
        nats = tests.welch(a.values(likelihood), b.values(likelihood), shared=(examples, 0.0))
        positive = log and min(map(min, sides)) > 0
        errors = [drawn_alike(group, shared, relative=positive) for group in (a, b)]
        errors[0] += of_test_images(a, b, shared) if redrawn else 0.0
        far = (
            tests.ratio(tests.welch, *sides, shared=errors)
            if positive
            else tests.welch(sides[0], sides[1], errors)
        )
        worse = sign * (far.estimate - (1.0 if positive else 0.0)) > 0
        inverted = (nats.estimate < 0) == worse
        tested = not math.isnan(nats.p + far.p)
        ps.append(max(nats.p, far.p) if inverted and tested else 1.0)
        ordered = (a, b) if nats.estimate < 0 else (b, a)
        pairs.append(ordered if inverted and tested else None)
    inversions = [(*pair, p) for pair, p in zip(pairs, tests.holm(ps), strict=True) if pair is not None]
    return sorted(inversions, key=lambda inversion: inversion[2])


def _inversions_text(sure: Sequence[Inversion], all_inversions: Sequence[Inversion]) -> str:
    """Return how many pairs are surely inverted, with up to three of them, or else the surest one."""
    shown = "; ".join(
        f"{a.label} has the better likelihood and the worse samples of {a.label} and {b.label} ({p_text(p)})"
        for a, b, p in sure[:3] or all_inversions[:1]
    )
    if sure:
        return f"{len(sure)} are inverted beyond doubt: {shown}"
    return "none is inverted beyond doubt" + (f"; the surest: {shown}" if shown else "")
