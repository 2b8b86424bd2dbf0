"""Tricks in a full factorial whose effects and interactions are known, and sides at equal budgets."""

from __future__ import annotations

import math
import random
import statistics
from itertools import product
from typing import Any

import pytest
from scipy import stats
from simulated_runs import around, gan, judged, simulate, wgan

from zoo.comparison import statistics as tests
from zoo.comparison.claims.evidence import Part
from zoo.comparison.claims.factorial import TRICKS
from zoo.comparison.claims.render import evidence_text, standing
from zoo.comparison.collect import Run

ON: dict[str, tuple[Any, Any]] = {
    "training.betas": ([0.5, 0.99], [0.0, 0.99]),
    "training.r1": (0.0, 1.0),
    "model.critic_norm": ("none", "spectral"),
    "training.augment": ([], ["cutout"]),
}
EFFECTS = (0.5, 0.25, 1.5, 3.0)  # by which each trick multiplies the distance
TOGETHER = 4.0  # by which momentum off and R1 multiply it beyond their own effects


def factorial(spread: float = 0.02, rates: tuple[float, ...] = (0.001,), **numbers: Any) -> list[Run]:
    """Return three seeds of every combination of the tricks; at a second rate they are ten times as far."""
    runs = []
    for index, rate in enumerate(rates):
        for cell in product((0, 1), repeat=4):
            settings = {key: values[on] for (key, values), on in zip(ON.items(), cell, strict=True)}
            settings |= {"training.lr": rate, "training.updates": 1000}
            mean = 10 * math.prod(effect**on for effect, on in zip(EFFECTS, cell, strict=True))
            mean *= TOGETHER ** (cell[0] * cell[1]) * 10**index
            distance = around(mean, spread, hash((cell, index)) % 9973)
            runs += gan(settings, distance=distance, **numbers)
    return runs


def part(key: str, runs: list[Run]) -> Part:
    """Return the part of a claim that is about all combinations."""
    return next(part for part in judged(key, runs).parts if "combinations of the other" in part.sentence)


def test_the_tricks_are_those_of_the_settings():
    assert [trick.setting for trick in TRICKS] == list(ON)
    for trick, (off, on) in zip(TRICKS, ON.values(), strict=True):
        assert trick.on(on)
        assert not trick.on(off)


@pytest.mark.parametrize(
    ("key", "effect"),
    [
        ("momentum-off", EFFECTS[0] * math.sqrt(TOGETHER)),  # the mean over R1 on and off
        ("spectral-norm", EFFECTS[2]),
        ("augmentation", EFFECTS[3]),
    ],
)
def test_a_trick_has_its_mean_effect_over_all_combinations_of_the_others(key, effect):
    found = part(key, factorial())
    assert found.outcome.estimate == pytest.approx(effect, rel=0.03)
    assert found.outcome.low < effect < found.outcome.high
    assert (found.n, found.decides) == ("16 cells of 3 or more", False)


def test_interactions_and_the_extremes_of_single_combinations_are_told():
    sentence = part("momentum-off", factorial(spread=1e-4)).sentence
    assert "from 0.5 (" in sentence
    assert "to 2 (" in sentence
    assert "R1 4 times (corrected p < 0.0001)" in sentence
    for other in ("spectral normalisation", "augmentation"):
        assert f"{other} 1 times (corrected p = " in sentence


def test_each_cell_is_taken_at_its_own_best_rate_and_an_incomplete_factorial_says_nothing():
    both = factorial(rates=(0.001, 0.002))
    assert part("spectral-norm", both).outcome.estimate == pytest.approx(EFFECTS[2], rel=0.03)
    assert "chosen on the test data, for want of validation" in part("spectral-norm", both).sentence
    with pytest.raises(StopIteration):
        part("spectral-norm", both[3:])


def test_runs_without_a_distance_are_counted_in_the_sentence():
    runs = factorial()
    runs[0].record.metrics.clear()
    runs[0].record.status = "diverged"
    assert part("augmentation", runs).sentence.endswith("1 failed runs have no distance and are left out.")


def test_a_contrast_of_two_samples_is_welchs_test_and_of_four_the_mean_of_two_differences():
    draw = random.Random(3)
    a, b, c, d = ([draw.gauss(mean, 1 + mean) for _ in range(4)] for mean in (0, 1, 0.5, 2))
    two = tests.contrast([a, b], [1, -1], [0, 0])
    welch = stats.ttest_ind(a, b, equal_var=False)
    assert (two.p, two.freedom) == pytest.approx((welch.pvalue, welch.df))
    four = tests.contrast([a, b, c, d], [0.5, -0.5, 0.5, -0.5], [0.0, 0.0, 0.04, 0.0])
    assert four.estimate == pytest.approx(
        (statistics.fmean(a) - statistics.fmean(b) + statistics.fmean(c) - statistics.fmean(d)) / 2
    )
    variances = [statistics.variance(sample) / 16 for sample in (a, b, c, d)]  # a quarter of s^2 / 4
    total = sum(variances) + 0.01
    assert four.error == pytest.approx(math.sqrt(total))
    assert four.freedom == pytest.approx(total**2 / sum(v * v / 3 for v in variances))
    assert math.isnan(tests.contrast([[1, 1], [2, 2]], [1, -1], [0, 0]).p), "no spread, no test"


def test_sides_are_compared_at_equal_updates_where_both_were_tuned():
    brief = {"training.updates": 300}
    short = [*gan(brief, distance=around(1)), *wgan(distance=around(1, salt=4))]
    for run in short[3:]:
        run.record.provenance.config["training"] |= {"updates": 300, "lr": 0.001}
    for change in ({"training.ema": 0.0}, {"training.r1": 0.0}, {"model.truncation": 0.7}):
        short += gan({**brief, **change}, distance=around(1))
    for model in ("vae", "other"):  # most models have the brief budget
        short += simulate(model, "vae", settings=brief, distance=around(1))
    long = []
    for index, rate in enumerate((0.0005, 0.001)):
        settings = {"training.updates": 1000, "training.lr": rate}
        long += gan(settings, distance=around(3 + index, salt=index))
        worse = {"training.loss": "wasserstein", "training.weight_clip": 0.01, **settings}
        long += simulate("wgan", "gan", settings=worse, distance=around(9 - index, salt=index + 7))
    found = judged("wgan", short + long).parts[0]
    assert found.outcome.estimate == pytest.approx(8 / 3, rel=0.1), "1,000 updates, each at its best rate"
    assert "for want of validation: 0.001 (the largest tried) and 0.0005 (the least tried)." in found.sentence
    assert judged("wgan", short).parts[0].outcome.estimate == pytest.approx(1, rel=0.1)


def test_two_read_outs_are_paired_at_the_updates_at_which_both_were_tuned():
    brief, runs = {"training.updates": 300}, []
    for change in ({}, {"training.ema": 0.0}, {"training.r1": 0.0}, {"model.truncation": 0.7}):
        runs += gan({**brief, **change}, distance=around(1))
    for index, rate in enumerate((0.0005, 0.001)):
        long = {"training.updates": 1000, "training.lr": rate}
        runs += gan(long, distance=around(3 + index, salt=5))
        runs += gan({**long, "training.ema": 0.0}, distance=around(6 + index, 0.06, salt=5))
    runs += gan({"training.updates": 1000, "training.lr": 0.001}, distance=lambda _: 777.0, seeds=4)[3:]
    found = judged("ema", runs).parts[0]
    assert found.n == "3 pairs"
    assert "averaged weights 4.02" in found.sentence, "a seed without a partner"
    assert {run.record.seed for run in found.runs} == {0, 1, 2}
    assert found.outcome.estimate == pytest.approx(4 / 7, rel=0.03), "1,000 updates, at the baseline's rate"


def test_the_seeds_asked_for_follow_from_the_spread_of_the_first_ones_whatever_the_verdict():
    def pair(level, spread, seeds=5):
        cutout = {"training.augment": ["cutout"]}
        return [
            *gan(distance=around(10, spread), seeds=seeds),
            *gan(cutout, distance=around(level, spread, 1), seeds=seeds),
        ]

    undecided, decided = judged("augmentation", pair(10, 0.4)), judged("augmentation", pair(1, 0.4))
    assert (undecided.verdict, decided.verdict) == ("undecided", "supported")
    assert undecided.seeds_asked == decided.seeds_asked > 5
    assert f"first stage: 5 of {decided.seeds_asked} seeds; the two-stage rule asks for" in evidence_text(
        decided
    )
    assert "first stage" in standing(decided)
    few, some, more = (judged("augmentation", pair(1, 0.15, seeds=seeds)) for seeds in (5, 6, 20))
    assert 6 < few.seeds_asked < 20
    assert few.seeds_asked == some.seeds_asked == more.seeds_asked
    assert (few.stage, more.stage) == (f"first stage: 5 of {few.seeds_asked} seeds", "")
    assert f"unfinished second stage: 6 of {some.seeds_asked} seeds" in standing(some)
    assert f"asks for {more.seeds_asked} seeds a side, by the spread of fd/digits-cnn" in evidence_text(more)
    assert judged("augmentation", pair(1, 0.01)).seeds_asked == 5
    fewer_than_registered = judged("augmentation", pair(1, 0.01, seeds=3))
    assert fewer_than_registered.stage == "first stage: 3 of 5 seeds"
