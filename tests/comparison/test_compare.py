"""`zoo compare`: its files, warnings, archive and imports."""

from __future__ import annotations

import csv
import html
import io
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_records import line, save, show, write, write_toy

from zoo.cli import main
from zoo.comparison import View, tables
from zoo.comparison.archive import pack
from zoo.comparison.collect import Run, collect, folder_name
from zoo.comparison.tables import build
from zoo.comparison.tables.stability import stability_table
from zoo.errors import ZooError


def test_the_table_is_written_in_every_format(runs, tmp_path):
    write(runs, "<script>alert(1)</script>_&%", "flow")
    out = tmp_path / "out"
    show([runs], out)
    rows = list(csv.DictReader((out / "table.csv").open()))
    assert float(next(r for r in rows if r["model"] == "vae" and r["column"] == "bits/dim")["value"]) == 1.2
    tex = (out / "table.tex").read_text()
    assert r"\_\&\%" in tex
    assert r"1.800 $\pm$ 0.012$^\dagger$" in tex
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 1
    for name in ("samples.png", "curves.svg", "speed_vs_quality.png"):
        assert (out / name).stat().st_size > 1000


def test_failed_runs_have_rows(runs):
    write(runs, "maf", "flow", status="diverged")
    text = show([runs])
    assert "diverged" in line(text, "maf")
    assert "diverged: Training diverged at update 3: train/loss is nan." in text
    assert "≤" in line(text, "vae")


@pytest.mark.usefixtures("no_figures")
def test_a_damaged_file_beside_a_record_is_named(runs, tmp_path, capsys):
    paths = [path for path in sorted(runs.iterdir()) if path.name.startswith(("gan", "glow", "vae"))]
    assert "is damaged" not in show(paths, tmp_path / "page")
    damaged = [paths[0] / "samples.npz", paths[1] / "curves.csv", paths[1] / "likelihood.npz"]
    damaged[0].write_bytes(damaged[0].read_bytes()[:-30])
    for file in damaged[1:]:
        file.write_bytes(b"\xff garbage\n1,2\n")
    (paths[2] / "curves.csv").write_text("updates,train/loss\n")
    text = show(paths, tmp_path / "page")
    assert text.count("is damaged") == len(damaged)
    assert all(f"warning: The file {file} is damaged" in text for file in damaged)
    assert main(["show", str(paths[1])]) == 0
    assert capsys.readouterr().out.replace("\n", "").count("is damaged") == 2


def test_a_damaged_record_is_a_warning(runs):
    (runs / "broken").mkdir()
    (runs / "broken/record.json").write_text("{")
    record = write(runs, "odd", "flow")
    record.sampling.latency_seconds = "fast"
    directory = save(runs, record)
    text = show([runs]).replace("\n", "")
    assert text.count("warning: The record") == 2
    assert "broken/record.json" in text
    assert f"warning: The record {directory}" in text


def test_nothing_to_compare_is_an_error(tmp_path):
    with pytest.raises(ZooError, match="no directory"):
        show([tmp_path / "nowhere"])
    with pytest.raises(ZooError, match="no readable record"):
        show([tmp_path])


def test_a_run_counts_once_wherever_it_is_found(runs):
    collected, warnings = collect([runs, runs / "vae-digits-s0", runs / "vae-digits-s0/record.json"])
    assert len(collected) == 6
    assert not warnings


def test_unchanged_inputs_are_not_drawn_again_and_an_archive_stands_alone(runs, tmp_path):
    out = tmp_path / "out"
    text = show([runs], out, archive=True)
    before = (out / "index.html").stat().st_mtime_ns
    show([runs], out, archive=True)
    assert (out / "index.html").stat().st_mtime_ns == before
    show([runs], out)  # the page names the command, which is another one
    again = (out / "index.html").stat().st_mtime_ns
    assert again != before
    write(runs, "maf", "flow")
    show([runs], out)
    assert (out / "index.html").stat().st_mtime_ns != again
    table = text.partition("page:")[0]
    assert show([out / "records"]) == show([out]) == table
    assert show([out], out, archive=True).partition("page:")[0] == table, "an archive is compared in place"
    assert "is of an earlier comparison" in show([runs / "vae-digits-s0"], out, archive=True)


def test_the_page_says_how_it_is_made_again_and_nothing_of_other_directories(runs, tmp_path, monkeypatch):
    def command(*paths: Path, **settings) -> str:
        show(paths, Path("out"), **settings)
        page = Path("out/index.html").read_text(encoding="utf-8")
        found = re.search(r'<code id="made-command">(.*?)</code>', page)
        assert found is not None
        return html.unescape(found[1])

    shutil.copytree(runs, tmp_path / "here" / "my runs")
    monkeypatch.chdir(tmp_path / "here")
    assert command(Path("my runs")) == "zoo compare 'my runs' -o out"
    assert command(Path.cwd() / "my runs") == "zoo compare 'my runs' -o out"
    assert command(runs) == f"zoo compare {runs.name} -o out"
    assert command(Path("my runs"), archive=True) == "zoo compare out/records -o out"
    some = sorted(file.parent for file in Path("my runs").glob("*/record.json"))
    assert command(*some) == "zoo compare 'my runs' -o out", "as after a sweep"
    assert command(*some[1:]).startswith(f"zoo compare 'my runs/{some[1].name}'"), (
        "not all runs that lie there"
    )


def test_an_archive_holds_what_a_figure_can_show_of_a_long_curve(tmp_path):
    file = tmp_path / "curves.csv"
    rows = [f"{i},{i / 2},{i if i % 777 == 0 else ''}" for i in range(1, 5001)]
    file.write_text("\n".join(["updates,train/loss,val/loss", *rows]) + "\n")
    archived = list(csv.DictReader(io.StringIO(pack(file).decode())))
    assert 250 <= len(archived) <= 270
    assert [row["val/loss"] for row in archived if row["val/loss"]] == [str(777 * k) for k in range(1, 7)]
    assert archived[-1]["updates"] == "5000"
    assert {f"{r['updates']},{r['train/loss']},{r['val/loss']}" for r in archived} <= set(rows)
    for every in (777, 25):
        rows = [f"{i},{i / 2},{i if i % every == 0 else ''}" for i in range(1, 10_001)]
        file.write_text("\n".join(["updates,train/loss,val/loss", *rows]) + "\n")
        thin = pack(file)
        file.write_bytes(thin)
        assert pack(file) == thin, "packing again changes nothing"
    for few in ("", "updates,val/loss\n", "updates,val/loss\n1,2\n3"):
        file.write_text(few)
        assert pack(file).decode() == few


def test_an_archive_holds_arrays_in_fewer_bytes(tmp_path):
    for data in ("moons", "rings"):
        record = write_toy(tmp_path / "runs", "maf", 0.1, data=data)
    source = tmp_path / "runs" / record.run_id / "density.npz"
    show([tmp_path / "runs"], tmp_path / "out", archive=True)
    archived = tmp_path / f"out/records/{record.run_id}/density.npz"
    np.testing.assert_array_equal(np.load(archived)["density"], np.load(source)["density"])
    assert archived.stat().st_size < source.stat().st_size
    assert pack(archived) == archived.read_bytes(), "packing again changes nothing"
    whole = archived.read_bytes()
    middle = len(whole) // 2
    for damaged in (whole[:-200], whole[:middle] + bytes(20) + whole[middle + 20 :]):
        archived.write_bytes(damaged)
        assert pack(archived) == damaged, "a damaged file is copied as it is"
    assert Run(record, archived.parent).arrays("density.npz") is None
    shutil.copy(source, archived)
    assert "Divergence from" in show([tmp_path / "out/records"], tmp_path / "again")


def test_a_hostile_run_id_does_not_leave_the_output_directory(tmp_path):
    record = write(tmp_path / "runs", "$x_{", "flow")
    record.run_id = "../../escaped"
    record.reason = "two\nlines <b>"
    record.write(tmp_path / "runs/a")
    show([tmp_path / "runs"], tmp_path / "out", archive=True)
    assert not list(tmp_path.parent.glob("escaped"))
    assert not (tmp_path / "escaped").exists()
    assert all(not row or row.startswith(("%", "\\")) or "&" in row
               for row in (tmp_path / "out/table.tex").read_text().splitlines())  # fmt: skip
    assert folder_name("../../escaped") == "_.._escaped"
    assert folder_name("...") == "run"


def test_a_comparison_imports_no_torch_and_no_matplotlib_without_figures(runs):
    command = f"from zoo.cli import main; main(['compare', {str(runs)!r}])"
    names = ("torch", "lightning", "hydra", "wandb", "matplotlib", "jinja2", "scipy")
    code = f"import sys; {command}; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_nothing_that_was_read_is_kept_from_the_last_search_for_garbage():
    """Otherwise libraries that count their objects print a page of leaks at the end of a sweep."""
    program = """
import atexit, gc, pathlib
atexit.register(lambda: print(gc.get_freeze_count()))  # runs last
from zoo.comparison.collect import collect
collect([pathlib.Path("results/quickstart/records")])
print(gc.get_freeze_count() > 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "0"]


def test_the_terminal_has_the_main_tables_and_nothing_builds_those_beside_them(monkeypatch):
    runs = Path(__file__).resolve().parents[2] / "results/quickstart/records"
    known = collect([runs])[0]
    every = build(known)
    assert sum(table.beside for table in every) >= 2
    assert build(known, beside=False) == [table for table in every if not table.beside]
    built = []

    def stability(title, study):
        built.append(title)
        return stability_table.build(title, study)

    counted = replace(stability_table, build=stability)
    monkeypatch.setattr(tables, "study_tables", lambda: (counted,))
    show([runs])
    assert built == []
    show([runs], view=View(sort="finished"))
    assert built, "a column of a table beside may be asked for"
    built.clear()
    monkeypatch.setattr(tables, "study_tables", lambda: (replace(counted, beside=False),))
    show([runs])
    assert built, "a table that may be a main one is built"
