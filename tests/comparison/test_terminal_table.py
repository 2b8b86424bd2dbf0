"""The tables on a terminal of 80 columns: a row for each model, and headings that name the kind of error."""

from __future__ import annotations

import io
import re

import pytest
from fake_records import write
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
