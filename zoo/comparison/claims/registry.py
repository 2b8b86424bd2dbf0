"""The registry of the ledger's rules: what each claim measures, when the rule was written, and its hash.

``registry.yaml`` has an entry for each claim. The hash covers the claim's own file, its entry and the
constants that all rules share. If one of them changes and the registry does not, the claim counts as
unregistered and the test suite fails; ``scripts/register.py`` writes the hashes. Results that are older than
a rule are exploratory: the rule may have been chosen because of them.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("registry.yaml")
UNHASHED = ("hash", "changes", "limitation")


@dataclass(frozen=True)
class Change:
    """A change of a rule after data had been seen: its date, what changed, and its effect on verdicts."""

    date: str
    what: str
    effect: str


@dataclass(frozen=True)
class Limitation:
    """A caution beside a claim's verdict, for runs with few updates.

    Attributes:
        below: number of updates; the limitation holds where no run that decides had as many.
        name: a few words, which stand beside the verdict.
        text: a sentence; ``{updates}`` stands for the largest number of updates of these runs.
    """

    below: int
    name: str
    text: str


@dataclass(frozen=True)
class RegisteredClaim:
    """A claim as it was registered.

    Attributes:
        estimand: the number that is estimated.
        direction: of the effect that the sentence claims.
        margins: by unit (``factor``, ``bits/dim``, ...) the largest effect that counts as none.
        minimal: the smallest effect that the sentence is about, in words.
        test: the test that decides.
        deciding: the measurements that the verdict depends on.
        n: training seeds a side that are planned.
        exclusions: which runs are left out, and what becomes of those that failed.
        date: when the rule was registered, UTC, ISO 8601.
        hash: of the rule, see :func:`rule_hash`.
        changes: those that were made after data had been seen.
        limitation: of verdicts of short runs; None: there is none.
    """

    estimand: str
    direction: str
    margins: Mapping[str, float]
    minimal: str
    test: str
    deciding: tuple[str, ...]
    n: str
    exclusions: str
    date: str
    hash: str
    changes: tuple[Change, ...] = field(default=())
    limitation: Limitation | None = None

    def older(self, finished_at: str | None) -> bool:
        """Whether a run finished before the rule was registered; True for a run without a date."""
        return finished_at is None or _moment(finished_at) < _moment(self.date)


@functools.cache
def content() -> dict[str, Any]:
    """Return the registry as it stands in its file: ``common`` and ``claims``."""
    registry: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))
    return registry


@functools.cache
def registered_claims() -> dict[str, RegisteredClaim]:
    """Return the registered claims by their key."""
    return {key: _registered_claim(entry) for key, entry in content()["claims"].items()}


def common() -> dict[str, Any]:
    """Return the constants that all rules share."""
    return dict(content()["common"])


@functools.cache
def rule_hash(key: str, find: Callable[..., Iterable[Any]]) -> str:
    """Return the hash of a claim's rule: of its file, its entry, and the constants that all rules share.

    Comments, the history of changes and limitations, which change no verdict, are part of neither the entry
    nor the constants; a comment in the claim's file is part of the file.
    """
    source = Path(inspect.getsourcefile(find) or "").read_text("utf-8")
    entry = {k: v for k, v in content()["claims"][key].items() if k not in UNHASHED}
    canonical = json.dumps([source, entry, common()], sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def registered(key: str, find: Callable[..., Iterable[Any]]) -> tuple[RegisteredClaim | None, bool]:
    """Return a claim's entry, None without one, and whether the rule has the entry's hash."""
    rule = registered_claims().get(key)
    return rule, rule is not None and rule.hash == rule_hash(key, find)


def _registered_claim(entry: Mapping[str, Any]) -> RegisteredClaim:
    changes = tuple(Change(**change) for change in entry.get("changes", ()))
    limitation = Limitation(**entry["limitation"]) if "limitation" in entry else None
    values = {
        **entry,
        "limitation": limitation,
        "deciding": tuple(entry["deciding"]),
        "changes": changes,
        "date": str(entry["date"]),
    }
    return RegisteredClaim(**values)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
