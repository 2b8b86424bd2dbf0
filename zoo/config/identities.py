"""The identities of many similar runs, without composing each of them.

Composing one configuration takes about 0.1 s, so a sweep of ten thousand jobs would take a quarter of an hour
to plan. The jobs of a sweep differ in a few plain values, which Hydra writes into the composed configuration
last of all. So each choice of groups is composed once, and the plain values are written in here. An override
with any other value is composed in full, and the hashes are always those of :mod:`zoo.config.identity`.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

from hydra.core.override_parser.types import OverrideType
from omegaconf import OmegaConf

from zoo.config.compose import compose_run
from zoo.config.identity import NAMING, Identity, identify, is_part_of_identity, without_sections
from zoo.config.overrides import parse
from zoo.config.places import GROUPS

Plain = bool | int | float | str | list[Any] | None  # a list holds plain values


class _Change(NamedTuple):
    """A plain override ``a.b=value``."""

    keys: tuple[str, ...]
    value: Plain


@dataclass(frozen=True)
class _Base:
    """A composed choice of groups.

    Attributes:
        identity: the identity of the composition.
        settings: the composed settings, in which plain values may be replaced.
        has_interpolations: whether replacing one setting could change another one.
    """

    identity: Identity
    settings: dict[str, Any]
    has_interpolations: bool


class Identities:
    """A cache of compositions, from which it computes the identities of runs.

    The files of ``conf/`` and of ``data.path`` must not change during its lifetime.
    """

    def __init__(self) -> None:
        self._bases: dict[tuple[str, ...], _Base] = {}

    def of(self, overrides: Sequence[str]) -> Identity:
        """Return ``identify(compose_run(overrides))``.

        Raises:
            ZooError: an unknown name or a key that does not exist.
        """
        parts = [_classify(text) for text in overrides]
        if "other" in parts:
            return identify(compose_run(overrides))
        base = self._base(tuple(o for o, part in zip(overrides, parts, strict=True) if part == "choice"))
        config = base.identity.config
        for part in parts:
            if not isinstance(part, _Change):
                continue
            if base.has_interpolations or not _is_leaf(base.settings, part.keys):
                return identify(compose_run(overrides))  # Hydra merges or refuses it
            if is_part_of_identity(part.keys):
                config = _replace(config, part.keys, deepcopy(part.value))
        return Identity.of(base.identity.model, base.identity.data, config)

    def _base(self, overrides: tuple[str, ...]) -> _Base:
        if overrides not in self._bases:
            config = compose_run(overrides)
            settings: Any = OmegaConf.to_container(without_sections(config, ["hydra"]), resolve=False)
            self._bases[overrides] = _Base(identify(config), settings, "${" in str(settings))
        return self._bases[overrides]


@cache
def _classify(text: str) -> _Change | Literal["choice", "other"]:
    """Return an override as a plain change, or whether it belongs to the composed choice or to neither."""
    override = parse(text)
    if override is None:
        return "other"
    key = override.key_or_group
    if key == "experiment" and not override.is_sweep_override():
        return "choice"
    if override.type != OverrideType.CHANGE or override.package or override.is_sweep_override():
        return "other"
    if key in (*GROUPS, *NAMING) or key.startswith("hydra"):
        return "choice"
    value: Any = override.value()
    if "/" in key or "[" in key or not _is_plain(value) or "${" in text:
        return "other"
    return _Change(tuple(key.split(".")), value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | float | str | None)


def _is_leaf(settings: dict[str, Any], keys: Sequence[str]) -> bool:
    """Return whether the settings have a value, not a section, at this path."""
    node: Any = settings
    for key in keys[:-1]:
        node = node.get(key) if isinstance(node, dict) else None
    return isinstance(node, dict) and keys[-1] in node and not isinstance(node[keys[-1]], dict)


def _replace(settings: dict[str, Any], keys: Sequence[str], value: Plain) -> dict[str, Any]:
    """Return the settings with one value replaced; the sections beside its path are shared, not copied."""
    head, *rest = keys
    return settings | {head: _replace(settings[head], rest, value) if rest else value}
