"""Verdicts with effects: corrections, equivalence, power, robustness, and their false alarms."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from scipy import stats
from simulated_runs import DISTANCE, around, gan, judged, wgan

from zoo.comparison import statistics as tests
from zoo.comparison.claims import render
from zoo.comparison.claims.decision import Decision, decide
from zoo.comparison.claims.evidence import (
    EQUIVALENT,
    REFUTED,
    SUGGESTIVE,
    SUPPORTED,
    UNDECIDED,
    Claim,
    Part,
    Variant,
)
from zoo.comparison.claims.robustness import Alternative, variants
from zoo.comparison.statistics import Outcome
from zoo.record import Metric

A, B = [3.1, 2.2, 4.7, 3.9, 2.8], [5.2, 4.9, 7.7, 3.3, 6.1]


def part(verdict, p=None, **more):
    return Part(sentence="Found.", n="5 and 5", verdict=verdict, p=p, **more)


def decision(*parts):
    return Decision(Claim("key", "A sentence.", 1, "study", lambda study: ()), "digits", "p", list(parts), [])


def ledger(*ps):
    """Return the decisions about claims of one deciding part each, with these p-values."""

    def claim(index, p):
        verdict = SUPPORTED if p < 0.05 else UNDECIDED
        return Claim(f"k{index}", "A sentence.", index, "all runs", lambda runs: [part(verdict, p)])

    return decide([], [claim(index, p) for index, p in enumerate(ps)])


def test_paired_is_scipys_related_t_test():
    measured, peer = tests.paired(A, B), stats.ttest_rel(A, B)
    assert (measured.p, measured.estimate) == pytest.approx((peer.pvalue, np.mean(A) - np.mean(B)))
    assert (measured.low, measured.high) == pytest.approx(tuple(peer.confidence_interval()))


def test_ranks_are_tested_by_counting_all_ways_to_deal_them():
    assert tests.rank_test(A, B).p == pytest.approx(stats.mannwhitneyu(A, B, method="exact").pvalue)
    tied, other = [1.0, 2.0, 2.0, math.inf], [2.0, 5.0, math.inf, math.inf, 7.0]
    ranks = stats.rankdata(tied + other)
    reach = abs(ranks[:4].sum() - 20)
    deals = [abs(sum(deal) - 20) >= reach for deal in itertools.combinations(ranks, 4)]
    assert tests.rank_test(tied, other).p == pytest.approx(sum(deals) / math.comb(9, 4))


def test_the_estimate_of_a_rank_test_is_the_median_of_all_differences():
    expected = np.median([a - b for a in A for b in B])
    assert tests.rank_test(A, B).estimate == pytest.approx(expected)
    assert tests.rank_test([1.0, math.inf], [math.inf, 0.5]).estimate == 0.25


def test_the_least_p_of_ranks_is_that_of_separated_samples():
    assert tests.rank_test([1, 2, 3], [4, 5, 6]).p == pytest.approx(tests.least_rank_p(3, 3))
    assert tests.rank_test([1, 2, 3, 4, 5], [6, 7, 8, 9]).p == pytest.approx(tests.least_rank_p(5, 4))


def test_spreads_are_compared_by_the_f_test():
    measured = tests.spread_ratio(A, B)
    ratio = np.var(A, ddof=1) / np.var(B, ddof=1)
    assert measured.estimate**2 == pytest.approx(ratio)
    assert measured.p == pytest.approx(2 * stats.f.cdf(ratio, 4, 4))
    assert measured.low**2 == pytest.approx(ratio / stats.f.ppf(0.975, 4, 4))


def test_equivalence_is_the_larger_of_two_one_sided_tests():
    measured = tests.welch(A, B)
    sides = [
        stats.ttest_ind(np.add(A, 4.0), B, equal_var=False, alternative="greater").pvalue,
        stats.ttest_ind(np.subtract(A, 4.0), B, equal_var=False, alternative="less").pvalue,
    ]
    assert tests.equivalence(measured, 4.0) == pytest.approx(max(sides))
    factor = tests.ratio(tests.welch, A, B)
    logs = stats.ttest_ind(np.log(A) + math.log(2), np.log(B), equal_var=False, alternative="greater").pvalue
    assert tests.equivalence(factor, 2.0) == pytest.approx(logs)
    assert math.isnan(tests.equivalence(tests.rank_test(A, B), 2.0))


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (1, 5), (3, 15), (5, 5)])
def test_a_share_has_the_exact_interval(hits, n):
    low, high = tests.share_interval(hits, n)
    assert low == pytest.approx(stats.beta.ppf(0.025, hits, n - hits + 1) if hits else 0)
    assert high == pytest.approx(stats.beta.ppf(0.975, hits + 1, n - hits) if hits < n else 1)


def test_a_tail_is_heavy_beyond_ten_robust_deviations():
    assert tests.heavy([3.0, 3.1, 2.9, 3.05, 1e8])
    assert not tests.heavy([3.0, 3.1, 2.9, 3.05, 3.6])
    source = random.Random(0)
    normal = [tests.heavy([source.gauss(0, 1) for _ in range(5)]) for _ in range(3000)]
    assert sum(normal) / 3000 < 0.03


def test_a_refutation_needs_the_correction_over_the_parts():
    assert decision(part(REFUTED, 0.03), part(UNDECIDED, 0.5)).verdict == UNDECIDED
    assert decision(part(REFUTED, 0.02), part(UNDECIDED, 0.5)).verdict == REFUTED
    assert decision(part(REFUTED, 0.02), part(UNDECIDED, 0.5)).p == pytest.approx(0.04)
    assert decision(part(SUPPORTED, 0.03), part(SUPPORTED, 0.04)).p == 0.04, "all parts have to hold"


def test_a_decision_that_the_ledgers_correction_undoes_is_suggestive():
    verdicts = [one.verdict for one in ledger(0.001, 0.03, 0.2)]
    assert verdicts == [SUPPORTED, SUGGESTIVE, UNDECIDED]
    adjusted = [one.adjusted for one in ledger(0.001, 0.03, 0.2)]
    assert adjusted == pytest.approx([0.003, 0.06, 0.2])
    assert ledger(0.001, 0.03, 0.2)[1].raw == SUPPORTED
    assert "suggestive (supported)" in render.verdicts(ledger(0.001, 0.03, 0.2))


def test_a_count_needs_no_correction():
    counted = decision(part(SUPPORTED, by_construction=True))
    assert (counted.verdict, counted.p, counted.by_construction) == (SUPPORTED, None, True)


def test_spreads_with_heavy_tails_are_compared_by_brown_and_forsythe():
    measured = tests.brown_forsythe(A, B)
    assert measured.p == stats.levene(A, B, center="median").pvalue
    assert measured.estimate == pytest.approx(np.std(A, ddof=1) / np.std(B, ddof=1))
    assert math.isnan(tests.brown_forsythe([1.0, 1.0], B).p)


def test_equivalence_is_an_outcome_and_not_a_part_of_support():
    assert decision(part(EQUIVALENT, 0.01)).verdict == EQUIVALENT
    assert decision(part(EQUIVALENT, 0.01), part(SUPPORTED, 0.01)).verdict == UNDECIDED
    near = gan(distance=around(3)) + wgan(distance=around(3.1, salt=1))
    measured = judged("wgan", near)
    assert measured.verdict == EQUIVALENT
    assert measured.p == tests.equivalence(measured.parts[0].outcome, 1.25)
    assert "Equivalent within x 1.25: TOST p" in render.markdown([measured], {}, None)


LOW, NONE = Outcome(0.5, 0.4, 0.6, 0.01, factor=True), Outcome(0.9, 0.5, 1.5, 0.6, factor=True)


def varied(*variants, verdict=SUPPORTED, **more):
    """Return the decision on a claim of a single part that has these variants."""
    return decision(part(verdict, 0.01, unit="factor", variants=lambda: list(variants), **more))


def test_robustness_is_the_share_of_kinds_of_variants_that_keep_the_verdict():
    measured = varied(
        Variant("ranks", NONE, "lower", "another test"),
        Variant("raw values", LOW, "lower", "another test"),
        *[Variant("a seed left out", LOW, "lower")] * 25,
        Variant("kid/x", NONE, "lower", "kid"),
        Variant("kid/y", NONE, "lower", "kid"),
    )
    assert measured.kept_shares == {"ranks": 0, "raw values": 1, "a seed left out": 1, "kid/x": 0, "kid/y": 0}
    assert measured.robustness == pytest.approx((0.5 + 1 + 0) / 3), (
        "each kind counts once, however many tests it has"
    )
    assert measured.hollow
    assert render.badge(measured).startswith("○")
    text = "another test 50% [ranks 0%, raw values 100%], a seed left out 100%, kid 0% [kid/x 0%, kid/y 0%]"
    assert text in render.evidence_text(measured)


def test_a_variant_may_refute_what_the_deciding_test_leaves_undecided():
    high = Variant("kid/x", Outcome(2.0, 1.5, 2.5, 0.01, factor=True), "lower")
    undecided = decision(part(UNDECIDED, 0.5, unit="factor", variants=lambda: [high]))
    assert undecided.kept_shares == {"kid/x": 0}


def test_a_filled_badge_needs_three_kinds_of_variants():
    kinds = [Variant(name, LOW, "lower") for name in ("ranks", "kid", "coverage")]
    assert render.badge(varied(*kinds)).startswith("●")
    assert render.badge(varied(*kinds[:2])).startswith("◌")
    alike = [Variant(name, LOW, "lower", "another test") for name in ("ranks", "kid", "coverage")]
    assert render.badge(varied(*alike)).startswith("◌")
    assert render.badge(varied()).startswith("◌"), "no other test was made"
    assert render.badge(decision(part(SUPPORTED, by_construction=True))) == SUPPORTED, "nothing was tested"


def test_a_verdict_on_times_that_were_not_measured_in_turns_is_never_filled():
    kinds = [Variant(name, LOW, "lower") for name in ("ranks", "kid", "coverage")]
    assert render.badge(varied(*kinds, caution="not re-timed")).startswith("○")


def test_an_equivalence_that_the_extrapolated_distance_does_not_keep_is_never_filled():
    near = Outcome(1.02, 0.95, 1.08, 0.5, 0.02, 8.0, factor=True)
    kinds = [Variant(name, near, "lower") for name in [f"k{i}" for i in range(9)]]

    def badge(*more, verdict=EQUIVALENT):
        return render.badge(varied(*kinds, *more, verdict=verdict))

    assert badge().startswith("●")
    assert badge(Variant("fd_inf/x", near, "lower", "fd_inf")).startswith("●")
    far = Outcome(1.3, 0.9, 1.8, 0.2, 0.15, 8.0, factor=True)
    assert badge(Variant("fd_inf/x", far, "lower", "fd_inf")).startswith("○")
    difference = Outcome(0.1, -0.1, 0.3, 0.2, 0.1, 8.0)
    assert badge(Variant("fd_inf/x", difference, "lower", "fd_inf")).startswith("○"), (
        "a difference shows no equivalence"
    )
    undecided = varied(*kinds, Variant("kid/x", difference, "lower", "kid"), verdict=EQUIVALENT)
    assert "kid/x" not in undecided.kept_shares, "a test that cannot give the verdict is left out"


def test_a_part_that_was_not_tested_counts_as_one_in_the_correction_and_shows_no_p():
    """Quality that was not matched says nothing: a p for it would be made up."""

    def claim(index, p):
        return Claim(
            f"k{index}", "A.", index, "all runs", lambda runs: [part(UNDECIDED if p != p else SUPPORTED, p)]
        )

    tested, untested = decide([], [claim(0, 0.03), claim(1, math.nan)])
    assert tested.adjusted == pytest.approx(0.06)
    assert (untested.p, untested.adjusted) == (1.0, 1.0)
    assert "p = 1" not in render.evidence_text(untested)
    row = render.verdicts([untested]).splitlines()[-1]
    assert row == "| A. | all data | **undecided** | exploratory |  |  |  |  |  | 5 and 5 |"


def test_the_effect_shown_is_the_one_that_the_verdicts_p_is_of():
    def effect(p, estimate, verdict=SUPPORTED):
        return part(
            verdict, p, unit="bits/dim", outcome=Outcome(estimate, estimate - 1, estimate + 1, p, 0.5, 8.0)
        )

    supported = decision(effect(0.001, 5.0), effect(0.04, 2.0))
    assert render.effect_text(supported) == "2 [1, 3] bits/dim (least sure of 2)"
    refuted = decision(effect(0.2, 5.0, UNDECIDED), effect(0.001, 2.0, REFUTED), effect(0.01, 3.0, REFUTED))
    assert render.effect_text(refuted) == "2 [1, 3] bits/dim (surest of 3)"
    assert render.effect_text(decision(effect(0.01, 7.0))) == "7 [6, 8] bits/dim"


def test_the_variants_of_a_distance_hold_other_measures():
    runs = gan(distance=around(3), seeds=5) + wgan(distance=around(9, salt=1), seeds=5)
    for run in runs:
        value = run.record.metrics[DISTANCE].value
        run.record.metrics["kid/x"] = Metric(value - 5, "1", "estimate", n=100)
        run.record.metrics["coverage/x"] = Metric(0.5 + value / 100, "1", "estimate", n=100)
    shares = judged("wgan", runs).kept_shares
    assert shares == {
        "raw values": 1,
        "a seed left out": 1,
        "ranks": 1,
        "pairs by seed": 1,
        "coverage/x": 0,
        "kid/x": 1,
    }, "the WGAN is the better one by this coverage"


SEEDS = (0, 1, 2, 3, 4)


def by_seed(values, seeds=SEEDS):
    return dict(zip(seeds, values, strict=True))


def test_the_variants_of_a_paired_test_are_paired():
    """Seeds differ far more than the two sides of a seed, and the sides have their seeds in other orders."""
    a, b = by_seed([1.0, 2.1, 3.9, 8.3, 15.8]), by_seed([21.0, 10.2, 5.1, 2.6, 1.4], SEEDS[::-1])
    other = Alternative(
        "kid/x",
        by_seed([0.1, 0.2, 0.4, 0.8], SEEDS[:4]),
        by_seed([1.9, 0.9, 0.5, 0.3], SEEDS[:0:-1]),
        "lower",
    )
    sides = [a[seed] for seed in SEEDS], [b[seed] for seed in SEEDS]
    found: dict[str, list[Outcome]] = {}
    for variant in variants(a, b, "lower", (0.0, 0.0), paired=True, alternatives=[other]):
        found.setdefault(variant.name, []).append(variant.outcome)
    assert found.keys() == {"raw values", "a seed left out", "unpaired", "kid/x"}, "ranks cannot decide"
    assert found["raw values"] == [tests.paired(*sides)]
    assert found["a seed left out"] == [
        tests.ratio(tests.paired, *([side[seed] for seed in SEEDS if seed != out] for side in sides))
        for out in SEEDS
    ]
    assert found["unpaired"] == [tests.ratio(tests.welch, *sides)]
    both = [0.2, 0.4, 0.8], [0.3, 0.5, 0.9]
    assert found["kid/x"] == [tests.ratio(tests.paired, *both)], "the seeds that both have"
    assert all(outcome.significant for outcome in found["a seed left out"])
    assert not found["unpaired"][0].significant


def test_the_variants_of_a_test_of_two_groups_leave_out_a_seed_a_side():
    a, b = by_seed([1.0, 2.0, 3.0], SEEDS[:3]), by_seed([5.0, 9.0, 7.0], SEEDS[:3])
    found = [(one.name, one.outcome) for one in variants(a, b, "lower", (0.0, 0.0))]
    left_out = [outcome for name, outcome in found if name == "a seed left out"]
    assert len(left_out) == 9
    assert left_out[0] == tests.ratio(tests.welch, [2.0, 3.0], [9.0, 7.0])
    assert ("pairs by seed", tests.ratio(tests.paired, [1.0, 2.0, 3.0], [5.0, 9.0, 7.0])) in found
    assert "unpaired" not in dict(found)


def test_other_measures_are_tested_on_the_scale_of_the_deciding_test():
    a, b = by_seed([1.0, 1.1, 1.2, 0.9, 1.0]), by_seed([3.0, 9.0, 2.5, 2.8, 3.1])
    below_zero = by_seed([-0.1, 0.2, 0.1, 0.3, 0.2])
    others = [Alternative("kid/x", a, b, "lower"), Alternative("kid/y", below_zero, b, "lower")]
    found = {one.name: one.outcome for one in variants(a, b, "lower", (0.0, 0.0), alternatives=others)}
    assert found["kid/x"] == tests.ratio(tests.welch, list(a.values()), list(b.values()))
    assert found["kid/y"] == tests.welch(list(below_zero.values()), list(b.values())), "no logarithm"
    found = {
        one.name: one.outcome for one in variants(a, b, "lower", (0.0, 0.0), alternatives=others, log=False)
    }
    assert found["kid/x"] == tests.welch(list(a.values()), list(b.values()))


def test_signed_ranks_of_pairs_are_wilcoxons_and_can_decide_from_six_on():
    a = [1.0, 2.1, 3.9, 8.3, 15.8, 0.7, 2.2]
    b = [1.4, 10.2, 5.1, 2.6, 21.0, 1.5, 4.1]
    assert tests.signed_rank_test(a, b).p == stats.wilcoxon(a, b, method="exact").pvalue
    assert tests.signed_rank_test(a, b).estimate == pytest.approx(np.median(np.subtract(a, b)))
    assert tests.signed_rank_test(a, a).p == 1
    seeds = range(7)
    names = [v.name for v in variants(by_seed(a, seeds), by_seed(b, seeds), "lower", (0.0, 0.0), paired=True)]
    assert "ranks" in names
    least = tests.signed_rank_test([1.0, 2.0, 3.0, 4.0, 5.0, 6.5], [0.0] * 6).p
    assert least == tests.least_signed_rank_p(6) < 0.05 < tests.least_signed_rank_p(5)


def test_other_test_images_widen_the_interval_by_their_variance():
    a, b = by_seed([1.0, 1.1, 1.2, 0.9, 1.0]), by_seed([1.5, 1.6, 1.4, 1.7, 1.5])
    for paired in (False, True):
        found = {
            v.name: v.outcome for v in variants(a, b, "lower", (0.0, 0.0), paired=paired, of_test_images=0.04)
        }
        wide = found["other test images"]
        assert wide.p > 0.05 > tests.ratio(tests.welch, list(a.values()), list(b.values())).p
        assert wide.error > 0.2, "the root of the variance, and that of the seeds"
        assert wide.factor


def judged_by_halves(*, by_test_half):
    """Return the WGAN claim's shares of robustness; the distance to each half of the test images is given."""
    runs = gan(distance=around(3, 0.01), seeds=5) + wgan(distance=around(9, 0.01, salt=1), seeds=5)
    for run in runs:
        metric = run.record.metrics[DISTANCE]
        if by_test_half:
            metric.details["by_test_half"] = by_test_half(run.record.model)
        metric.details["by_other_extractor"] = {"random-conv": metric.value * 2}
    return judged("wgan", runs).kept_shares


def test_halves_of_the_test_images_and_another_extractor_are_variants_where_records_have_them():
    source = np.random.default_rng(0)
    common = source.normal(0, 1.0, 32)
    shares = judged_by_halves(by_test_half=lambda model: (4 * np.exp(0.3 * common)).tolist())
    assert shares["other test images"] == 1, "both models vary alike: the images cancel"
    assert shares["fd/random-conv"] == 1
    apart = {"gan": common, "wgan": -common}
    shares = judged_by_halves(by_test_half=lambda model: (4 * np.exp(0.4 * apart[model])).tolist())
    assert shares["other test images"] == 0, "the ratio varies by exp(0.8) between test sets"
    assert "other test images" not in judged_by_halves(by_test_half=None)


def test_the_spread_over_halves_is_that_over_draws_of_the_whole_set():
    """The jackknife that deletes half, on the mean of 360 values: its variance is that of the mean."""
    source = np.random.default_rng(1)
    variances = []
    for _ in range(200):
        values = source.lognormal(0, 0.5, 360)
        halves = [source.permutation(values)[:180].mean() for _ in range(32)]
        variances.append(np.var(np.log(halves), ddof=1))
    truth = np.var([np.log(source.lognormal(0, 0.5, 360).mean()) for _ in range(4000)])
    assert np.mean(variances) == pytest.approx(truth, rel=0.12)


def test_a_ledger_without_any_truth_rarely_decides_anything():
    """Twelve claims without an effect: the chance of any decision at all is at most about 5 %."""
    source = np.random.default_rng(1)
    decided = 0
    for _ in range(400):
        samples = source.normal(0, [[[0.1]], [[0.3]]], size=(2, 12, 5))
        ps = stats.ttest_ind(samples[0], samples[1], axis=1, equal_var=False).pvalue
        decided += any(one.verdict == SUPPORTED for one in ledger(*map(float, ps)))
    assert decided / 400 < 0.08


def test_a_true_difference_is_rarely_called_equivalent():
    """At the margin itself equivalence is found in at most 5 % of studies."""
    source = random.Random(2)
    wrong = 0
    for _ in range(600):
        a = [source.lognormvariate(math.log(1.25), 0.08) for _ in range(5)]
        b = [source.lognormvariate(0, 0.08) for _ in range(5)]
        wrong += tests.equivalence(tests.ratio(tests.welch, a, b), 1.25) < 0.05
    assert 0.02 < wrong / 600 < 0.08


def test_collapses_in_one_side_alone_raise_no_false_alarms_by_ranks():
    """A fifth of one side's runs collapses; the median runs are equally good."""
    source = random.Random(3)
    alarms = 0
    for _ in range(500):
        a = [math.inf if source.random() < 0.2 else source.gauss(0, 0.3) for _ in range(5)]
        b = [source.gauss(0, 0.3) for _ in range(5)]
        alarms += tests.rank_test(a, b).p < 0.05
    assert alarms / 500 < 0.09
