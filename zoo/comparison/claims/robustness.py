"""Other reasonable tests of a comparison, by which the robustness of its verdict is counted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zoo.comparison import statistics as tests
from zoo.comparison.claims.evidence import Direction, Variant
from zoo.comparison.statistics import LEVEL, Outcome

# Kinds of variants, see Variant.kind.
ANOTHER_TEST = "another test"  # of the same values
SEED_OUT = "a seed left out"
ANOTHER_RATE = "another learning rate"


@dataclass(frozen=True)
class Alternative:
    """Other values for the same comparison, from another measure or from other runs.

    Attributes:
        name: what differs from the values that decide.
        a, b: the values of each side, by seed.
        claimed: whether ``a`` is lower or higher than ``b`` according to the claim.
        kind: kind of the variant (:attr:`.Variant.kind`); by default the name.
    """

    name: str
    a: Mapping[int, float]
    b: Mapping[int, float]
    claimed: Direction
    kind: str = ""


def variants(
    a: Mapping[int, float],
    b: Mapping[int, float],
    claimed: Direction,
    shared: Sequence[float],
    worst: Sequence[Sequence[float]] = ((), ()),
    paired: bool = False,
    alternatives: Sequence[Alternative] = (),
    *,
    log: bool = True,
    of_test_images: float = 0.0,
) -> list[Variant]:
    """Return other tests of the effect that the deciding test is about, each with its name.

    They are the test on the other scale (raw values for logarithms, or back), ranks (signed ones of pairs),
    pairs of equal seeds, the deciding test without a seed in every way to leave one out, the deciding test
    for other test images, and other measures on the deciding test's scale. A verdict that many of them do not
    give hangs on the choice of the test.

    Args:
        a, b: the values of each side, by seed.
        claimed: whether ``a`` is lower or higher than ``b`` according to the claim.
        shared: variances that the values of a side have in common, see :func:`.statistics.welch`.
        worst: of each side an infinity for every run that failed; only the rank test can take them.
        paired: whether the deciding test is that of pairs.
        alternatives: other measures of the same thing.
        log: whether the deciding test is of logarithms, so that its effect is a factor.
        of_test_images: variance of the effect (of its logarithm) over draws of the test images, with which
            all runs of both sides were judged and which the spread over seeds leaves out; 0: not known.
    """
    values = [list(side.values()) for side in (a, b)]
    pairs = [(a[seed], b[seed]) for seed in sorted(a.keys() & b.keys())]
    outcomes: list[tuple[str, Outcome, str]] = []
    if min(map(len, values)) >= 2:
        sides = [list(side) for side in zip(*pairs, strict=True)] if paired else values
        if log or min(map(min, sides)) > 0:
            other = _paired(pairs, not log) if paired else _test(sides, (0.0, 0.0), not log)
            outcomes.append(("raw values" if log else "logarithms", other, ANOTHER_TEST))
        for left in _left_out(values, pairs, paired):
            again = _paired(list(zip(*left, strict=True)), log) if paired else _test(left, shared, log)
            outcomes.append((SEED_OUT, again, ""))
        if paired:
            outcomes.append(("unpaired", _test(values, shared, log), ANOTHER_TEST))
        if of_test_images > 0:
            redrawn = (shared[0] + of_test_images, *shared[1:])
            again = _paired(pairs, log, (of_test_images,)) if paired else _test(values, redrawn, log)
            outcomes.append(("other test images", again, ""))
    ranks = _ranks(pairs, values, worst, paired, log)
    if ranks is not None:
        outcomes.append(("ranks", ranks, ANOTHER_TEST))
    if not paired and len(pairs) >= 3:
        outcomes.append(("pairs by seed", _paired(pairs, log), ANOTHER_TEST))
    return [
        *(Variant(name, outcome, claimed, kind) for name, outcome, kind in outcomes),
        *(Variant(one.name, _alternative(one, paired, log), one.claimed, one.kind) for one in alternatives),
    ]


def _ranks(
    pairs: Sequence[tuple[float, float]],
    values: Sequence[list[float]],
    worst: Sequence[Sequence[float]],
    paired: bool,
    log: bool,
) -> Outcome | None:
    """Return the test of ranks, of signed ones for pairs; None if it cannot decide for so few values."""
    scale = math.log if log else float
    if paired:
        if not tests.least_signed_rank_p(len(pairs)) < LEVEL:
            return None
        outcome = tests.signed_rank_test(*([scale(x) for x in side] for side in zip(*pairs, strict=True)))
    else:
        ranked = [[*map(scale, side), *lost] for side, lost in zip(values, worst, strict=True)]
        if not tests.least_rank_p(*map(len, ranked)) < LEVEL:
            return None
        outcome = tests.rank_test(*ranked)
    return tests.as_factor(outcome) if log else outcome


def _left_out(
    values: Sequence[list[float]], pairs: Sequence[tuple[float, float]], paired: bool
) -> list[Sequence[list[float]]]:
    """Return both sides without one value each, in every way; of pairs, without one of them."""
    if paired:
        fewer = [[*pairs[:i], *pairs[i + 1 :]] for i in range(len(pairs))]
        return [[[x for x, _ in few], [y for _, y in few]] for few in fewer]
    without = [[[*side[:i], *side[i + 1 :]] for i in range(len(side))] for side in values]
    return [[one, other] for one in without[0] for other in without[1] if min(len(one), len(other)) > 1]


def _test(sides: Sequence[Sequence[float]], shared: Sequence[float], log: bool) -> Outcome:
    if log:
        return tests.ratio(tests.welch, *sides, shared=shared)
    return tests.welch(sides[0], sides[1], shared)


def _paired(pairs: Sequence[tuple[float, float]], log: bool, shared: Sequence[float] = (0.0,)) -> Outcome:
    """Return the t-test of pairs; ``shared``: variance of an error that all their differences share."""
    if log:
        return tests.as_factor(tests.mean_of([math.log(a) - math.log(b) for a, b in pairs], shared=shared))
    return tests.mean_of([a - b for a, b in pairs], shared=shared)


def _alternative(one: Alternative, paired: bool, log: bool) -> Outcome:
    """Return the test of another measure, made like the deciding one: of pairs, of logarithms.

    A measure that has no logarithm, since a value is not above zero, is tested as it is.
    """
    common = sorted(one.a.keys() & one.b.keys())
    log = log and min([*one.a.values(), *one.b.values()]) > 0
    if paired and len(common) >= 2:
        return _paired([(one.a[seed], one.b[seed]) for seed in common], log)
    return _test([list(one.a.values()), list(one.b.values())], (0.0, 0.0), log)
