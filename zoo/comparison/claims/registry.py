"""The registry of the ledger's rules: what each claim measures, when the rule was written, and its hash.

``registry.yaml`` has an entry for each claim. The hash covers the code of the claim's own file and of all
modules that take part in a verdict, its entry, and the constants that all rules share. If one of them changes
and the registry does not, the claim counts as unregistered and the test suite fails; ``scripts/register.py``
writes the hashes and the dates. Results that are older than a rule are exploratory: the rule may have been
chosen because of them. So are results of seeds that had been run before, since training repeats itself.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from zoo.comparison.collect import Run

FILE = Path(__file__).with_name("registry.yaml")
UNHASHED = ("hash", "changes", "limitation")
CLAIMS = (
    "compare",
    "decision",
    "evidence",
    "factorial",
    "instability",
    "measure",
    "robustness",
    "scaling",
    "sensitivity",
    "sharp",
    "sides",
)
COMPARISON = (
    "collect",
    "configurations",
    "datasets",
    "groups",
    "guards",
    "metrics",
    "paired",
    "power",
    "quantities",
    "rates",
    "statistics",
    "student",
    "studies",
    "timing",
)
# The modules that take part in a verdict, beside the claim's own file: those that choose and test. Modules
# that read records (zoo.record) or write sentences are not among them.
DECIDING = (
    *(FILE.with_name(f"{name}.py") for name in CLAIMS),
    *(FILE.parents[1] / f"{name}.py" for name in COMPARISON),
)


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

    def older(self, run: Run) -> bool:
        """Whether a run was started before the rule was registered; True for a run without a date."""
        finished, seconds = run.record.provenance.finished_at, run.record.cost.total_seconds
        if finished is None:
            return True
        return datetime.fromisoformat(finished) - timedelta(seconds=seconds or 0) < datetime.fromisoformat(
            self.date
        )


def was_seen(run: Run) -> bool:
    """Whether runs of a run's seed, on its data set, had been seen before the rules were written."""
    return run.record.seed in common()["seen"].get(run.record.data, ())


@functools.cache
def content() -> dict[str, Any]:
    """Return the registry as it stands in its file: ``common`` and ``claims``."""
    registry: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))
    return registry


@functools.cache
def registered_claims() -> dict[str, RegisteredClaim]:
    """Return the registered claims by their key."""
    return {key: _registered_claim(entry) for key, entry in content()["claims"].items()}


def common_changes() -> list[Change]:
    """Return the changes of the rules of all claims that were made after data had been seen."""
    return [Change(**change) for change in content()["changes"]]


def rewrites() -> list[Change]:
    """Return the changes of code for which hashes were written anew, although no rule had changed."""
    return [Change(**change) for change in content()["rewrites"]]


def common() -> dict[str, Any]:
    """Return the constants that all rules share."""
    return dict(content()["common"])


@functools.cache
def rule_hash(key: str, find: Callable[..., Iterable[Any]]) -> str:
    """Return the hash of a claim's rule: of the code that decides, its entry, and the constants of all rules.

    Comments, docstrings, the history of changes and limitations change no verdict and are left out.
    """
    files = [Path(inspect.getsourcefile(find) or ""), *DECIDING]
    entry = {k: v for k, v in content()["claims"][key].items() if k not in UNHASHED}
    canonical = json.dumps([[code(file) for file in files], entry, common()], sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


@functools.cache
def code(file: Path) -> str:
    """Return the lines of a module without docstrings, lines of comments and empty lines."""
    text = file.read_text("utf-8")
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node) is not None
        ):
            docstring = node.body[0]
            for index in range(docstring.lineno - 1, docstring.end_lineno or docstring.lineno):
                lines[index] = ""
    return "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#"))


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
