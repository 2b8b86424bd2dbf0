"""The user's ``./conf`` in Hydra's search path: its groups win over the shipped ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from zoo.config.overrides import parse
from zoo.config.places import GROUPS, own_conf, shipped

SCHEME = "zoo-own"


class OwnGroups(FileConfigSource):
    """The groups of zoo in the user's ``./conf``. A ``config.yaml`` there belongs to another program."""

    @staticmethod
    def scheme() -> str:
        return SCHEME

    def is_group(self, config_path: str) -> bool:
        return _is_in_group(config_path) and super().is_group(config_path)

    def is_config(self, config_path: str) -> bool:
        return "/" in config_path and _is_in_group(config_path) and super().is_config(config_path)

    def available(self) -> bool:
        return Path(self.path).is_dir()


class OwnFirst(SearchPathPlugin):
    """Puts the groups of ``./conf`` before the shipped ones, and everything else of it behind them."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        folder = own_conf()
        if folder is not None:
            search_path.prepend("own", f"{SCHEME}://{folder}")
            search_path.append("own", f"file://{folder}")


@cache
def register() -> None:
    """Make Hydra look into ``./conf`` whenever it composes in this process."""
    for plugin in (OwnGroups, OwnFirst):
        Plugins.instance().register(plugin)


def own_files(overrides: Sequence[str]) -> list[str]:
    """Return a sentence for each file of ``./conf`` that these overrides choose."""
    folder = own_conf()
    if folder is None:
        return []
    sentences = []
    for text in overrides:
        override = parse(text)
        if override is None or override.key_or_group not in GROUPS:
            continue
        group = override.key_or_group
        values = list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
        for name in map(str, values):
            file = folder / group / f"{name}.yaml"
            if file.is_file():
                is_shipped = (shipped("conf") / group / file.name).is_file()
                instead = ", in place of the shipped one" if is_shipped else ""
                sentences.append(f"{group}={name} is your own {file}{instead}.")
    return list(dict.fromkeys(sentences))


def _is_in_group(config_path: str) -> bool:
    return config_path.partition("/")[0] in GROUPS
