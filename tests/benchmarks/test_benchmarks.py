"""The table of the benchmarks has the values of their files."""

from __future__ import annotations

import json
import shutil

import common
import pytest
import table


def test_the_committed_tables_are_made_from_the_committed_files():
    for name, made in table.TABLES.items():
        text = (table.RESULTS / name).read_text(encoding="utf-8")
        assert text == made(), "run `python benchmarks/table.py`"
    made = (table.RESULTS / "table.md").read_text()
    assert {file.stem for file in table.RESULTS.glob("*.json")} == {
        line.split(" | ")[0].removeprefix("| ") for line in made.splitlines()[2:]
    }


def test_a_benchmark_that_writes_its_file_makes_the_tables_anew(tmp_path, monkeypatch):
    shutil.copytree(table.RESULTS, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(table, "RESULTS", tmp_path)
    before = table.table()
    rows = json.loads((tmp_path / "tarflow_sampling.json").read_text())["rows"]
    common.write("tarflow_sampling", [row | {"naive_over_cached": 54321.0} for row in rows])
    made = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert made == table.table() != before
    assert "5.43e+04" in made


def test_values_are_those_of_the_rows_that_a_line_names():
    rows = [
        {"task": "density", "peer": peer, "ratio": ratio}
        for peer, ratio in (("nflows", 0.5), ("nflows", 0.8), ("zuko", 0.25), ("normflows", 1.0))
    ]
    rows += [row | {"task": task} for task in ("train", "sample") for row in rows]
    values = table.comparisons("coupling", {"rows": rows})
    assert values["coupling flows, density, nflows by zoo"] == pytest.approx([2.0, 1.25])
    assert values["coupling flows, sampling, zuko by zoo"] == [4.0]
    row = {"plain_mib": 6.0, "memory_efficient_mib": 2, "time_ratio": 2}
    values = table.comparisons("residual_memory", {"rows": [row]})
    assert list(values.values()) == [[3.0], [2.0]]


def test_a_benchmark_without_lines_shows_its_ratios():
    record = {"about": "This by that.", "rows": [{"n": 1, "ratios": {"peer": 2.0}}, {"ratios": {"peer": 3}}]}
    assert table.comparisons("new", record) == {"This by that: ratios.peer": [2.0, 3]}


@pytest.mark.parametrize(("name", "row"), [("memory", {"time_ratio": 2.0}), ("new", {"seconds": 1.0})])
def test_a_missing_value_is_an_error(name, row):
    with pytest.raises(SystemExit, match=rf"{name}\.json has no"):
        table.comparisons(name, {"rows": [row]})
