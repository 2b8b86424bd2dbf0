"""The tables on a terminal of 80 columns: a row for each model, and headings that name the kind of error."""

from __future__ import annotations

import io
import re

import pytest
from fake_records import save, write
from rich.console import Console

from zoo.comparison import compare
from zoo.comparison.view import View

pytestmark = pytest.mark.usefixtures("no_figures")


def on_terminal(paths, **settings):
    """Return what a terminal of 80 columns shows."""
    text = io.StringIO()
    compare(paths, None, console=Console(file=text, width=80), **settings)
    return text.getvalue()


def test_the_terminal_has_a_row_for_each_model_and_counts_the_other_configurations(tmp_path):
    for seed in range(3):
        write(tmp_path, "maf", "flow", seed=seed)
        write(tmp_path, "glow", "flow", seed=seed)
    for key in ("-wide", "-deep"):
        write(tmp_path, "maf", "flow", key=key)
    text = on_terminal([tmp_path])
    assert len(re.findall(r"^maf", text, re.MULTILINE)) == len(re.findall(r"^glow", text, re.MULTILINE))
    assert "other configurations, shown by --sort COLUMN: 2 of maf" in text
    every = on_terminal([tmp_path], view=View(sort="bits/dim"))
    assert len(re.findall(r"^maf \(", every, re.MULTILINE)) == 2 * len(
        re.findall(r"^glow", every, re.MULTILINE)
    )
    assert "other configurations" not in every


def two_models(root):
    """Write three seeds of two models, and of one another configuration, of which a run diverged."""
    for seed in range(3):
        write(root, "maf", "flow", seed=seed, fd=3.0 + 0.01 * seed)
        write(root, "glow", "flow", seed=seed, fd=9.0 + 0.01 * seed)
    for seed, status in enumerate(("finished", "diverged")):
        record = write(root, "maf", "flow", seed=seed, key="-b", status=status)
        record.provenance.config = {"seed": seed, "training": {"lr": 0.1}}
        record.provenance.overrides = ["training.lr=0.1"]
        save(root, record)


def test_files_have_a_row_for_each_model_and_the_other_configurations_after_it(tmp_path):
    two_models(tmp_path / "runs")
    compare([tmp_path / "runs"], tmp_path / "out", console=Console(file=io.StringIO()))
    table, latex, summary, values = (
        (tmp_path / "out" / name).read_text() for name in ("table.md", "table.tex", "summary.md", "table.csv")
    )
    main, others = table.split("**digits: other configurations**")
    others = others.split("\n\n**")[0]
    assert [row.split(" | ")[0] for row in main.splitlines() if re.match(r"\| (maf|glow)", row)] == [
        "| glow", "| maf",
    ]  # fmt: skip
    assert re.findall(r"^\| (maf.*?) \|", others, re.MULTILINE) == ["maf (lr 0.1)"]
    assert "- other configurations, in the table after this one: 1 of maf" in main
    assert "diverged: Training diverged" not in main, "a footnote stands below what it explains"
    assert others.count("diverged: Training diverged") == 1
    assert "letters" not in others
    assert "% digits: other configurations" in latex
    assert "digits: other configurations" not in summary
    assert "- other configurations, in table.csv: 1 of maf" in summary
    assert "maf (lr 0.1)" in values, "the file of values has all rows of all tables"
    assert "other configurations" not in values


def test_headings_and_captions_of_files_say_what_they_show(tmp_path, capsys):
    two_models(tmp_path)
    for form, heading in (("md", "bits/dim ± sd ↓"), ("latex", r"bits/dim $\pm$ sd $\downarrow$")):
        assert compare([tmp_path], None, form=form) == 0
        text = capsys.readouterr().out
        assert heading in text
        assert "bold: the best" in text
        assert "; the best has an a" in text
    compare([tmp_path], None, form="md", view=View(sort="bits/dim"))
    assert "other configurations" not in capsys.readouterr().out, "a sorted table has all rows"
    compare([tmp_path], None, form="json")
    assert "bold" not in capsys.readouterr().out
    assert "bold" not in on_terminal([tmp_path]), "a text without colours has no bold print"
    coloured = io.StringIO()
    compare([tmp_path], None, console=Console(file=coloured, width=80, force_terminal=True))
    assert "bold: the best" in coloured.getvalue()


def test_one_seed_beside_means_over_several_says_its_number(tmp_path):
    for seed in range(3):
        write(tmp_path, "maf", "flow", seed=seed, value=1.5 + 0.1 * seed)
    write(tmp_path, "glow", "flow")
    text = on_terminal([tmp_path])
    assert re.search(r"^glow .*1\.500 ± 0\.012 \[1\]", text, re.MULTILINE)
    assert "± se: of one seed [1], the standard error of the evaluation" in " ".join(text.split())


def test_the_configurations_of_a_single_model_are_all_shown(tmp_path):
    for key in ("", "-wide"):
        write(tmp_path, "maf", "flow", key=key)
    assert "other configurations" not in on_terminal([tmp_path])


def test_the_terminals_headings_say_what_the_errors_are(tmp_path):
    write(tmp_path / "one", "glow", "flow")
    for seed in range(3):
        write(tmp_path / "three", "maf", "flow", seed=seed, value=1.5 + 0.1 * seed)
    one, three, both = (on_terminal([tmp_path / name]) for name in ("one", "three", "."))
    assert "bits/dim ± se ↓" in one
    assert "bits/dim ± sd ↓" in three
    assert "bits/dim ± sd/se ↓" in both
    assert "seq. evals ↓" in both, "a count has no error"
    assert re.search(r"real data \(floor\) .*0\.500 ± 0\.050", both)
    assert max(map(len, both.splitlines())) <= 80
