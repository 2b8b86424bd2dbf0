"""A against B: two rows are compared as the groups of the table are, in words, ratios and intervals."""

from __future__ import annotations

import json
import math
import random
import re
import statistics
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, Tab
from fake_records import save, write
from invented import built, gathered

from zoo.comparison.groups import COUNTS, Entry, entries, is_logarithmic, loss, pairwise
from zoo.comparison.quantities import (
    BITS_PER_DIM,
    LATENCY,
    SEQUENTIAL_EVALUATIONS,
    SHARPNESS,
    THROUGHPUT,
    metric_value,
)
from zoo.comparison.statistics import ratio, welch
from zoo.comparison.studies import studies
from zoo.record import LIKELIHOOD, DataDescription, Metric

COMPARED = {
    "latency": LATENCY, "throughput": THROUGHPUT, "sequential evaluations": SEQUENTIAL_EVALUATIONS,
    "fd": metric_value("fd", "1"), "coverage": metric_value("coverage", "1", "higher"),
    "sharpness": SHARPNESS, "bits_per_dim": BITS_PER_DIM,
}  # fmt: skip


@pytest.mark.parametrize("name", COMPARED)
def test_two_rows_are_compared_by_the_rule_of_the_groups(tab: Tab, name: str) -> None:
    quantity, draw = COMPARED[name], random.Random(name)
    ratios = is_logarithmic([], quantity)
    column = {"direction": quantity.direction, "counted": quantity in COUNTS, "ratios": ratios}
    pairs = [
        [[math.exp(draw.gauss(shift, 0.3)) for _ in range(draw.randint(2, 6))] for shift in (0.0, 0.4)]
        for _ in range(20)
    ]
    # ties of the mean, no spread at all, and values below 0
    pairs += [
        [[1.0, 1.5], [1.5, 1.0]],
        [[2.0, 2.0], [2.0, 2.0]],
        [[2.0, 2.0], [3.0, 3.0]],
        [[-1.0, 2.0], [3.0, 4.0]],
    ]
    if name in ("sharpness", "throughput"):  # these are above 0
        pairs.pop()
    found = tab.evaluate(
        f"{json.dumps(pairs)}.map(([a, b]) => zoo.comparedValues({json.dumps(column)}, a, b))"
    )
    for (a, b), one in zip(pairs, found, strict=True):
        rows = [Entry(key, key, tuple(values)) for key, values in (("A", a), ("B", b))]
        p = pairwise(rows, quantity)[0, 1]
        if quantity in COUNTS:
            assert (one["better"] == 0) == (p == 1)
            assert one["low"] is one["p"] is None
            continue
        assert (1 if one["p"] is None else one["p"]) == pytest.approx(p, rel=1e-6)
        better = sorted(
            rows, key=lambda row: statistics.fmean(loss(v, quantity.direction) for v in row.values)
        )
        if is_logarithmic(rows, quantity):
            better = sorted(
                rows,
                key=lambda row: (
                    statistics.fmean(map(math.log, row.values)) * (1 if quantity.direction == "lower" else -1)
                ),
            )
        if one["better"]:
            assert better[0].key == ("A" if one["better"] < 0 else "B")
        if one["p"] is None:
            continue
        distances = [[math.exp(loss(v, "one")) for v in values] for values in (b, a)]
        expected = (
            ratio(welch, *distances) if quantity.direction == "one"
            else ratio(welch, b, a) if is_logarithmic(rows, quantity)
            else welch(b, a)
        )  # fmt: skip
        ends = [expected.estimate, expected.low, expected.high]
        assert [one["estimate"], one["low"], one["high"]] == pytest.approx(ends, rel=1e-6)


def test_a_against_b_says_what_differs_and_how_sure_it_is(browser: Browser, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = 30 * rng.normal(size=200)
    for seed in range(3):
        for model, shift, lr in (("glow", 0.0, 0.01), ("maf", 0.5, 0.02)):
            record = write(
                tmp_path / "runs",
                model,
                "flow",
                value=2.0 + 0.001 * shift + 0.01 * seed,
                seed=seed,
                fd=3.0 + seed,
            )
            record.provenance.data = DataDescription(name="digits", shape=[1, 8, 8])
            record.provenance.config = {"seed": seed, "training": {"lr": lr}, "model": {"blocks": 9 * lr}}
            distance = 1.035 + 0.002 * seed
            record.metrics["sharpness"] = Metric(
                distance if model == "maf" else 1 / distance, "1", direction="one"
            )
            directory = save(tmp_path / "runs", record)
            np.savez(
                directory / LIKELIHOOD,
                values=base - shift + 0.1 * rng.normal(size=200),
                indices=np.arange(200),
            )
    file = tmp_path / "index.html"
    file.write_text(built(tmp_path / "runs"), encoding="utf-8")
    tab = browser.open(file)
    tab.call("Page.bringToFront")
    tab.evaluate("window.row = model => zoo.rowsOf(zoo.current()).find(row => row.model === model)")
    tab.evaluate("window.column = key => zoo.columnOf(zoo.current(), key)")
    tab.evaluate("zoo.set({group: 'all', a: row('glow').id, b: row('maf').id})")
    tab.evaluate("document.querySelector('#slider').scrollIntoView()")
    tab.wait("document.querySelectorAll('#slider-box tbody tr').length > 5")
    said = tab.evaluate("document.querySelector('#slider-box p').textContent")
    assert (
        "Differs in: model (glow, maf); training.lr (0.01, 0.02); 1 setting of the models themselves." in said
    )
    lines = tab.evaluate(
        "Object.fromEntries([...document.querySelectorAll('#slider-box tbody tr')]"
        ".map(tr => [...tr.cells].map(td => td.textContent)).map(([name, ...rest]) => [name, rest]))"
    )
    assert lines["seq. evals ↓"][2:] == ["", "tie: nothing differs", ""]
    study = next(iter(studies(gathered(tmp_path / "runs"))))
    pair = entries(study, BITS_PER_DIM)
    assert {entry.name for entry in pair} == {"glow", "maf"}
    p = pairwise(pair, BITS_PER_DIM)[0, 1]
    shown = tab.evaluate("zoo.comparedRows(column('bits_per_dim'), row('glow'), row('maf'))")
    assert p < 0.001
    assert shown["verdict"] == "glow is better, p < 0.001 (paired)", (
        "the seeds alone would not tell them apart"
    )
    low, high = (float(end) for end in re.search(r"\[\+(\S+), \+(\S+)\]", shown["text"]).groups())
    assert low < 0.5 / (64 * math.log(2)) < high
    sharp = tab.evaluate("zoo.comparedRows(column('sharpness'), row('glow'), row('maf'))")
    assert sharp["verdict"] == "not told apart, p 1", "as far below 1 as the other is above"
    assert sharp["text"].startswith("distance from 1 ×1 [")
    assert tab.complaints == []
    tab.close()
