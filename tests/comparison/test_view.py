"""What zoo compare prints: narrow terminals, chosen columns and data, sorting, and other forms."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from fake_records import GAN_REASON, nine, save, write
from rich.console import Console

from zoo.cli import main
from zoo.comparison import View, compare
from zoo.comparison.collect import collect
from zoo.comparison.lines import say
from zoo.comparison.render import FORMATS
from zoo.comparison.tables import build
from zoo.errors import ZooError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    nine(tmp_path / "runs")
    nine(tmp_path / "runs", seed=1)
    return tmp_path / "runs"


def printed(root: Path, width: int = 80, **settings) -> str:
    text = io.StringIO()
    compare([root], None, console=Console(file=text, width=width), view=View(**settings))
    return text.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_every_line_fits_the_terminal_and_every_value_is_there(root: Path, width: int) -> None:
    text = printed(root, width)
    assert max(map(len, text.splitlines())) <= width
    table = build(collect([root])[0])[0]
    for row in table.rows:
        for column, cell in zip(table.columns, row.cells, strict=True):
            if column not in ("updates", "images seen", "status"):
                assert cell.text in text, (row.name, column)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_ends_in_blanks(root: Path, width: int) -> None:
    lines = printed(root, width).splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    assert any(line.startswith("  ") for line in lines), "notes are indented"


def test_a_number_and_its_unit_stand_on_one_line() -> None:
    told = "One sample takes 10 ms, 128,000 samples/s, 50 % of 8 MB; 7 models"
    for width in range(20, 50):
        text = io.StringIO()
        say(
            "One sample takes 10 ms, 128,000 samples/s, 50 % of 8 MB; 7 models",
            Console(file=text, width=width),
        )
        lines = text.getvalue().splitlines()
        assert all(len(line) <= width for line in lines)
        assert " ".join(lines) == told
        assert not any(line[-1].isdigit() and line[-1] != "7" for line in lines)


def test_notes_are_of_the_columns_that_are_shown(tmp_path: Path) -> None:
    record = write(tmp_path, "maf", "flow", "estimate")
    record.sampling.latency_quartiles, record.sampling.latency_repeats = [0.003, 0.005], 20
    save(tmp_path, record)
    write(tmp_path, "gan", "gan", value=None)
    whole = printed(tmp_path)
    assert "median of its calls" in whole
    assert "≈ estimate" in whole
    assert GAN_REASON in whole
    likelihoods = printed(tmp_path, columns=("bits/dim",))
    assert "median of its calls" not in likelihoods
    assert "≈ estimate" in likelihoods
    assert GAN_REASON in likelihoods
    times = printed(tmp_path, columns=("latency",))
    assert "median of its calls" in times
    assert "≈ estimate" not in times
    assert GAN_REASON not in times


def test_large_numbers_are_written_out(tmp_path: Path) -> None:
    write(tmp_path, "vae", "vae", latency=0.0000625)
    text = printed(tmp_path, columns=("samples/s",))
    assert "128,000" in text
    assert "e+" not in text


def test_long_names_wrap_and_values_do_not(tmp_path: Path) -> None:
    write(tmp_path, "a_model_with_an_exceedingly_long_name_of_sixty_characters_or_so", "flow")
    text = printed(tmp_path)
    assert max(map(len, text.splitlines())) <= 80


def test_chosen_columns_stand_in_the_chosen_order(root: Path) -> None:
    text = printed(root, columns=("latency", "bits/dim"))
    (head,) = [line for line in text.splitlines() if line.startswith("model") and "↓" in line]
    words = [word for word in head.split() if word not in ("±", "sd", "se", "sd/se")]
    assert words == ["model", "latency", "(ms)", "↓", "bits/dim", "↓"]


def test_sorting_never_mixes_kinds_of_likelihood(root: Path) -> None:
    (table,) = View(sort="bits/dim").tables(build(collect([root])[0])[:1])
    cells = [row.cells[0] for row in table.rows if row.cells[0].value is not None]
    kinds = [cell.kind for cell in cells]
    assert list(dict.fromkeys(kinds)) == ["exact", "exact†", "lower bound", "estimate"]
    assert kinds == sorted(kinds, key=["exact", "exact†", "lower bound", "estimate"].index)
    for kind in set(kinds):
        values = [cell.value for cell in cells if cell.kind == kind]
        assert values == sorted(values)  # type: ignore[type-var]
    assert table.rows[-1].name == "real data (floor)"


def test_one_data_set_can_be_chosen(root: Path) -> None:
    nine(root, data="two-moons")
    assert "two-moons" in printed(root)
    assert "two-moons" not in printed(root, data="digits")


def test_a_column_has_the_word_of_the_other_commands_and_may_hold_a_comma(root: Path, capsys) -> None:
    (table,) = View(columns=("throughput",)).tables(build(collect([root])[0])[:1])
    assert table.columns == ["samples/s", "status"]
    one = replace(table, columns=["error, float32", "status"])
    (chosen,) = View(columns=("status", "error", "float32")).tables([one])
    assert chosen.columns == ["error, float32", "status"]


def test_mistakes_are_named(root: Path) -> None:
    with pytest.raises(ZooError, match="No table has a column 'beauty'; the columns are 'bits/dim', "):
        printed(root, columns=("beauty",))
    with pytest.raises(ZooError, match="column 'latncy'; did you mean 'latency \\(ms\\)'"):
        printed(root, columns=("latncy",))
    with pytest.raises(ZooError, match="No run is on the data set 'mnist'; the records have digits"):
        printed(root, data="mnist")


def test_tables_are_printed_as_markdown_csv_and_json(root: Path, capsys) -> None:
    arguments = ["compare", str(root), "--columns", "bits/dim,fd"]
    assert main([*arguments, "--format", "md"]) == 0
    markdown = capsys.readouterr().out
    assert "| model | bits/dim ± sd ↓ | fd/digits-cnn ± sd ↓ |\n|---|---:|---:|\n" in markdown
    assert main([*arguments, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["column"] for row in rows} == {"bits/dim", "fd/digits-cnn"}
    assert list(rows[0]) == ["table", "model", "column", "value", "spread", "kind", "seeds"]
    assert main([*arguments, "--format", "latex"]) == 0
    latex = capsys.readouterr().out
    assert r"\begin{tabular}{lrr}" in latex
    assert r"model & bits/dim $\pm$ sd $\downarrow$ & fd/digits-cnn $\pm$ sd $\downarrow$ \\" in latex
    assert main(["compare", str(root), "--columns", "status,fd", "--format", "md"]) == 0
    assert "| model | status | fd/digits-cnn ± sd ↓ |" in capsys.readouterr().out
    assert main(["compare", str(root), "--format", "md"]) == 0
    assert "| model | family | bits/dim ± sd ↓ |" in capsys.readouterr().out
    assert main([*arguments, "--format", "json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)
    row = next(row for row in table["rows"] if row["model"] == "glow")
    assert row["cells"]["bits/dim"]["kind"] == "exact†"
    assert len(row["runs"]) == 2


def test_latex_needs_booktabs_alone(root: Path, tmp_path: Path) -> None:
    body = FORMATS["latex"](build(collect([root])[0]))
    assert body.count(r"\begin{tabular}") == body.count(r"\end{tabular}") == body.count(r"\toprule")
    for line in body.splitlines():
        if line.endswith(r"\\"):
            cells = line.count(" & ")
            assert cells > 1
    columns = [line for line in body.splitlines() if line.startswith(r"\begin{tabular}")]
    assert all(set(line.split("{")[-1].rstrip("}")) <= set("lr") for line in columns)
    command = shutil.which("tectonic") or shutil.which("pdflatex")
    if command is not None:
        document = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n%s\n\\end{document}\n"
        (tmp_path / "table.tex").write_text(document % body, encoding="utf-8")
        flags = [] if command.endswith("tectonic") else ["-interaction=nonstopmode", "-halt-on-error"]
        done = subprocess.run([command, *flags, "table.tex"], cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:]


def test_a_collapsed_model_is_marked_and_last_of_what_is_sorted(tmp_path: Path) -> None:
    for model, fd, latency in (("glow", 3.0, 0.004), ("gan", 90.0, 0.0001), ("maf", 4.0, 0.002)):
        for seed in range(3):
            write(tmp_path, model, "flow", fd=fd + 0.1 * seed, seed=seed, latency=latency)
    (table, *_) = View(sort="latency").tables(build(collect([tmp_path])[0]))
    assert [row.name for row in table.rows if row.runs] == ["maf", "glow", "gan"]
    states = [row.cells[-1].text for row in table.rows if row.runs]
    assert states == ["3 finished", "3 finished", "3 finished, 3 collapsed"]
    assert any("collapsed: a run's samples are too far" in note for note in table.notes)
