"""The comparisons with peers: order statistics, shares, regressions, exponents, and missing peers."""

from __future__ import annotations

import itertools
import json

import cases
import growth
import pytest
import suite
import torch
from table import RESULTS


def row(peer, ratio, spread=0.01, **about):
    about = {"case": "maf", "task": "train", "batch": 64} | about
    interval = [ratio - spread, ratio + spread]
    return about | {"peer": peer, "ratio": ratio, "interval": interval, "zoo_ms": 1.0, "peer_ms": ratio}


def test_the_interval_of_a_median_is_that_of_its_order_statistics():
    assert suite.interval([5.0, 1.0, 2.0, 3.0, 4.0]) == (3.0, 1.0, 5.0)  # too few to leave one out
    assert suite.interval([float(i) for i in range(20)]) == (9.5, 5.0, 14.0)  # ranks 6 and 15 of 20


def test_turns_are_compared_by_the_units_of_their_jobs():
    ticks = itertools.count()

    def clock():
        return float(next(ticks))

    jobs = {"zoo": suite.Job(lambda: None), "peer": suite.Job(lambda: None, units=4.0)}
    times = suite.rounds(jobs, seconds=0.0, clock=clock)
    assert times == {"zoo": [1.0] * 3, "peer": [0.25] * 3}


def test_the_table_names_the_best_peer_the_share_of_the_floor_and_what_is_missing():
    rows = [row("nflows", 1.5), row("zuko", 1.2), row("floor", 0.35)]
    text = suite.table(rows, [{"case": "maf", "peer": "FrEIA", "reason": "ImportError: no"}])
    assert "| maf | train | 64 | zuko | 1.20 (1.19–1.21) | nflows 1.50 | 35 % |" in text
    assert "maf: FrEIA is not measured: ImportError: no" in text


def test_the_committed_table_is_made_from_the_committed_ratios():
    folder = RESULTS / "peers"
    result = json.loads((folder / "cases.json").read_text())
    assert (folder / "table.md").read_text(encoding="utf-8") == suite.table(result["rows"], result["missing"])


def test_a_regression_is_a_tenth_below_and_outside_of_both_intervals():
    before = [row("nflows", 1.5), row("zuko", 1.2), row("floor", 0.35)]
    now = [row("nflows", 1.4), row("zuko", 1.0, spread=0.5), row("floor", 0.3)]
    assert suite.regressions(before, now) == [
        "maf, train, batch 64: share of the floor fell from 0.35 to 0.30"
    ]


def test_exponents_are_slopes_and_the_knee_is_where_throughput_ends_to_grow():
    assert growth.exponent([1, 2, 4, 8], [9.0, 12.0, 48.0, 192.0])[0] == 2.0
    assert growth.exponent([1, 2, 4, 8], [3.0, 12.0, 48.0, 192.0]) == (2.0, 0.0)
    assert growth.knee([1, 10, 100, 1000], [1.0, 1.0, 2.0, 20.0]) == 100


def test_a_peer_that_is_not_installed_or_fails_is_named_with_its_reason(monkeypatch):
    def broken():
        raise ValueError("no such layer\nmore")

    made = {"zoo": lambda: {"train": suite.Job(lambda: None)}, "gone": broken, "zuko": broken}
    monkeypatch.setitem(cases.CASES, "maf", (lambda batch: made, (1,)))
    monkeypatch.setitem(cases.PACKAGES, "gone", "no_such_package_of_flows")
    (comparison,) = cases.comparisons("maf", 1)
    assert list(comparison.jobs) == ["zoo"]
    assert comparison.missing == {
        "gone": "ModuleNotFoundError: No module named 'no_such_package_of_flows'",
        "zuko": "ValueError: no such layer",
    }


@pytest.mark.parametrize("name", ["realnvp", "maf"])
def test_peers_do_the_work_of_zoos_model(name):
    made = cases.CASES[name][0](4)
    for who in ("zoo", "nflows", "zuko", "floor"):
        assert set(made[who]()) == {"density", "train", "sample"}
    count = {
        who: sum(p.numel() for p in made[who]()["train"].module.parameters()) for who in ("zoo", "nflows")
    }
    assert count["zoo"] == pytest.approx(count["nflows"], rel=0.01)


def test_a_floor_trains_with_three_products_for_one():
    from torch.utils.flop_counter import FlopCounterMode

    jobs = cases.floors.products(cases.floors.mlp(3, (5,), 2), 7)
    counts = {}
    for task in ("density", "train"):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            jobs[task].run()
        counts[task] = counter.get_total_flops()
    assert counts == {"density": 2 * 7 * (15 + 10), "train": 3 * 2 * 7 * (15 + 10)}
