"""Runs that a search has pruned: listed in a table of their own, and compared with nothing."""

from __future__ import annotations

import pytest
from fake_records import show, write

from zoo.comparison.collect import collect
from zoo.comparison.studies import studies
from zoo.comparison.tables import build


def pruned(root, model, **settings):
    record = write(root, model, "flow", status="pruned", key=f"{model}-pruned", **settings)
    record.metrics, record.reason, record.cost.updates = {}, "Pruned at update 50 of 1000.", 50
    record.write(root / record.run_id)
    return record


@pytest.mark.usefixtures("no_figures")
def test_pruned_runs_are_listed_and_change_nothing_else(tmp_path):
    root = tmp_path / "runs"
    for seed in (0, 1):
        write(root, "maf", "flow", seed=seed)
        write(root, "glow", "flow", seed=seed, value=2.0)
    before = build(collect([root])[0])
    given_up = [pruned(root, "glow"), pruned(root, "maf", seed=3)]
    runs, _ = collect([root])
    assert len(runs) == 6
    *others, table = build(runs)
    assert [(t.title, t.rows) for t in others] == [(t.title, t.rows) for t in before]
    assert [row.name for row in table.rows] == sorted(record.run_id for record in given_up)
    assert [row.cells[0].value for row in table.rows] == [50, 50]
    assert [row.cells[-1].text for row in table.rows] == ["pruned", "pruned"]
    assert not any(cell.best for row in table.rows for cell in row.cells)
    assert all(run.record.status == "finished" for study in studies(runs) for run in study.runs)
    text = show([root], tmp_path / "out")
    assert "2 runs that a search has pruned are left out" in text
    assert given_up[0].run_id not in text
    assert "Pruned at update 50 of 1000." in (tmp_path / "out/table.md").read_text()


@pytest.mark.usefixtures("no_figures")
def test_pruned_runs_alone_can_be_shown(tmp_path):
    record = pruned(tmp_path / "runs", "glow")
    assert record.run_id in show([tmp_path / "runs"], tmp_path / "out")
