"""The identities of many similar runs, without composing each of them.

Composing one configuration takes about 0.1 s, so a sweep of ten thousand jobs would take a quarter of an hour
to plan. The jobs of a sweep differ in a few plain values, which Hydra writes into the composed configuration
last of all. So each choice of groups is composed once, and the plain values are written in here. Most data
sets fill the section ``data`` and nothing else, so a grid of M models and N data sets composes M + N choices,
not M times N. An override with any other value is composed in full, and the hashes are always those of
:mod:`zoo.config.identity`.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from hydra.core.override_parser.types import OverrideType
from omegaconf import DictConfig, OmegaConf

from zoo.config.compose import compose_run
from zoo.config.identity import (
    NAMING,
    NOT_IDENTITY,
    Identity,
    identify,
    in_one_form,
    is_part_of_identity,
    to_dict,
    without_sections,
)
from zoo.config.overrides import parse, split
from zoo.config.places import GROUPS, search_path
from zoo.errors import ZooError

OTHERS = ("model", "training", "evaluation", "trainer", "logger")  # groups that can be chosen beside the data
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
        has_interpolations: whether replacing one setting could change another one of the identity.
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
        config = in_one_form(config)  # an override may be another spelling, or a default
        return Identity.of(base.identity.model, base.identity.data, config)

    def settings(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Return all sections of ``compose_run(overrides)`` but ``hydra``, as plain values.

        Sections that no override changes are the same objects in the settings of all runs with one choice of
        groups. Interpolations are resolved, except those of names that nothing else reads.

        Raises:
            ZooError: an unknown name or a key that does not exist.
        """
        parts = [_classify(text) for text in overrides]
        if "other" in parts:
            return _resolved(compose_run(overrides))
        base = self._base(tuple(o for o, part in zip(overrides, parts, strict=True) if part == "choice"))
        if base.has_interpolations or "${" in str(base.settings):
            return _resolved(compose_run(overrides))
        settings = base.settings
        for part in parts:
            if not isinstance(part, _Change):
                continue
            if not _is_leaf(settings, part.keys):
                return _resolved(compose_run(overrides))
            settings = _replace(settings, part.keys, part.value)
        return settings

    def _base(self, overrides: tuple[str, ...]) -> _Base:
        if overrides not in self._bases:
            self._bases[overrides] = self._combined(overrides) or self._composed(overrides)
        return self._bases[overrides]

    def _composed(self, overrides: tuple[str, ...]) -> _Base:
        config = compose_run(overrides)
        settings: Any = OmegaConf.to_container(without_sections(config, ["hydra"]), resolve=False)
        counted = {name: node for name, node in settings.items() if name not in NOT_IDENTITY}
        return _Base(identify(config), settings, "${" in str(counted))

    def _combined(self, overrides: tuple[str, ...]) -> _Base | None:
        """Return the base of a model and a data set from those of each alone; None if they may interact.

        Hydra merges the files of the chosen groups in one order. A file without a list of defaults and a
        package writes to the section of its own group alone. If that holds for the data set, and the other
        choices leave the section ``data`` to it, then this section is that of the data set alone, and all
        others are as they are with any other data set.
        """
        names = [value for key, value in map(split, overrides) if key == "data"]
        data = tuple(text for text in overrides if split(text)[0] in ("data", *NAMING))
        rest = tuple(text for text in overrides if text not in data)
        separate = len(names) == 1 and rest and all(split(text)[0] in OTHERS for text in rest)
        if not separate or not self._others_leave_data or not _is_plain_file("data", names[0]):
            return None
        try:
            ours, theirs = self._base(data), self._base(rest)
        except ZooError:
            return None  # composing everything at once raises the right error
        if ours.has_interpolations or theirs.has_interpolations:
            return None
        config = theirs.identity.config | {"data": ours.identity.config["data"]}
        code = [base.identity.config.get("code", {}) for base in (theirs, ours)]
        if any(code):
            config["code"] = dict(sorted((code[0] | code[1]).items()))
        config["choices"] = {"model": theirs.identity.model, "data": ours.identity.config["choices"]["data"]}
        identity = Identity.of(theirs.identity.model, ours.identity.data, config)
        return _Base(identity, theirs.settings | {"data": ours.settings["data"]}, False)

    @cached_property
    def _others_leave_data(self) -> bool:
        """Whether no file of the other groups can write to the section ``data``, or choose the data set."""
        return not any(
            _may_reach(file, "data")
            for root in search_path()
            for group in OTHERS
            for file in (root / group).glob("*.yaml")
        )


def _resolved(config: DictConfig) -> dict[str, Any]:
    return to_dict(without_sections(config, ["hydra"]))


def _may_reach(file: Path, section: str) -> bool:
    """Return whether a file may write to a section that is not its group's."""
    text = file.read_text(encoding="utf-8")
    defaults = str(_defaults(text)).replace("_global_.training", "")
    return "@package" in text or section in defaults or "_global_" in defaults


def _is_plain_file(group: str, name: str) -> bool:
    """Return whether a choice is a file that fills the section of its group and nothing else."""
    files = [root / group / f"{name}.yaml" for root in search_path()]
    text = next((file.read_text(encoding="utf-8") for file in files if file.exists()), None)
    return text is not None and "@package" not in text and not _defaults(text)


def _defaults(text: str) -> Any:
    """Return the list of defaults of a configuration file; None without one."""
    content = yaml.safe_load(text)
    return content.get("defaults") if isinstance(content, dict) else None


@cache
def _classify(text: str) -> _Change | Literal["choice", "other"]:
    """Return an override's plain change; ``choice`` if it is part of the composed choice, else ``other``."""
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
