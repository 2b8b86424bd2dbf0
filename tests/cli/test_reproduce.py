"""Tests of the command ``zoo reproduce``: what it refuses, and what it says where data are missing."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from zoo.cli import main

PAGE = Path(__file__).resolve().parents[2] / "docs/add/paper_table.md"
FILE = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.S | re.M)


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Go to a directory with the table and the recipe of the page on adding one; return the table's name."""
    for name, content in FILE.findall(PAGE.read_text(encoding="utf-8")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return "moons.yaml"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["maf_tabel2_mnist"], "There is no table called 'maf_tabel2_mnist'; did you mean maf_table2_mnist"),
        (["TABLE", "--only", "Gausian"], "There is no row of moons called 'Gausian'; did you mean Gaussian?"),
        (["TABLE", "--only", "Glow/KL"], "There is no column of moons called 'KL'"),
        (["TABLE", "--budget", "soon"], "--budget is a time such as 30m, 2h or 90s; got 'soon'."),
        (["TABLE", "--seeds", "none"], "--seeds is a number of seeds, at least 1, or a list"),
        (["TABLE", "--report-only", "--jobs", "2"], "--report-only runs nothing; leave out"),
        (["TABLE", "--report-only", "--check-data"], "give one of them"),
        (["TABLE", "--check-data", "--budget", "5s"], "--check-data trains nothing; leave out --budget."),
        (
            ["list", "--only", "Glow", "--budget", "5s"],
            "list shows all tables and runs nothing; leave out --only, --budget.",
        ),
        (["TABLE", "--only", "Glow/"], "names no column after the slash; the row is --only 'Glow'."),
        (["TABLE", "--archive"], "name it with -o DIR"),
        (["TABLE", "--report-only", "--runs", "no"], "There is no directory no; --runs names the one"),
        (["TABLE", "training.updates=3"], "would change the paper's recipe"),
        (["TABLE", "--jobs", "0"], "--jobs is how many run at a time, at least 1; got 0."),
        pytest.param(
            ["TABLE", "trainer=gpu"],
            "trainer=gpu needs an accelerator and this machine has none",
            marks=pytest.mark.skipif(torch.accelerator.is_available(), reason="there is an accelerator"),
        ),
        (["bits_per_dim_mnist", "--check-data"], "has no fit in closed form"),
        (["no.yaml"], "There is no file no.yaml"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_run(table, arguments, sentence, capsys, tmp_path):
    assert main(["reproduce", *(table if word == "TABLE" else word for word in arguments)]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("runs/**/record.json"))


def test_a_place_that_takes_no_files_is_refused_before_anything_is_printed(table, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert main(["reproduce", table, "--report-only", "-o", "file/out"]) == 2
    printed = capsys.readouterr()
    assert "Flows on moons" not in printed.out
    assert printed.err.count("\n") == 1


def test_missing_data_are_named_with_their_source_and_place(table, capsys, tmp_path):
    assert main(["reproduce", "made_table_uci", "--check-data", f"data.root={tmp_path}"]) == 2
    printed = capsys.readouterr().out
    assert (
        f"dna: The binary table dna is not at {tmp_path}/uci_binary/dna.npz; get it from https://" in printed
    )
    assert "nips: The binary table nips" in printed


def test_other_data_than_the_papers_stop_the_table(table, capsys, tmp_path):
    content = yaml.safe_load((tmp_path / table).read_text())
    content["closed_forms"]["gaussian"]["value"] = 4.0
    (tmp_path / "moons.yaml").write_text(yaml.safe_dump(content))
    for options in (["--check-data"], ["logger=none"]):
        assert main(["reproduce", "moons.yaml", *options]) == 2
        assert (
            "instead of 4 on data=moons: these are not the data of Flows on moons" in capsys.readouterr().err
        )
    assert not (tmp_path / "runs").exists() or not list(tmp_path.glob("runs/**/config.yaml"))


def test_a_report_shows_committed_results_and_a_damaged_record_is_named(table, capsys, tmp_path):
    assert main(["reproduce", table, "--check-data"]) == 0
    shutil.copytree(tmp_path / "runs/reproduce/moons", tmp_path / "results/papers/moons")
    shutil.rmtree(tmp_path / "runs")
    (tmp_path / "results/papers/moons/broken").mkdir()
    (tmp_path / "results/papers/moons/broken/record.json").write_text("{")
    capsys.readouterr()
    assert main(["reproduce", table, "--report-only", "-o", "out"]) == 0
    printed = capsys.readouterr().out
    assert "broken/record.json" in " ".join(printed.split()).replace("broken/ record", "broken/record")
    cells = {cell["row"]: cell for cell in json.loads((tmp_path / "out/table.json").read_text())["cells"]}
    assert cells["Gaussian"]["status"] in ("replicated", "within error")
    assert cells["Real NVP"]["status"] == "not run"
    assert cells["Real NVP"]["command"] == "zoo reproduce moons.yaml --only 'Real NVP/LL'"


@pytest.mark.parametrize(("command", "name"), [("reproduce", "TABLE"), ("sweep", "NAME")])
def test_without_its_argument_a_command_asks_for_that_alone(command, name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f"the following arguments are required: {name}\n")
