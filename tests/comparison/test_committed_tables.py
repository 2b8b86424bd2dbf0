"""The committed tables follow from the committed records."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.comparison import render
from zoo.comparison.collect import collect
from zoo.comparison.tables import build

RESULTS = Path(__file__).resolve().parents[2] / "results"
RECORDS = {  # committed results and the records from which they are made
    "quickstart": ["quickstart/records"],
    "toys": ["toys/records.tar.xz"],
    "claims": ["claims/records.tar.xz", "ffjord_vs_matching/records.tar.xz"],
}


@pytest.mark.parametrize("name", RECORDS)
def test_committed_tables_follow_from_the_records(name):
    runs, warnings = collect([RESULTS / source for source in RECORDS[name]])
    assert not warnings
    tables = build(runs)
    folded = render.folded(tables)
    assert render.FORMATS["md"](folded) + "\n" == (RESULTS / name / "table.md").read_text()
    assert render.csv_text(tables) == (RESULTS / name / "table.csv").read_text()
    assert render.FORMATS["latex"](folded) + "\n" == (RESULTS / name / "table.tex").read_text()
