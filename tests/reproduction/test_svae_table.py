"""S-VAE's table 1: what the number of importance samples explains."""

from __future__ import annotations

import json
import math
from pathlib import Path

from zoo.reproduction import load

SUSPECTS = Path("results/papers/svae_table1/suspects.json")


def test_ten_importance_samples_give_the_published_likelihood_and_five_hundred_a_higher_one():
    cells = {cell.name: cell for cell in load("svae_table1").cells}
    for dim, found in json.loads(SUSPECTS.read_text(encoding="utf-8")).items():
        published, bound = cells[f"N-VAE d={dim}/LL"], cells[f"N-VAE d={dim}/ELBO"]
        values = found["by_samples"]
        error = math.hypot(values["10"]["deviation"], published.error)
        assert abs(values["10"]["mean"] - published.value) < 2 * error
        assert values["500"]["mean"] - published.value > 2 * error
        ours, theirs = values["10"]["mean"] - values["1"]["mean"], published.value - bound.value
        assert abs(ours - theirs) < 0.5  # the margin of the column
