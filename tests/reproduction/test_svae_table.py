"""S-VAE's table 1: what the number of importance samples explains."""

from __future__ import annotations

import json
import math
from pathlib import Path

from zoo.reproduction import load

SUSPECTS = Path("results/papers/svae_table1/suspects.json")
MARGIN = 0.5  # of the column, in nats


def test_no_one_number_of_importance_samples_gives_the_published_likelihoods():
    cells = {cell.name: cell for cell in load("svae_table1").cells}
    like, alike = {}, {}
    for dim, found in json.loads(SUSPECTS.read_text(encoding="utf-8")).items():
        published, bound = cells[f"N-VAE d={dim}/LL"], cells[f"N-VAE d={dim}/ELBO"]
        values = found["by_samples"]
        like[dim] = [
            samples
            for samples in ("10", "500")
            if abs(values[samples]["mean"] - published.value)
            < 2 * math.hypot(values[samples]["deviation"], published.error)
        ]
        above_bound = {samples: values[samples]["mean"] - values["1"]["mean"] for samples in values}
        theirs = published.value - bound.value
        alike[dim] = [samples for samples, ours in above_bound.items() if abs(ours - theirs) < MARGIN]
        if not alike[dim]:
            assert above_bound["1"] < theirs < above_bound["10"]
    words = "the table's suspect says so"
    assert like == {"2": ["10"], "5": ["10"], "10": ["500"]}, words
    assert alike == {"2": [], "5": ["10"], "10": ["50", "100"]}, words
