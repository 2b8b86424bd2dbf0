"""The identities of many runs that differ in little, without composing each: planning a sweep in seconds.

Hydra composes in a tenth of a second, which is an age when a sweep has ten thousand jobs. They differ in a
few plain values, which Hydra puts into the composed configuration at the very end; so what comes before is
composed once for each choice of groups, and the values are put in here.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from hydra.errors import HydraException
from omegaconf import OmegaConf

from zoo.config import (
    _NOT_IDENTITY,
    _PLACES,
    GROUPS,
    Identity,
    _hash,
    _without,
    compose_run,
    identify,
    whole_seed,
)

Plain = bool | int | float | str | list[Any] | None  # a list holds plain values


class _Change(NamedTuple):
    """A plain override ``a.b=value``."""

    keys: tuple[str, ...]
    value: Plain


@dataclass(frozen=True)
class _Base:
    """A composition without plain values.

    Attributes:
        identity: its own.
        settings: all that a value may be put into.
        fixed: whether every setting is itself, and none an interpolation that a value could change.
    """

    identity: Identity
    settings: dict[str, Any]
    fixed: bool


class Identities:
    """Finds identities by overrides; remembers what their composition shares.

    The files of ``conf/`` and of ``data.path`` are taken to stay as they are while it lives.
    """

    def __init__(self) -> None:
        self._bases: dict[tuple[str, ...], _Base] = {}

    def of(self, overrides: Sequence[str]) -> Identity:
        """``identify(compose_run(overrides))``.

        Raises:
            ZooError: an unknown name or a key that does not exist, in one sentence.
        """
        parts = [_read(text) for text in overrides]
        if "other" in parts:
            return identify(compose_run(overrides))
        base = self._base(tuple(t for t, part in zip(overrides, parts, strict=True) if part == "choice"))
        settings = base.identity.config
        for part in parts:
            if not isinstance(part, _Change):
                continue
            if not (base.fixed and _is_leaf(base.settings, part.keys)):
                return identify(compose_run(overrides))  # Hydra knows what to make of it, or how to refuse it
            if part.keys[0] not in _NOT_IDENTITY and part.keys not in _PLACES:
                settings = _put(settings, part.keys, deepcopy(part.value))
        seed = whole_seed(settings["seed"])
        without_seed = _hash({k: v for k, v in settings.items() if k != "seed"})
        config = settings | {"seed": seed}
        return Identity(
            base.identity.model, base.identity.data, seed, config, _hash([without_seed, seed]), without_seed
        )

    def _base(self, overrides: tuple[str, ...]) -> _Base:
        if overrides not in self._bases:
            config = compose_run(overrides)
            settings: Any = OmegaConf.to_container(_without(config, ["hydra"]), resolve=False)
            self._bases[overrides] = _Base(identify(config), settings, "${" not in str(settings))
        return self._bases[overrides]


@cache
def _read(text: str) -> _Change | Literal["choice", "other"]:
    """An override as a plain change, as a choice of what is composed, or as anything else."""
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException:
        return "other"
    key = override.key_or_group
    if override.type != OverrideType.CHANGE or override.package or override.is_sweep_override():
        return "other"
    if key in (*GROUPS, "data.path", "data.side") or key.startswith("hydra"):  # they name the data
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
    """Whether there is a value at this place that is no group of values."""
    node: Any = settings
    for key in keys[:-1]:
        node = node.get(key) if isinstance(node, dict) else None
    return isinstance(node, dict) and keys[-1] in node and not isinstance(node[keys[-1]], dict)


def _put(settings: dict[str, Any], keys: Sequence[str], value: Plain) -> dict[str, Any]:
    """The settings with one value changed; what is not on the way to it is shared."""
    head, *rest = keys
    return settings | {head: _put(settings[head], rest, value) if rest else value}
