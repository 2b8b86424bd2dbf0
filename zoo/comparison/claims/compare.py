"""Comparisons of two groups of runs by one number, as evidence for a claim."""

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
from zoo.comparison.power import FIRST_STAGE
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
    """Return the comparison of two groups by the ratio of a positive number.

    The ratio is the geometric mean over the seeds of ``a``, divided by that of ``b``. Its test is of the
    logarithms, see :func:`fitting_test`. Latencies are those of the runs that were timed on the same device.

    Args:
        a, b: the groups.
        measure: the number. A failed run counts as its ``worst``, if it has one.
        claimed: whether the number is lower or higher in ``a`` than in ``b`` according to the claim.
        decides: whether the claim depends on the result.
        by_seed: whether both groups have the same trainings, evaluated in two ways, such as with averaged
            weights and without. Then the two values of a seed are a pair, and seeds that only one side has
            are left out.
        alternatives: other measures of the same thing. The robustness of the verdict counts how many of them
            lead to the same one.

    Returns:
        The comparison; a :class:`Missing` in its place if a side has fewer than :data:`LEAST_SEEDS` seeds, or
        if a value is not above zero.
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
    """Return the seconds per sample of both sides, for each batch size above 1 at which both were timed."""
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
    """Return the fitting test of the ratio of two groups' positive numbers, and the name of the test.

    - Pairs: the t-test of the logarithms of their ratios.
    - Groups with failed runs: the rank test, since a failure has no logarithm but is worse than any number.
    - Other groups: Welch's t-test of the logarithms.

    Args:
        a, b: the numbers of each group.
        shared: for each group the variance of an error that all its logarithms have in common.
        worst: for each group an infinity, of the sign that is worse, for every run that failed.
        pairs: the two numbers of each training, if both groups have the same trainings; otherwise empty.
    """
    if pairs:
        return tests.ratio(tests.paired, *map(list, zip(*pairs, strict=True))), PAIRED
    logarithms = [list(map(math.log, sample)) for sample in (a, b)]
    if any(worst):
        ranked = tests.rank_test([*logarithms[0], *worst[0]], [*logarithms[1], *worst[1]])
        return tests.as_factor(ranked), f"{RANKS}; logarithms, a failed run has the worst rank"
    return tests.ratio(tests.welch, a, b, shared=shared), WELCH_OF_LOGARITHMS


def _spread(samples: Sequence[Sequence[float]]) -> float | None:
    """Return the largest standard deviation of the samples, over their first seeds; None for a single seed.

    From it follows how many seeds the two-stage rule asks for. Only the first :data:`~.power.FIRST_STAGE`
    seeds count, so that the number stays the same when the seeds that it asks for have been run.
    """
    first = [sample[:FIRST_STAGE] for sample in samples]
    return max(map(statistics.stdev, first)) if min(map(len, first)) > 1 else None


def _of_common_seeds(a: Group, b: Group) -> tuple[Group, Group]:
    """Return two groups without the seeds that only one has; unchanged if both have too few in common."""
    seeds = {run.record.seed for run in a.runs} & {run.record.seed for run in b.runs}
    if len(seeds) < LEAST_SEEDS:
        return a, b
    one, other = (
        Group(group.model, [run for run in group.runs if run.record.seed in seeds], group.label)
        for group in (a, b)
    )
    return one, other


def _pairs(a: Group, b: Group, measure: Measure) -> list[tuple[float, float]]:
    """Return the two values of each seed that both groups have; an empty list if these are too few."""
    one, other = measure.by_seed(a), measure.by_seed(b)
    pairs = [(one[seed], other[seed]) for seed in sorted(one.keys() & other.keys())]
    return pairs if len(pairs) >= LEAST_SEEDS else []


def compare_unbiased(study: Study, a: Group, b: Group) -> Part | Missing:
    """Return the comparison of two groups by the difference of their distances to the data.

    It is meant for a distance that is estimated without bias. For a very good model such estimates scatter
    about zero, and those below it have no logarithm, so that no ratio can be tested. If runs failed, ranks
    are tested, and a failed run has the worst one. The part's verdict is left *undecided*: the claim that
    uses it draws its own verdict from the outcome.
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
    """Return the comparison of two groups by the ratio of their samples' distances to the data.

    Args:
        study: the runs.
        a, b: the configurations.
        claimed, decides, by_seed: see :func:`compare`.
        alternatives: see :func:`compare`. The study's other measures of the distance, such as KID, are added.
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
    """Return the comparison of two sides by their distances, each side at its own best learning rate.

    Args:
        study: the runs.
        sides: what :func:`~zoo.comparison.claims.sides.at_best_rates` returns. Other parts of the claim must
            be measured on the same sides.
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
    """Return a measurement with a remark after its sentence; a missing one is returned unchanged."""
    return replace(part, sentence=part.sentence + remark) if isinstance(part, Part) else part


def _alternatives(
    study: Study, a: Group, b: Group, distance: Quantity, claimed: Direction
) -> list[Alternative]:
    """Return the other distances that both sides have, such as KID or one in another network's features.

    They include the distance extrapolated to infinitely many samples, unless the verdict itself rests on it.
    Other runs of the study need not have them.
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
    """Return the comparison of two groups by the difference of their test losses.

    The unit is bits/dim, and nats for data that are not images. Ranks are tested if a run failed, or if a
    seed's loss lies far above the others (:func:`~.statistics.heavy`), since such losses have no mean. The
    test is Welch's t-test otherwise, and its error includes that of the common test examples.

    Returns:
        The comparison; a :class:`Missing` in its place if the likelihoods are of different kinds (an exact
        value cannot be compared with a bound), or if a side has fewer than :data:`LEAST_SEEDS` seeds.
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
    # With fewer seeds no ranks are significant. Welch's test is kept, whose interval the tail makes so wide
    # that it does not decide either.
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
    """Return tests of the same likelihood in which the worst test examples count little or not at all.

    Empty if the records do not hold the losses of single examples.
    """
    ours, theirs = (without_tail(group, likelihood) for group in (a, b))
    return [
        Alternative(name, ours[name], theirs[name], claimed, TAIL)
        for name in ours
        if name in theirs and min(len(ours[name]), len(theirs[name])) >= LEAST_SEEDS
    ]


def _remark_on_unlearned(study: Study, a: Group, b: Group) -> str:
    """Return a remark if the samples of both sides are far from the data; otherwise an empty text."""
    far = [relative_distance(study, group) for group in (a, b)]
    if not all(distance > UNLEARNED for distance in far):
        return ""
    return (
        f" Both are collapsed, {far[0]:.0f} and {far[1]:.0f} times as far as real examples: the "
        "test has no power to say what it does to a generator that learns."
    )
