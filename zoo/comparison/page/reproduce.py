"""Whether a run's command makes the same run today: its defaults are those of the code that reads it."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Mapping
from typing import Any

from zoo.comparison.collect import Run
from zoo.config.identities import Identities
from zoo.config.identity import Identity, differing, restoring
from zoo.config.overrides import to_text
from zoo.errors import ZooError
from zoo.moved import in_nodes

SHOWN = 4  # differences that a sentence names
DIGITS = 12  # of a hash


def departure(run: Run) -> str:
    """Return in a sentence what a run's command makes today instead; empty if it makes the same run.

    Nothing is said of a run without a command, and of one on a user's own data, which would have to be read.
    """
    source = run.record.provenance
    overrides = tuple(source.overrides or ())
    own_data = "path" in (source.config.get("data") or {})
    if not source.command or not source.config_hash or not overrides or own_data:
        return ""
    identity = _today(overrides)
    if isinstance(identity, str):
        return f"This zoo refuses the command ({identity}){_at(source.git_commit)}."
    if identity.config_hash == source.config_hash:
        return ""
    return (
        "Made by an older zoo: this command trains today's configuration, hash "
        f"{identity.config_hash[:DIGITS]} instead of {source.config_hash[:DIGITS]}"
        f"{_changes(source.config, identity.config)}{_at(source.git_commit)}."
    )


def restored(run: Run) -> str:
    """Return the command that makes a run again today, by its own settings in place of changed defaults.

    Empty if its command does so as it is, or if no command can: settings have been renamed, added or removed.
    """
    source = run.record.provenance
    overrides = tuple(source.overrides or ())
    identity = _today(overrides) if departure(run) else ""
    changed = None if isinstance(identity, str) else restoring(source.config, identity.config)
    if not changed:
        return ""
    more = [f"{name}={to_text(value)}" for name, value in changed.items()]
    again = _today((*overrides, *more))
    if isinstance(again, str) or again.config_hash != source.config_hash:
        return ""
    return f"{source.command} {shlex.join(more)}"


def _changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return the settings that have changed, as the rest of a sentence; another name alone is no change."""
    if isinstance(then.get("model"), Mapping):
        then = {**then, "model": in_nodes(then["model"])}
    words = [_change(word, then, now) for word in differing(then, now)]
    words.sort(
        key=lambda word: (word.endswith("unset)") or " unset (" in word, word.startswith("evaluation"))
    )
    if not words:
        return "; the settings are the same, but are hashed otherwise"
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return f"; changed since: {', '.join(words[:SHOWN])}{more}"


def _change(word: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return a difference with the setting's two values, ``training.warmup 20 (now 10)``."""
    name = word.removeprefix("another ")
    if name == word:
        return word
    return f"{name} {_value(then, name)} (now {_value(now, name)})"


def _value(settings: Mapping[str, Any], name: str) -> str:
    node: Any = settings
    for key in name.split("."):
        if not isinstance(node, Mapping) or key not in node:
            return "unset"
        node = node[key]
    return str(node)


def _at(commit: str | None) -> str:
    return f"; check out commit {commit[:12]} for this one" if commit else ""


@functools.cache
def _identities() -> Identities:
    return Identities()


@functools.lru_cache(maxsize=4096)
def _today(overrides: tuple[str, ...]) -> Identity | str:
    """Return what overrides make today, or why they are refused."""
    try:
        return _identities().of(overrides)
    except ZooError as error:
        return str(error).rstrip(".")
