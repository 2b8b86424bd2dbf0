"""The two-stage rule keeps the promised rate of false decisions; asking only where undecided would not."""

from __future__ import annotations

import functools
from collections import defaultdict

import numpy as np
import pytest
from scipy import stats

from zoo.comparison.claims.decision import Decision
from zoo.comparison.claims.evidence import SUPPORTED, UNDECIDED, Claim, Part
from zoo.comparison.power import FIRST_STAGE, LAST_STAGE
from zoo.comparison.statistics import LEVEL

STUDIES = 10_000
CLAIM = Claim("key", "A sentence.", 1, "study", lambda study: ())


@functools.cache
def false_decisions(spread: float) -> dict[str, float]:
    """Return the share of studies without an effect that are decided, by when more seeds are asked for.

    Both sides draw the logarithms of their values from one normal distribution. How many seeds there are to
    be is what the ledger's decision about the first ones asks for. ``never``: the first seeds decide.
    ``registered``: all seeds that the rule asks for are run, whatever the first ones say. ``undecided``: a
    study that the first seeds decide is left at that.
    """
    draws = np.random.default_rng(0).normal(0, spread, size=(2, STUDIES, LAST_STAGE))
    first = draws[:, :, :FIRST_STAGE]
    early = stats.ttest_ind(*first, axis=1, equal_var=False).pvalue
    by_size = defaultdict(list)
    for study, (p, largest) in enumerate(zip(early, first.std(axis=2, ddof=1).max(axis=0), strict=True)):
        by_size[asked(p < LEVEL, round(float(largest), 3))].append(study)
    late = np.empty(STUDIES)
    for size, chosen in by_size.items():
        late[chosen] = stats.ttest_ind(*draws[:, chosen, :size], axis=1, equal_var=False).pvalue
    decided = early < LEVEL
    return {
        "never": decided.mean(),
        "registered": (late < LEVEL).mean(),
        "undecided": (decided | (late < LEVEL)).mean(),
    }


@functools.cache
def asked(decided: bool, spread: float) -> int:
    """Return the seeds that a decision asks for, whose first ones decided or not and have this spread."""
    part = Part(
        sentence="",
        n="5 and 5",
        verdict=SUPPORTED if decided else UNDECIDED,
        p=0.01 if decided else 0.5,
        unit="factor",
        spread=spread,
        seeds=FIRST_STAGE,
    )
    seeds = Decision(CLAIM, "digits", "p", [part], []).seeds_asked
    return FIRST_STAGE if seeds is None else seeds


@pytest.mark.parametrize("spread", [0.1, 0.2, 0.4])
def test_more_seeds_whatever_the_verdict_keep_the_rate_of_false_decisions(spread):
    assert 0.035 < false_decisions(spread)["registered"] < 0.065
    assert 0.035 < false_decisions(spread)["never"] < 0.065


@pytest.mark.parametrize("spread", [0.2, 0.4])
def test_more_seeds_only_where_undecided_would_raise_false_decisions_to_over_8_percent(spread):
    assert 0.08 < false_decisions(spread)["undecided"] < 0.095


def test_a_stage_is_finished_if_each_measurement_has_the_seeds_that_its_own_spread_asks_for():
    def stage(likelihood: int, latency: int) -> str:
        parts = [
            Part(
                sentence="", n="", verdict=SUPPORTED, p=0.01, unit="factor", name=name, spread=spread, seeds=n
            )
            for name, spread, n in (("likelihood", 0.2, likelihood), ("latency", 0.01, latency))
        ]
        return Decision(CLAIM, "digits", "p", parts, []).stage

    assert stage(13, 5) == "", "few latencies were timed in turns, and these differ little"
    assert stage(5, 13) == "first stage: 5 of 13 seeds"
    assert stage(12, 5) == "unfinished second stage: 12 of 13 seeds"
    assert stage(13, 4) == "first stage: 4 of 5 seeds"
