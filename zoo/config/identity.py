"""The identity of a run: a hash of every setting that changes its numbers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from omegaconf import DictConfig, OmegaConf

from zoo.errors import ZooError

# Sections that do not change a run's numbers: its directory, logger, launcher and sweep.
NOT_IDENTITY = ("hydra", "logger", "launcher", "sweep")
# Settings of the other sections that do not change the numbers either: locations of files.
FILE_LOCATIONS = (("data", "root"), ("evaluation", "dinov2_weights"))
# Settings of the data that a run's id shows.
NAMING = ("data.path", "data.side")


class Hashes(TypedDict):
    """The hashes of an identity, under the names that records and W&B use."""

    config_hash: str
    config_hash_without_seed: str


@dataclass(frozen=True)
class Identity:
    """The identity of a run: two runs with the same ``config_hash`` are the same run.

    Attributes:
        config: the resolved settings that change the run's numbers, with the seed.
        config_hash: hash of ``config``.
        config_hash_without_seed: equal for the seeds of one configuration.
    """

    model: str
    data: str
    seed: int
    config: dict[str, Any]
    config_hash: str
    config_hash_without_seed: str

    @classmethod
    def of(cls, model: str, data: str, config: Mapping[str, Any]) -> Identity:
        """Hash the settings that change a run's numbers.

        Raises:
            ZooError: the seed is not a whole number.
        """
        seed = whole_seed(config["seed"])
        without_seed = _hash({key: value for key, value in config.items() if key != "seed"})
        return cls(model, data, seed, {**config, "seed": seed}, _hash([without_seed, seed]), without_seed)

    @property
    def run_id(self) -> str:
        """A readable unique name, which is also the name of the run's directory."""
        return f"{self.model}-{re.sub('[^A-Za-z0-9_]+', '_', self.data)}-s{self.seed}-{self.config_hash[:10]}"

    @property
    def hashes(self) -> Hashes:
        """Both hashes, to be unpacked into a record or a configuration."""
        return {
            "config_hash": self.config_hash,
            "config_hash_without_seed": self.config_hash_without_seed,
        }


def identify(config: DictConfig) -> Identity:
    """Return the identity of a composed configuration (which includes its ``hydra`` node)."""
    settings = to_dict(without_sections(config, NOT_IDENTITY))
    choices = config.hydra.runtime.choices
    model, data = str(choices.model), str(choices.data)
    for section, name in FILE_LOCATIONS:
        settings[section] = {key: value for key, value in settings[section].items() if key != name}
    data_settings = settings["data"]
    path = data_settings.get("path")
    if path:
        data_settings["path"] = str(Path(path).expanduser().resolve())
        data_settings["content"] = _fingerprint(Path(data_settings["path"]))
        data = f"{data}:{Path(path).stem}"
    if data_settings.get("side") is None:  # the images' own size: not hashed
        data_settings.pop("side", None)
    else:
        data = f"{data}:{data_settings['side']}"
    return Identity.of(model, data, settings | {"choices": {"model": model, "data": data}})


def is_part_of_identity(keys: tuple[str, ...]) -> bool:
    """Return whether the setting at this path (``("model", "width")``) changes a run's hash."""
    return keys[0] not in NOT_IDENTITY and keys not in FILE_LOCATIONS


def whole_seed(value: Any) -> int:
    """Return a seed as an integer.

    Raises:
        ZooError: it is not a whole number.
    """
    try:
        return int(str(value))
    except ValueError:
        raise ZooError(f"seed is a whole number; got {value!r}.") from None


def without_sections(config: DictConfig, sections: Sequence[str]) -> DictConfig:
    """Return a copy of a configuration without some of its top-level sections."""
    copy = DictConfig({key: node for key, node in config.items_ex(resolve=False) if key not in sections})
    OmegaConf.set_struct(copy, False)
    return copy


def to_dict(node: Any) -> dict[str, Any]:
    """Return a configuration node as a resolved dictionary of plain values.

    Checkpoints hold such dictionaries, so that they load with ``weights_only=True``.
    """
    values = OmegaConf.to_container(node, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _fingerprint(path: Path) -> list[Any]:
    """Return the number, total size and latest change of a user's data files, which are not read."""
    try:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        stats = [file.stat() for file in files]
    except OSError:
        return []
    return [len(stats), sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _run_id(*, _root_: DictConfig) -> str:
    return identify(_root_).run_id


# ${zoo.run_id:} names the directories of runs. It is registered on import, so parallel launchers know it too.
OmegaConf.register_new_resolver("zoo.run_id", _run_id, replace=True)
