"""S-VAE's table 1: what the number of importance samples explains."""

from __future__ import annotations

import json
import math
from pathlib import Path

from zoo.reproduction import load

SUSPECTS = Path("results/papers/svae_table1/suspects.json")
MARGIN = 0.5  # of the column, in nats


def test_ten_importance_samples_give_the_published_likelihoods_and_five_hundred_higher_ones():
    cells = {cell.name: cell for cell in load("svae_table1").cells}
    same_gap = {}
    for dim, found in json.loads(SUSPECTS.read_text(encoding="utf-8")).items():
        published, bound = cells[f"N-VAE d={dim}/LL"], cells[f"N-VAE d={dim}/ELBO"]
        values = found["by_samples"]
        error = math.hypot(values["10"]["deviation"], published.error)
        assert abs(values["10"]["mean"] - published.value) < 2 * error
        assert values["500"]["mean"] - published.value > 2 * error
        ours, theirs = values["10"]["mean"] - values["1"]["mean"], published.value - bound.value
        same_gap[dim] = abs(ours - theirs) < MARGIN
    assert same_gap == {"2": False, "5": True}, "the table's suspect says so"
