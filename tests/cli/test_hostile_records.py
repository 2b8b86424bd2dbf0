"""Texts of a record that steer a terminal are written out, whatever prints them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zoo.cli import main
from zoo.errors import ZooError
from zoo.record import read

QUICKSTART = Path(__file__).resolve().parents[2] / "results/quickstart/records"
CLEAR = "\x1b[2J\x1b]0;pwn\x07"
HOSTILE = f"{CLEAR}\r\x9b\u202e\u2066\x7f|\n| row"
WRITTEN = r"\x1b[2J\x1b]0;pwn\x07\r\x9b\u202e\u2066\x7f|\n| row"
STEERING = {*map(chr, range(32)), *map(chr, range(127, 160)), *"\u2028\u2029\u202e\u2066"} - {"\n"}


def texts(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the place of every text in nested values: what holds it, and the key."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if isinstance(value, str):
            yield tree, key
        elif isinstance(value, (dict, list)):
            yield from texts(value)


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Return the quickstart's runs; two have hostile texts wherever any text may stand, and one is broken."""
    root = tmp_path_factory.mktemp("results")
    names = sorted(path.name for path in QUICKSTART.iterdir())
    for name in names:
        shutil.copytree(QUICKSTART / name, root / name)
    for place, name in enumerate(names[:2]):
        file = root / name / "record.json"
        record = json.loads(file.read_text())
        record["metrics"] |= {f"{HOSTILE}{name}": dict(metric) for name, metric in record["metrics"].items()}
        for holder, key in list(texts(record)):
            before = holder[key]
            holder[key] = f"{before}{HOSTILE}"
            file.write_text(
                json.dumps(record, ensure_ascii=bool(place))
            )  # characters as escapes, or as they are
            try:
                read(file)
            except ZooError:
                holder[key] = before
        file.write_text(json.dumps(record, ensure_ascii=bool(place)))
        assert HOSTILE in record["model"]
        assert HOSTILE in record["provenance"]["command"]
        curves = file.with_name("curves.csv")
        curves.write_text(curves.read_text().replace("train/loss", f"train/{CLEAR}loss"))
    (root / f"x{CLEAR}").mkdir()
    (root / f"x{CLEAR}" / "record.json").write_text('{"schema": 2, "\\u001b[2J": 1}')
    return root


def check(capsys) -> str:
    printed = capsys.readouterr()
    for text in printed:
        assert not STEERING & set(text)
    return printed.out + printed.err


@pytest.mark.parametrize(
    "command",
    [
        ["compare"],
        ["compare", "--format", "md"],
        ["compare", "--format", "latex"],
        ["compare", "--format", "csv"],
        ["compare", "--format", "json"],
        ["recommend", "--all"],
        ["recommend", "--json"],
        ["claims"],
        ["show"],
    ],
    ids=" ".join,
)
def test_nothing_that_steers_a_terminal_is_printed(results, capsys, command):
    main([command[0], str(results), *command[1:]])
    out = check(capsys)
    assert "pwn" in out
    if command[0] == "compare" and command[1:] != ["--format", "latex"]:
        assert (json.dumps(WRITTEN)[1:-1] if "json" in command else WRITTEN.split("|")[0]) in out


def test_a_shown_run_steers_nothing(results, capsys):
    for name in sorted(path.name for path in QUICKSTART.iterdir())[:2]:
        assert main(["show", str(results / name)]) == 0
        assert r"\x1b[2J\x1b]0;pwn\x07" in check(capsys)


def test_an_error_steers_nothing(results, capsys):
    assert main(["show", str(results), "maf"]) == 2
    check(capsys)
    assert main(["recommend", str(results), "--data", "none"]) == 2
    assert r"\x1b[2J" in check(capsys)
