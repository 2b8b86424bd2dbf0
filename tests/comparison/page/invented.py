"""Invented runs for the page, and the page of some runs without the figures beside it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

from fake_records import nine, save, write, write_toy

from zoo.comparison import claims, page
from zoo.comparison.claims.decision import Decision
from zoo.comparison.claims.evidence import Claim, Part, Variant, Verdict
from zoo.comparison.claims.sentences import all_claims
from zoo.comparison.collect import Run, collect
from zoo.comparison.page.runs import Published
from zoo.comparison.statistics import Outcome
from zoo.comparison.tables import build
from zoo.record import DataDescription

HOSTILE = '<img src=x onerror="window.hit=1">&amp;\'|`'


def records(root: Path) -> Path:
    """Write three seeds of nine models, variations, losses, a collapsed and a hostile one, and points."""
    for seed in range(3):
        nine(root, seed)
        write(root, "gan", "gan", "none", None, seed, fd=400.0 + 9 * seed, latency=0.0001, key="-dead")
        write(root, HOSTILE, "flow", value=2.5 + 0.01 * seed, seed=seed, fd=9.0 + seed)
        record = write(root, "glow", "flow", value=2.2 + 0.01 * seed, seed=seed, fd=8.0 + seed, key="-wide")
        record.provenance.config = {"seed": seed, "training": {"lr": 0.01}}
        save(root, record)
    write(root, "maf", "flow", status="diverged", seed=3)
    for run in gathered(root):  # the dimension of the data is known
        run.record.provenance.data = DataDescription(name="digits", shape=[1, 8, 8])
        save(root, run.record)
    for data, shift in (("rings", 0.0), ("moons", 0.1)):
        for model, away in (("maf", 0.02), ("realnvp", 0.05)):
            record = write_toy(root, model, away + shift, data)
            record.provenance.data = DataDescription(name=data, shape=[2])
            save(root, record)
    return root


def gathered(root: Path) -> list[Run]:
    """Return the runs below a directory."""
    return collect([root])[0]


def ledger() -> list[Decision]:
    """Return a verdict on every claim of the registry and a second one of two, of all shapes."""
    shapes = itertools.cycle(
        [
            ("supported", crossing(), "factor", ""),
            ("supported", Outcome(-0.0122, -0.0201, -0.0042, 0.003), "bits/dim", ""),
            ("not supported", Outcome(25.0, 16.0, 39.0, 0.001, factor=True), "factor", ""),
            ("undecided", Outcome(-0.0082, math.nan, math.nan, 0.1), "nats", ""),
            ("supported", None, "", "collapsed or diverged seeds 5 of 5 to 0 of 5; oscillation ×92.22"),
        ]
    )
    judged = [(claim, "digits (1x8x8)") for claim in all_claims()]
    judged += [(claim, "8gaussians (train 100,000)") for claim in all_claims()[-2:]]
    return [decided(claim, data, *shape) for (claim, data), shape in zip(judged, shapes, strict=False)]


def crossing() -> Outcome:
    """Return a factor below 1 whose interval ends so little above 1 that three digits do not show it."""
    return Outcome(0.975, 0.945, 1.00485, 0.08, factor=True)


def decided(
    claim: Claim, data: str, verdict: Verdict, outcome: Outcome | None, unit: str, brief: str
) -> Decision:
    """Return a verdict that one test of the two that keep it would not give, with much text behind it."""
    kept = Outcome(2.0 if verdict == "not supported" else 0.5, 0.4, 0.6, 0.01, factor=True)
    variants = [
        Variant(name, kept, "lower", verdict=one) for name, one in (("a", verdict), ("b", "undecided"))
    ]
    part = Part(
        sentence="What was measured, with all its numbers. " * 6, test="a test", n="5 and 20",
        verdict=verdict, outcome=outcome, p=0.01, unit=unit, brief=brief, variants=lambda: variants,
        caution="short budget", within=(0.8, 1.25) if unit == "factor" else None,
    )  # fmt: skip
    beside = Part(sentence="Beside it something else. " * 6, n="9", decides=False)
    return Decision(claim, data, "", [part, beside], [])


def built(root: Path, decisions: Sequence[Decision] | None = None) -> str:
    """Return the page of the runs below a directory, with their ledger or another."""
    runs = gathered(root)
    glow = [Published("bits_per_dim", "Glow, digits", "2.05±0.01 bits/dim", "Nobody 2026", "zoo reproduce x")]
    published = {run.record.run_id: glow for run in runs if run.record.model == "glow"}
    judged = claims.decide(runs) if decisions is None else decisions
    return page.build(runs, build(runs), {}, judged, published=published)
