"""Tests of one number between two groups of runs, as parts of a claim's verdict."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from zoo.comparison import statistics as tests
from zoo.comparison.claims.evidence import Direction, Missing, Part, judge
from zoo.comparison.claims.measure import (
    LATENCY,
    Measure,
    by_batch,
    distance_of,
    drawn_alike,
    failed,
    in_turns,
    load_text,
    of_examples,
    of_test_images,
    other_distances,
    timed_alike,
    without_tail,
)
from zoo.comparison.claims.panels import Dots, rows
from zoo.comparison.claims.robustness import ANOTHER_RATE, Alternative, variants
from zoo.comparison.claims.sides import Sides
from zoo.comparison.claims.wording import failures_text, interval_text, mean_text, times_text
from zoo.comparison.configurations import Group
from zoo.comparison.guards import UNLEARNED, relative_distance
from zoo.comparison.quantities import BITS_PER_DIM, NLL, Quantity
from zoo.comparison.statistics import LEAST_SEEDS, LEVEL, Outcome
from zoo.comparison.studies import Study
from zoo.comparison.tables import number

TWO_SIDED = f"two-sided at {LEVEL:.0%}, at least {LEAST_SEEDS} seeds a side"
WELCH = f"Welch's t, {TWO_SIDED}"
OF_EXAMPLES = "; the error includes that of the test examples, which are paired"
WELCH_OF_LOGARITHMS = f"Welch's t on logarithms, {TWO_SIDED}"
PAIRED = f"paired t on logarithms (one training, read out in two ways), two-sided at {LEVEL:.0%}"
NOT_RETIMED = "not re-timed"  # by zoo time: each run timed itself, beside whatever else ran
RANKS = f"exact rank-sum test, {TWO_SIDED}"
# Kinds of variants, see Variant.kind.
ANOTHER_BATCH = "another batch size"
TAIL = "tail of the examples"


def compare(
    a: Group,
    b: Group,
    measure: Measure,
    claimed: Direction,
    decides: bool = True,
    *,
    by_seed: bool = False,
    alternatives: Sequence[Alternative] = (),
) -> Part | Missing:
    """Return the test of how many times as large a positive number is in group ``a`` as in group ``b``.

    The effect is the ratio of geometric means over the seeds; its test is of the logarithms, see
    :func:`fitting_test`. Of latencies only runs that were timed on the same device are compared. A
    :class:`Missing` is returned in place of the test if a side has fewer than :data:`LEAST_SEEDS` seeds, or
    if a value is not above zero.

    Args:
        a, b: the groups.
        measure: the number; a failed run counts as its ``worst``, if it has one.
        claimed: the direction in which ``a`` differs from ``b`` by the claim.
        decides: whether the claim depends on the result.
        by_seed: whether runs of one seed are one training, read out in two ways: then they are pairs, and
            seeds that one side alone has are left out.
        alternatives: other measures of the same thing; whether they give the same verdict is a part of its
            robustness.
    """
    if measure is LATENCY:
        a, b = timed_alike(a, b)
    if by_seed:
        a, b = _of_common_seeds(a, b)
    samples = [measure.of(a), measure.of(b)]
    positive = [[value for value in sample if value > 0] for sample in samples]
    lost = [measure.failed(group) for group in (a, b)]
    sizes = [len(sample) + n for sample, n in zip(positive, lost, strict=True)]
    short = [group.label for group, size in zip((a, b), sizes, strict=True) if size < LEAST_SEEDS]
    if short or not any(positive):
        needs = f"{measure.name} of {' and '.join(short or (a.label, b.label))}, {LEAST_SEEDS} finished seeds"
        return Missing(needs=needs + " on one device" * (measure is LATENCY), decides=decides)
    if positive != samples:
        return Missing(needs=f"positive values of {measure.name}", decides=decides)
    shared = [drawn_alike(group, measure.quantity, relative=True) for group in (a, b)]
    pairs = _pairs(a, b, measure) if by_seed and not any(lost) else []
    worst = [[measure.worst] * n for n in lost] if measure.worst is not None else [[], []]
    outcome, test = fitting_test(*samples, shared=shared, worst=worst, pairs=pairs)
    texts = [mean_text(sample) + measure.unit if sample else "no value" for sample in samples]
    alone, remark = False, ""
    if measure is LATENCY:
        alone = not in_turns(a, b)
        remark = f" {NOT_RETIMED.capitalize()}: each run timed itself." if alone else load_text(a, b)
        alternatives = [*alternatives, *_other_batches(a, b, claimed)]
    return Part(
        sentence=f"{measure.heading}: {a.label} {texts[0]}, {b.label} {texts[1]} ({times_text(outcome)})."
        + "".join(failures_text(g.label, n, len(g.runs)) for g, n in zip((a, b), lost, strict=True))
        + remark,
        verdict=judge(outcome, claimed, than=1.0),
        test=test,
        n=f"{len(pairs)} pairs" if pairs else f"{sizes[0]} and {sizes[1]}",
        outcome=outcome,
        p=outcome.p,
        unit="factor",
        name=measure.name,
        spread=_spread(
            [[math.log(one / other) for one, other in pairs]]
            if pairs
            else [list(map(math.log, x)) for x in samples]
        ),
        seeds=len(pairs) or min(sizes),
        paired=bool(pairs),
        variants=lambda: variants(
            measure.by_seed(a),
            measure.by_seed(b),
            claimed,
            shared,
            worst,
            bool(pairs),
            alternatives,
            of_test_images=of_test_images(a, b, measure.quantity),
        ),
        panel=Dots(measure.axis, rows((a, b), samples), log=True) if all(samples) else None,
        runs=a.finished + b.finished,
        decides=decides,
        caution=NOT_RETIMED * alone,
    )


def _other_batches(a: Group, b: Group, claimed: Direction) -> list[Alternative]:
    """Return both sides' seconds per sample at each batch size above 1 at which both were timed."""
    ours, theirs = by_batch(a), by_batch(b)
    return [
        Alternative(f"batches of {size}", ours[size], theirs[size], claimed, ANOTHER_BATCH)
        for size in sorted(ours.keys() & theirs.keys())
        if min(len(ours[size]), len(theirs[size])) >= LEAST_SEEDS
    ]


def fitting_test(
    a: Sequence[float],
    b: Sequence[float],
    *,
    shared: Sequence[float] = (0.0, 0.0),
    worst: Sequence[Sequence[float]] = ((), ()),
    pairs: Sequence[tuple[float, float]] = (),
) -> tuple[Outcome, str]:
    """Return the test of the ratio of two groups' positive numbers, and the name of the test.

    There are three tests. Pairs are compared by the t-test of the logarithms of their ratios. Where runs
    failed, ranks are compared, since a failure has no logarithm but is worse than any number. Everything
    else is Welch's t-test of the logarithms.

    Args:
        a, b: the numbers of each group.
        shared: of each group the variance of an error that all its logarithms have in common.
        worst: of each group an infinity for every run that failed.
        pairs: the numbers of both groups, where each two are read-outs of one training; else empty.
    """
    if pairs:
        return tests.ratio(tests.paired, *map(list, zip(*pairs, strict=True))), PAIRED
    logarithms = [list(map(math.log, sample)) for sample in (a, b)]
    if any(worst):
        ranked = tests.rank_test([*logarithms[0], *worst[0]], [*logarithms[1], *worst[1]])
        return tests.as_factor(ranked), f"{RANKS}; logarithms, a failed run has the worst rank"
    return tests.ratio(tests.welch, a, b, shared=shared), WELCH_OF_LOGARITHMS


def _spread(samples: Sequence[Sequence[float]]) -> float | None:
    """Return the larger standard deviation over the first seeds of each sample; None for a single seed.

    The two-stage rule asks for more seeds by it. It is of the first :data:`~.statistics.FIRST_STAGE` seeds
    alone, so that seeds which were run because of it do not change what it asked for.
    """
    first = [sample[: tests.FIRST_STAGE] for sample in samples]
    return max(map(statistics.stdev, first)) if min(map(len, first)) > 1 else None


def _of_common_seeds(a: Group, b: Group) -> tuple[Group, Group]:
    """Return two groups with the runs of those seeds alone that both have; unchanged if these are too few."""
    seeds = {run.record.seed for run in a.runs} & {run.record.seed for run in b.runs}
    if len(seeds) < LEAST_SEEDS:
        return a, b
    one, other = (
        Group(group.model, [run for run in group.runs if run.record.seed in seeds], group.label)
        for group in (a, b)
    )
    return one, other


def _pairs(a: Group, b: Group, measure: Measure) -> list[tuple[float, float]]:
    """Return the values of the seeds that both groups have; none if these are too few."""
    one, other = measure.by_seed(a), measure.by_seed(b)
    pairs = [(one[seed], other[seed]) for seed in sorted(one.keys() & other.keys())]
    return pairs if len(pairs) >= LEAST_SEEDS else []


def compare_unbiased(study: Study, a: Group, b: Group) -> Part | Missing:
    """Return the test of the difference of two groups' distances to the data, in the unit of the distance.

    For an unbiased distance: where a model is very good, its estimates lie about zero and may be below it, so
    that they have no logarithms and no ratio. If runs failed, ranks are compared, and a failed run has the
    worst one. The part has no verdict of its own: the sentence that asks for it draws one.
    """
    distance = distance_of(study)
    samples = [distance.of(group) for group in (a, b)]
    lost = [distance.failed(group) for group in (a, b)]
    sizes = [len(sample) + n for sample, n in zip(samples, lost, strict=True)]
    if not all(samples) or min(sizes) < LEAST_SEEDS:
        return Missing(needs=f"{distance.name} of {a.label} and {b.label}, {LEAST_SEEDS} finished seeds each")
    shared = [drawn_alike(group, distance.quantity) for group in (a, b)]
    worst = [[math.inf] * n for n in lost]
    if any(lost):
        outcome, test = tests.rank_test(samples[0] + worst[0], samples[1] + worst[1]), RANKS
    else:
        outcome, test = tests.welch(samples[0], samples[1], shared), WELCH
    return Part(
        sentence=f"{distance.heading}: {a.label} {mean_text(samples[0])}, {b.label} {mean_text(samples[1])} "
        f"(difference {number(outcome.estimate)}, {interval_text(outcome)})."
        + "".join(failures_text(g.label, n, len(g.runs)) for g, n in zip((a, b), lost, strict=True)),
        test=test,
        n=f"{sizes[0]} and {sizes[1]}",
        outcome=outcome,
        p=outcome.p,
        variants=lambda: variants(
            distance.by_seed(a),
            distance.by_seed(b),
            "lower",
            shared,
            worst,
            alternatives=[]
            if distance.quantity is None
            else _alternatives(study, a, b, distance.quantity, "lower"),
            log=False,
        ),
        panel=Dots(distance.axis, rows((a, b), samples)),
        runs=a.finished + b.finished,
    )


def compare_distance(
    study: Study,
    a: Group,
    b: Group,
    claimed: Direction = "lower",
    decides: bool = True,
    *,
    by_seed: bool = False,
    alternatives: Sequence[Alternative] = (),
) -> Part | Missing:
    """Return the test of how many times as far from the data the samples of ``a`` are as those of ``b``.

    Args:
        study: the runs.
        a, b: the configurations.
        claimed, decides, by_seed, alternatives: see :func:`compare`; other measures of the distance, such as
            KID, are added to the alternatives.
    """
    measure = distance_of(study)
    others = [] if measure.quantity is None else _alternatives(study, a, b, measure.quantity, claimed)
    part = compare(a, b, measure, claimed, decides, by_seed=by_seed, alternatives=[*alternatives, *others])
    if isinstance(part, Part):
        part = replace(part, sentence=part.sentence + _remark_on_unlearned(study, a, b))
    return part


def compare_tuned(
    study: Study, sides: Sides, claimed: Direction = "lower", decides: bool = True
) -> Part | Missing:
    """Return the comparison of distances of two sides, each at its own best learning rate.

    Args:
        study: the runs.
        sides: from :func:`~zoo.comparison.claims.sides.at_best_rates`. What a claim reports beside this
            comparison must be measured on the same sides.
        claimed, decides: see :func:`compare`.
    """
    distance = distance_of(study)
    rates = [
        Alternative(ANOTHER_RATE, distance.by_seed(one), distance.by_seed(other), claimed)
        for one, other in sides.tied
    ]
    rates = [rate for rate in rates if min(len(rate.a), len(rate.b)) >= LEAST_SEEDS]
    part = compare_distance(study, sides.a, sides.b, claimed, decides, alternatives=rates)
    return with_remark(sides.remark, part)


def with_remark(remark: str, part: Part | Missing) -> Part | Missing:
    """Return a measurement with a remark added to its sentence; a missing one is returned unchanged."""
    return replace(part, sentence=part.sentence + remark) if isinstance(part, Part) else part


def _alternatives(
    study: Study, a: Group, b: Group, distance: Quantity, claimed: Direction
) -> list[Alternative]:
    """Return the other distances that both sides have, such as KID or one in another network's features.

    Whether they lead to the same verdict is a part of its robustness. They include the distance extrapolated
    to infinitely many samples, unless the verdict itself rests on it. Only the runs of these two sides need
    to have a distance; whether other runs of the study have it does not matter.
    """
    alternatives = []
    for other in other_distances(study, distance):
        one, two = other.by_seed(a), other.by_seed(b)
        if min(len(one), len(two)) >= LEAST_SEEDS:
            direction = opposite(claimed) if other.more_is_nearer else claimed
            alternatives.append(Alternative(other.name, one, two, direction, other.kind))
    return alternatives


def opposite(direction: Direction) -> Direction:
    """Return the opposite of a direction: "higher" for "lower", and the reverse."""
    return "higher" if direction == "lower" else "lower"


def compare_likelihood(a: Group, b: Group, claimed: Direction, decides: bool = True) -> Part | Missing:
    """Return the test of the difference of two groups' test losses, in bits/dim, or in nats without pixels.

    A :class:`Missing` is returned in its place if the likelihoods are not of one kind (an exact value cannot
    be compared with a bound), or if a side has fewer than :data:`LEAST_SEEDS` seeds. Where a seed's loss lies
    far above the others (:func:`~.statistics.heavy`) or a run failed, ranks are compared, since such losses
    have no mean. Otherwise the error includes that of the common test examples.
    """
    if not a.runs or not b.runs:
        return Missing(needs="the likelihood of both models", decides=decides)
    likelihood = BITS_PER_DIM if a.values(BITS_PER_DIM) else NLL
    kinds = a.kinds(likelihood.name) | b.kinds(likelihood.name)
    if len(kinds) > 1:
        needs = f"likelihoods of one kind ({a.label} and {b.label}: {', '.join(sorted(kinds))})"
        return Missing(needs=needs, decides=decides)
    samples = [group.values(likelihood) for group in (a, b)]
    lost = [len(failed(group, likelihood)) for group in (a, b)]
    sizes = [len(sample) + n for sample, n in zip(samples, lost, strict=True)]
    short = [group.label for group, size in zip((a, b), sizes, strict=True) if size < LEAST_SEEDS]
    if short or not all(samples):
        needs = f"likelihood of {' and '.join(short or (a.label, b.label))}, {LEAST_SEEDS} finished seeds"
        return Missing(needs=needs, decides=decides)
    # with fewer seeds ranks cannot decide, and the tail's own spread keeps Welch's test from deciding
    ranks_can_decide = tests.least_rank_p(sizes[0], sizes[1]) < LEVEL
    if any(lost) or (ranks_can_decide and tests.heavy(*samples)):
        whole = [[*sample, *[math.inf] * n] for sample, n in zip(samples, lost, strict=True)]
        outcome, test = tests.rank_test(*whole), f"{RANKS}; a failed run has the worst rank"
    else:
        shared = of_examples(a, b, likelihood)
        outcome, test = (
            tests.welch(samples[0], samples[1], shared=(shared, 0.0)),
            WELCH + OF_EXAMPLES * bool(shared),
        )
    measure = Measure(likelihood, likelihood.name)
    return Part(
        sentence=f"Test likelihood ({kinds.pop()}): {a.label} {mean_text(samples[0])}, "
        f"{b.label} {mean_text(samples[1])} {likelihood.unit} "
        f"(difference {number(outcome.estimate)}, {interval_text(outcome)}; lower is better)."
        + "".join(failures_text(g.label, n, len(g.runs)) for g, n in zip((a, b), lost, strict=True)),
        verdict=judge(outcome, claimed),
        test=test,
        n=f"{sizes[0]} and {sizes[1]}",
        outcome=outcome,
        p=outcome.p,
        unit=likelihood.unit,
        name="likelihood",
        spread=_spread(samples),
        seeds=min(sizes),
        variants=lambda: variants(
            measure.by_seed(a),
            measure.by_seed(b),
            claimed,
            (0.0, 0.0),
            [[math.inf] * n for n in lost],
            alternatives=_without_tails(a, b, likelihood, claimed),
            log=False,
        ),
        panel=Dots(likelihood.unit, rows((a, b), samples)),
        runs=a.finished + b.finished,
        decides=decides,
    )


def _without_tails(a: Group, b: Group, likelihood: Quantity, claimed: Direction) -> list[Alternative]:
    """Return both sides' losses with less weight on the worst test examples, if records allow it."""
    ours, theirs = (without_tail(group, likelihood) for group in (a, b))
    return [
        Alternative(name, ours[name], theirs[name], claimed, TAIL)
        for name in ours
        if name in theirs and min(len(ours[name]), len(theirs[name])) >= LEAST_SEEDS
    ]


def _remark_on_unlearned(study: Study, a: Group, b: Group) -> str:
    """Return a remark if neither side came anywhere near the distance of real examples."""
    far = [relative_distance(study, group) for group in (a, b)]
    if not all(distance > UNLEARNED for distance in far):
        return ""
    return (
        f" Both are collapsed, {far[0]:.0f} and {far[1]:.0f} times as far as real examples: the "
        "test has no power to say what it does to a generator that learns."
    )
