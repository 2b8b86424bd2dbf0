"""S-VAE's table 1: what the number of importance samples explains."""

from __future__ import annotations

import json
from pathlib import Path

from zoo.reproduction import load

SUSPECTS = Path("results/papers/svae_table1/suspects.json")
MARGIN = 0.5  # of the column, in nats


def test_no_one_number_of_importance_samples_gives_the_published_likelihoods():
    cells = {cell.name: cell for cell in load("svae_table1").cells}
    alike = {}
    for dim, found in json.loads(SUSPECTS.read_text(encoding="utf-8")).items():
        published, bound = cells[f"N-VAE d={dim}/LL"], cells[f"N-VAE d={dim}/ELBO"]
        means = {samples: value["mean"] for samples, value in found["by_samples"].items()}
        assert [*means.values()] == sorted(means.values()), "more samples, a tighter bound"
        above_bound = {samples: value - means["1"] for samples, value in means.items()}
        theirs = published.value - bound.value
        alike[dim] = [samples for samples, ours in above_bound.items() if abs(ours - theirs) < MARGIN]
        if not alike[dim]:
            assert above_bound["1"] < theirs < above_bound["10"]
    assert alike == {"2": [], "5": ["10"], "10": ["50", "100"]}, "the table's suspect says so"
