"""The benchmark of averaged gradients runs, and refuses averages that are no means."""

from __future__ import annotations

import ddp
import pytest
import table


def test_the_benchmark_of_averaged_gradients_has_every_value_of_its_table():
    (row,) = ddp.measure(ddp.TINY, start="fork")
    assert row["buckets"] == len(row["bucket_mib"]) > 3
    assert row["share_of_backward_passed_when_averaging_begins"][0] < 1
    assert row["gradient_error"] <= ddp.LIMIT
    assert all(row[f"{name}_ms"] > 0 for name in ("zoo", "one", "none"))
    assert len(table.comparisons("ddp", {"rows": [row]})) == len(table.LINES["ddp"])


@pytest.mark.slow
def test_wrong_averages_end_the_benchmark(monkeypatch):
    monkeypatch.setitem(ddp.STRATEGIES, "zoo", ddp.NoAverage)
    with pytest.raises(SystemExit, match="Averaged gradients are wrong by"):
        ddp.measure(ddp.TINY, start="fork")
