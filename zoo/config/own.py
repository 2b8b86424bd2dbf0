"""The user's ``./conf`` in Hydra's search path: its groups win over the shipped ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain, product
from pathlib import Path

from hydra import initialize_config_dir
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from zoo.config.overrides import parse, with_plus
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


def own_files(*runs: Sequence[str]) -> list[str]:
    """Return a sentence for each file of ``./conf`` that runs use, by their choice or by default.

    Args:
        runs: the overrides of each run, or of a multirun. What cannot be composed uses no file.
    """
    folder = own_conf()
    if folder is None or not any((folder / group).is_dir() for group in GROUPS):
        return []
    register()
    used: dict[str, None] = {}
    with initialize_config_dir(str(shipped("conf")), job_name="zoo", version_base="1.3"):
        seen: set[tuple[str, ...]] = set()
        for choices in chain.from_iterable(map(_choices, runs)):
            # A data set rarely chooses the files of other groups: M models and N data sets are M + N choices.
            data = tuple(choice for choice in choices if choice.startswith("data="))
            parts = {data, tuple(choice for choice in choices if choice not in data)}
            if not parts <= seen:
                seen |= parts
                used |= dict.fromkeys(_files(choices))
    sentences = []
    for name in used:
        file = folder / f"{name}.yaml"
        if file.is_file() and _is_in_group(name):
            is_shipped = (shipped("conf") / f"{name}.yaml").is_file()
            instead = ", in place of the shipped one" if is_shipped else ""
            sentences.append(f"{name.replace('/', '=', 1)} is your own {file}{instead}.")
    return sentences


def _choices(overrides: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the choices of groups in each run of some overrides; a multirun has several."""
    alternatives = []
    for text in overrides:
        override = parse(text)
        if override is None or override.key_or_group not in GROUPS:
            continue
        if override.is_sweep_override():
            name = text.partition("=")[0]
            alternatives.append([f"{name}={value}" for value in override.sweep_iterator()])
        else:
            alternatives.append([text])
    yield from product(*alternatives)


def _files(choices: Sequence[str]) -> list[str]:
    """Return the files below ``conf/`` of which Hydra composes a run, such as ``model/made``."""
    loader = GlobalHydra.instance().config_loader()
    words = [with_plus(choice) for choice in choices]
    try:
        files = loader.compute_defaults_list("config", words, RunMode.RUN).defaults
    except (HydraException, OmegaConfBaseException, RecursionError, ValueError):
        return []  # the composition of the run says why
    return [str(file.config_path) for file in files]


def _is_in_group(config_path: str) -> bool:
    return config_path.partition("/")[0] in GROUPS
