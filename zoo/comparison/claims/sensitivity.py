"""How much the result of training depends on the learning rate."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from zoo.comparison import statistics as tests
from zoo.comparison.claims.evidence import REFUTED, SUPPORTED, UNDECIDED, Missing, Part, Verdict, judge
from zoo.comparison.claims.measure import distance_of
from zoo.comparison.claims.panels import Dots, rows
from zoo.comparison.claims.wording import count_text, mean_text, p_text
from zoo.comparison.configurations import Group
from zoo.comparison.rates import LEAST_RATES, sensitivities
from zoo.comparison.statistics import LEAST_SEEDS, LEVEL, Outcome
from zoo.comparison.studies import Study
from zoo.comparison.tables import number

# A model whose best distance is this many times the other's has not learned at any rate, and is not called
# stable for it. Added after the records of the digits had been seen (docs/claims.md).
FAR = 3.0
TEST = (
    f"Welch's t of each seed's spread over the rates, two-sided at {LEVEL:.0%}, {LEAST_SEEDS} seeds a side; "
    "a seed of which a run diverged counts as the largest seen; a count where all seeds of a side did"
)


def compare_sensitivity(
    study: Study, a: Group, b: Group, *, describe_a: str = "", decides: bool = True
) -> Part | Missing:
    """Test whether the distance depends more on the learning rate in ``a`` than in ``b``.

    Args:
        study: the runs.
        a, b: the configurations, whose neighbours at other learning rates are looked up.
        describe_a: name of ``a`` if runs of it are missing; by default its label.
        decides: whether the claim depends on the result.
    """
    called = describe_a or a.label
    needs = f"{called} and {b.label} at {LEAST_RATES} or more common learning rates, {LEAST_SEEDS} seeds each"
    rates = _common_rates(study, a, b)
    if len(rates) < LEAST_RATES:
        return Missing(needs=needs, decides=decides)
    best = [_smallest_distance(study, group, rates) for group in (a, b)]
    if math.isinf(min(best)):
        needs = f"a finished run of {called} or of {b.label} at a common learning rate"
        return Missing(needs=needs, decides=decides)
    result = sensitivities(study, [a, b])
    if result is None or min(map(len, result[1])) < LEAST_SEEDS:
        return Missing(needs=needs, decides=decides)
    rates, spreads = result
    diverged = [_diverged(study, group, rates) for group in (a, b)]
    lost = [sum(seeds) for seeds in diverged]
    bounded = [
        [spread for spread, out in zip(*side, strict=True) if not out]
        for side in zip(spreads, diverged, strict=True)
    ]
    outcome, verdict = _tested(bounded, lost)
    remark = ""
    if verdict == REFUTED and best[0] > FAR * best[1]:
        verdict = UNDECIDED
        remark = (
            f" But the best mean distance of {a.label} is {number(best[0])}, over {FAR:g} times the "
            f"{number(best[1])} of {b.label}: it learned at no rate, and a small spread of failures is no "
            "stability."
        )
    name = distance_of(study).name
    texts = [_spread_text(side, n) for side, n in zip(bounded, lost, strict=True)]
    shown = [(group, side) for group, side in zip((a, b), bounded, strict=True) if side]
    axis = f"spread of log {name} over rates"
    return Part(
        sentence=f"Over learning rates {', '.join(f'{rate:g}' for rate in rates)} the standard deviation of "
        f"log {name} is {texts[0]} for {a.label}, {texts[1]} for {b.label} "
        f"({p_text(outcome.p) if outcome else 'a count'}).{remark}",
        verdict=verdict,
        test=TEST,
        n=count_text(*spreads),
        outcome=outcome,
        panel=Dots(axis, rows([group for group, _ in shown], [side for _, side in shown])) if shown else None,
        runs=[run for group in (a, b) for rate in rates for run in study.rates(group)[rate].runs],
        decides=decides,
    )


def _tested(bounded: Sequence[Sequence[float]], lost: Sequence[int]) -> tuple[Outcome | None, Verdict]:
    """Return the test of two sides' spreads and its verdict; no test where all seeds of a side diverged.

    A seed that diverged has a spread without bound: it counts as the largest that any seed has.
    """
    if not all(bounded):
        return None, _by_count(lost[0], lost[1])
    largest = max([*bounded[0], *bounded[1]])
    samples = [[*side, *[largest] * n] for side, n in zip(bounded, lost, strict=True)]
    outcome = tests.welch(*samples)
    verdict = judge(outcome, "higher")
    if (verdict == REFUTED and lost[0] > lost[1]) or (verdict == SUPPORTED and lost[1] > lost[0]):
        verdict = UNDECIDED  # a spread without bound is not evidence of being the steadier side
    return outcome, verdict


def widest(study: Study, groups: Sequence[Group]) -> Group | None:
    """Return the configuration that was run at most learning rates; None if there are none."""
    return max(groups, key=lambda group: (len(study.rates(group)), len(group.runs)), default=None)


def _common_rates(study: Study, a: Group, b: Group) -> list[float]:
    if not a.runs or not b.runs:
        return []
    return [rate for rate in study.rates(a) if rate in study.rates(b)]


def _by_count(lost_a: int, lost_b: int) -> Verdict:
    """Return the verdict if every seed of one side diverged: the other one must not have lost any."""
    if not lost_b:
        return SUPPORTED
    return REFUTED if not lost_a else UNDECIDED


def _diverged(study: Study, group: Group, rates: Sequence[float]) -> list[bool]:
    """Return whether each seed, in the order of ``sensitivities``, diverged at some learning rate."""
    by_rate = [study.rates(group)[rate].runs for rate in rates]
    seeds = sorted(set.intersection(*[{run.record.seed for run in runs} for runs in by_rate]))
    diverged = {run.record.seed for runs in by_rate for run in runs if run.record.status == "diverged"}
    return [seed in diverged for seed in seeds]


def _smallest_distance(study: Study, group: Group, rates: Sequence[float]) -> float:
    """Return the smallest mean distance over learning rates; infinite if no run finished."""
    measure, by_rate = distance_of(study), study.rates(group)
    samples = [values for rate in rates if (values := measure.of(by_rate[rate]))]
    return min(map(statistics.mean, samples), default=math.inf)


def _spread_text(bounded: Sequence[float], lost: int) -> str:
    known = [mean_text(bounded)] if bounded else []
    return ", ".join([*known, *[f"without bound at {lost} seeds (a run diverged)"] * bool(lost)])
