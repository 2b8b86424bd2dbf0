"""The provenance of runs: the facts that all of them share, then those of each."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from zoo.comparison.collect import Run
from zoo.record import Record

Tree = dict[str, Any]


def provenance(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Return titles and facts in JSON: those of all runs together, if they share any, then those of each."""
    trees = [_facts(run.record) for run in runs]
    shared = _common(trees) if len(runs) > 1 else {}
    parts = [(f"shared by all {len(runs)} runs", shared)] if shared else []
    for run, facts in zip(runs, trees, strict=True):
        record = run.record
        reason = f" — {record.reason}" if record.reason else ""
        parts.append(
            (f"{record.run_id} · seed {record.seed} · {record.status}{reason}", _without(facts, shared))
        )
    return [(title, json.dumps(tree, default=str)) for title, tree in parts]


def _facts(record: Record) -> Tree:
    """Return provenance, cost and sampling of a record, without what was not recorded."""
    provenance = _recorded(dataclasses.asdict(record.provenance))
    config = {"config": provenance.pop("config", None)}
    costs = {name: _recorded(dataclasses.asdict(getattr(record, name))) for name in ("cost", "sampling")}
    return provenance | config | costs


def _recorded(tree: Tree) -> Tree:
    """Return a part of a record without the fields that are None or empty."""
    return {name: value for name, value in tree.items() if value is not None and value != {}}


def _common(trees: Sequence[Tree]) -> Tree:
    """Return the part of nested dictionaries that is the same in all."""
    common: Tree = {}
    for key, value in trees[0].items():
        values = [tree.get(key) for tree in trees]
        branches = [branch for branch in values if isinstance(branch, dict)]
        if len(branches) == len(trees):
            if shared := _common(branches):
                common[key] = shared
        elif all(key in tree for tree in trees) and all(other == value for other in values):
            common[key] = value
    return common


def _without(tree: Tree, common: Tree) -> Tree:
    """Return what is left of a nested dictionary without its common part."""
    rest: Tree = {}
    for key, value in tree.items():
        if key not in common:
            rest[key] = value
        elif isinstance(value, dict) and (left := _without(value, common[key])):
            rest[key] = left
    return rest
