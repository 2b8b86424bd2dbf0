"""The tables in results/papers are those that zoo makes of the records there."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.reproduction import load, report
from zoo.reproduction.overview import overview
from zoo.reproduction.overview_files import write_overview
from zoo.reproduction.render import markdown

RESULTS = Path(__file__).parents[2] / "results"
TABLES = sorted(file.parent.name for file in RESULTS.glob("papers/*/table.md"))


@pytest.fixture(autouse=True)
def in_a_place_without_runs(tmp_path, monkeypatch):
    (tmp_path / "results").symlink_to(RESULTS)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", TABLES)
def test_a_committed_table_is_that_of_its_records(name):
    committed = (RESULTS / "papers" / name / "table.md").read_text(encoding="utf-8")
    assert markdown(report(load(name))) == committed, (
        f"zoo reproduce {name} --report-only -o results/papers/{name}"
    )


def test_the_committed_overview_is_that_of_the_tables(tmp_path):
    write_overview(overview(), tmp_path / "new")
    files = sorted((tmp_path / "new").iterdir())
    assert {"verdicts.md", "reasons.md", "overview.md", "cells.csv"} <= {file.name for file in files}
    for file in files:
        committed = RESULTS / "papers" / file.name
        assert file.read_text(encoding="utf-8") == committed.read_text(encoding="utf-8"), "make papers"
