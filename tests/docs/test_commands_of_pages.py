"""Commands of the guide's pages: each is read by its parser, composes, plans, and names files that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from embed import embed
from readme_tables import undecided

from zoo.cli import main
from zoo.cli.parser import make_parser
from zoo.cli.train import split_arguments
from zoo.config import check_choices, compose_run
from zoo.reproduction import load
from zoo.sweep import expand, find_sweep
from zoo.sweep.definition import read_sweep

ROOT = Path(__file__).resolve().parents[2]
# The commands of these two pages are run, by tests/test_readme.py.
PAGES = sorted(
    set((ROOT / "docs").glob("*.md")) - {ROOT / f"docs/{run}.md" for run in ("getting-started", "results")}
)
COMMANDS = sorted(
    {
        (page.stem, command)
        for page in PAGES
        for block in re.findall(r"^```bash\n(.*?)^```$", page.read_text(), re.S | re.M)
        for line in block.splitlines()
        for command in re.split(r"\s+#\s", line)[0].split(" && ")
        if command.strip()
    }
)
ZOO = [shlex.split(command)[1:] for _, command in COMMANDS if command.startswith("zoo ")]
SCRIPTS = [shlex.split(command)[1:] for _, command in COMMANDS if command.startswith("python ")]
CHOOSING = [command for page, command in COMMANDS if page == "choosing"]


def of(name: str) -> list[list[str]]:
    return [arguments for arguments in ZOO if arguments[0] == name]


def test_every_page_of_the_guide_with_commands_is_read():
    assert {page for page, _ in COMMANDS} >= {
        "choosing",
        "claims",
        "reproduction",
        "scaling",
        "sweeps",
        "wandb",
    }
    assert {command.split()[0] for _, command in COMMANDS} == {"zoo", "python", "wandb", "pip"}


@pytest.mark.parametrize("arguments", [a for a in ZOO if a[0] != "train"], ids=" ".join)
def test_every_command_is_understood_and_reads_files_that_exist(arguments):
    options, rest = make_parser().parse_known_args(arguments)
    assert not [word for word in rest if word.startswith("-")]
    for path in getattr(options, "paths", []):
        assert path.parts[0] == "runs" or (ROOT / path).exists()


@pytest.mark.parametrize("arguments", of("train"), ids=" ".join)
def test_every_training_composes(arguments):
    overrides = [re.sub(r",.*", "", override) for override in split_arguments(arguments[1:])[1]]
    check_choices(overrides)
    compose_run(overrides)


@pytest.mark.parametrize("arguments", of("sweep"), ids=" ".join)
def test_the_first_job_of_every_sweep_composes(arguments):
    options, rest = make_parser().parse_known_args(arguments)
    first, *_ = expand(read_sweep(find_sweep(options.name)), [*options.overrides, *rest])
    compose_run(first)


@pytest.mark.parametrize("arguments", [a for a in of("reproduce") if a[1] != "list"], ids=" ".join)
def test_every_reproduction_names_cells_of_its_table_and_settings_of_a_run(arguments):
    options, rest = make_parser().parse_known_args(arguments)
    assert load(options.table).select(options.only)
    compose_run([*options.overrides, *rest])


@pytest.mark.parametrize("command", CHOOSING)
def test_the_commands_of_choosing_run_on_committed_records(command, tmp_path, monkeypatch, capsys):
    records = ROOT / "results/quickstart/records"
    (tmp_path / "runs").symlink_to(records)
    run = next(records.glob("realnvp-*")).name
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command.replace("runs/RUN", f"runs/{run}"))[1:]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("arguments", SCRIPTS, ids=" ".join)
def test_every_script_exists(arguments):
    assert (ROOT / arguments[0]).exists()


def embedded() -> set[tuple[str, str]]:
    """Return each page with each table that it marks, or that a command of docs or Makefile puts into it."""
    lines = [arguments for arguments in SCRIPTS if arguments[0] == "scripts/embed.py"]
    makefile = (ROOT / "Makefile").read_text()
    lines += [["embed", *line.split()] for line in re.findall(r"^\t\$\(EMBED\) ([^|\n]*)", makefile, re.M)]
    put = {(page, table) for _, page, *tables in lines for table in tables}
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return put | {
        (str(page.relative_to(ROOT)), table)
        for page in pages
        for table in re.findall(r"<!-- begin: (.*) -->", page.read_text(encoding="utf-8"))
    }


@pytest.mark.parametrize(("page", "table"), sorted(embedded()))
def test_every_embedded_table_is_the_committed_one(page, table):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert embed(text, (ROOT / table).read_text(encoding="utf-8"), table) == text


def test_what_a_picky_reader_cannot_decide_has_no_number_typed_in():
    text = (ROOT / "docs/choosing.md").read_text(encoding="utf-8")
    section = text.partition("## What a picky reader still could not decide")[2].partition("\n## ")[0]
    typed, begin, rest = section.partition("<!-- begin: results/readme/undecided.md -->")
    assert begin
    assert re.findall(r"\d", typed + rest.partition("<!-- end -->")[2]) == []
    committed = (ROOT / "results/readme/undecided.md").read_text(encoding="utf-8")
    assert undecided(ROOT / "results/claims/records.tar.xz") == committed
