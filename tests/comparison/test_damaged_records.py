"""A record of which a value was replaced by anything else is read or named, and never an exception."""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_records import show

from zoo.comparison import render
from zoo.comparison.collect import collect
from zoo.comparison.commands import claims
from zoo.comparison.tables import build

QUICKSTART = Path(__file__).resolve().parents[2] / "results/quickstart/records"
HUGE = "HUGE"  # written as 1e400, which JSON allows and no float holds
VALUES = [None, "", "text", float("nan"), [], [1, "a"], {"a": 1}, True, -1, 10**30, 1e300, -1e308, HUGE]
PARTS = ("metrics", "sampling", "stability", "cost", "config", "data", "")


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value of a nested record, itself included."""
    yield path
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


def replaced(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of a nested record with the value at one place replaced."""
    if not path:
        return value
    tree = copy.deepcopy(tree)
    target = tree
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return tree


def edits(count: int, seed: int) -> Iterator[tuple[str, tuple[Any, ...], Any]]:
    """Yield records of the quickstart with a place in each and what to put there."""
    rng = random.Random(seed)
    names = sorted(path.name for path in QUICKSTART.iterdir())
    records = {name: json.loads((QUICKSTART / name / "record.json").read_text()) for name in names}
    for _ in range(count):
        name, part = rng.choice(names), rng.choice(PARTS)
        ways = [way for way in places(records[name]) if part in (*way[:2], "")]
        yield name, rng.choice(ways), rng.choice(VALUES)


@pytest.fixture
def damage(tmp_path):
    """Return a function that damages one of the quickstart's records, the others being healthy."""
    root = tmp_path / "runs"
    for path in QUICKSTART.iterdir():
        (root / path.name).mkdir(parents=True)
        shutil.copy(path / "record.json", root / path.name)

    damaged: list[str] = []

    def change(name: str, way: tuple[Any, ...], value: Any) -> Path:
        if damaged:
            earlier = damaged.pop()
            shutil.copy(QUICKSTART / earlier / "record.json", root / earlier)
        damaged.append(name)
        raw = json.loads((QUICKSTART / name / "record.json").read_text())
        text = json.dumps(replaced(raw, way, value)).replace(f'"{HUGE}"', "1e400")
        (root / name / "record.json").write_text(text)
        return root

    return change


@pytest.mark.parametrize("count", [150, pytest.param(6000, marks=pytest.mark.slow)])
def test_a_damaged_record_is_in_the_tables_or_is_named(damage, count):
    named = 0
    for name, way, value in edits(count, seed=count):
        root = damage(name, way, value)
        try:
            runs, warnings = collect([root])
            for table in build(runs):
                render.markdown(table)
        except Exception as error:
            error.add_note(f"{name}: {way} = {value!r}")
            raise
        said = any(str(root / name / "record.json") in sentence for sentence in warnings)
        assert len(warnings) == said
        assert len(runs) == 10 - said or way == ("run_id",), (name, way, value)
        named += said
    assert count / 3 < named < count, "the edits are of both kinds"


def test_pages_and_claims_survive_a_damaged_record(damage, tmp_path):
    for index, (name, way, value) in enumerate(edits(12, seed=1)):
        root = damage(name, way, value)
        try:
            claims([root], None)
            if index % 4 == 0:
                show([root], tmp_path / f"out{index}")
        except Exception as error:
            error.add_note(f"{name}: {way} = {value!r}")
            raise


@pytest.mark.parametrize("value", [1e101, -1e300, HUGE])
@pytest.mark.parametrize("part", ["value", "standard_error"])
def test_a_number_that_nothing_measures_is_named(damage, part, value):
    name = min(path.name for path in QUICKSTART.iterdir() if path.name.startswith("maf"))
    root = damage(name, ("metrics", "bits_per_dim", part), value)
    runs, (sentence,) = collect([root])
    assert len(runs) == 9
    assert f"{root / name / 'record.json'} is damaged (metrics.bits_per_dim.{part}: " in sentence
