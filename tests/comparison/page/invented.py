"""Invented runs for the page, and the page of some runs without the figures beside it."""

from __future__ import annotations

from pathlib import Path

from fake_records import nine, save, write, write_toy

from zoo.comparison import claims, page
from zoo.comparison.collect import Run, collect
from zoo.comparison.page.runs import Published
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


def built(root: Path) -> str:
    """Return the page of the runs below a directory."""
    runs = gathered(root)
    glow = [Published("bits_per_dim", "Glow, digits", "2.05±0.01 bits/dim", "Nobody 2026", "zoo reproduce x")]
    published = {run.record.run_id: glow for run in runs if run.record.model == "glow"}
    return page.build(runs, build(runs), {}, claims.decide(runs), published=published)
