"""The identity of a run: a hash of every setting that changes its numbers."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from omegaconf import DictConfig, OmegaConf

from zoo.config.code import own_code
from zoo.config.content import content_hash, expanded
from zoo.errors import ZooError

# Sections that do not change a run's numbers: its directory, logger, launcher, sweep and search. (If a search
# stops a run early, the run's record says so.)
NOT_IDENTITY = ("hydra", "logger", "launcher", "sweep", "search")
# Settings of the other sections that do not change the numbers either: where files lie, and where and in how
# many processes a run is made. Up to rounding, its numbers are those of one process on any device; what
# changes the arithmetic itself (trainer.precision, trainer.float32_matmul, trainer.gradient_compression,
# training.accumulate, training.compile) counts.
LOCATIONS = (
    ("data", "root"),
    ("data", "path"),
    ("evaluation", "inception_weights"),
    ("evaluation", "dinov2_weights"),
    ("trainer", "accelerator"),
    ("trainer", "devices"),
    ("trainer", "num_nodes"),
    ("trainer", "strategy"),
    ("trainer", "timeout_min"),
    ("trainer", "async_checkpoints"),
)
# Settings of the data that a run's id shows.
NAMING = ("data.path", "data.side", "data.fold")


class Hashes(TypedDict):
    """The hashes of an identity, under the names that records and W&B use."""

    config_hash: str
    config_hash_without_seed: str


@dataclass(frozen=True)
class Identity:
    """The identity of a run: two runs with the same ``config_hash`` are the same run.

    Attributes:
        data: name of the data set, for people. The hashes depend on the content of a user's files instead.
        config: the resolved settings that change the run's numbers, and the seed. For a user's data it has a
            hash of their ``content``, for a user's own ``code`` a hash of each module.
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


# Settings that were added after runs had been made, with their defaults. A default is not hashed, so that
# those runs keep their identity.
LATER = (
    ("data", "side", None),
    ("data", "flat", False),
    ("data", "fold", None),
    ("data", "decimal", None),
    ("trainer", "float32_matmul", "highest"),
    ("trainer", "gradient_compression", "none"),
    ("training", "simultaneous", False),
)
IMAGES = "zoo.data.images.Images"
# Other spellings in trainer.precision that are accepted, and the names that they mean; without a value,
# Lightning trains in 32-true. (Lightning's short names 16, 64 and bf16 are refused.)
PRECISION = {"32": "32-true", "32.0": "32-true", "None": "32-true"}


def identify(config: DictConfig) -> Identity:
    """Return the identity of a composed configuration (which includes its ``hydra`` node)."""
    settings = to_dict(without_sections(config, NOT_IDENTITY))
    choices = config.hydra.runtime.choices
    model, data = str(choices.model), str(choices.data)
    path = settings["data"].get("path")
    settings = without_locations(settings)
    data_settings = settings["data"]
    chosen = {"model": model, "data": data}
    if path:
        place = expanded(path).absolute()
        data_settings["content"] = content_hash(place)
        data = f"{data}:{Path(os.path.normpath(place)).stem}"
    if data_settings.get("side") is not None:
        data = f"{data}:{data_settings['side']}"
    if data_settings.get("fold") is not None:
        data = f"{data}:fold{data_settings['fold']}"
    settings = in_one_form(settings)
    code = own_code(settings)
    if code:
        settings["code"] = code
    return Identity.of(model, data, settings | {"choices": chosen})


def in_one_form(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of all sections as they are hashed: equal for settings that mean the same."""
    return without_later_defaults(_with_named_precision(settings))


def _with_named_precision(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with the name of their ``trainer.precision``, however it is spelt."""
    trainer = settings.get("trainer")
    if not isinstance(trainer, Mapping):
        return dict(settings)
    given = trainer.get("precision")
    return {**settings, "trainer": {**trainer, "precision": PRECISION.get(str(given), given)}}


def without_later_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of all sections; leave out those of :data:`LATER` that have their default value."""
    later = list(LATER)
    # later for images only: tables have always had it
    if settings["data"].get("_target_") == IMAGES and not settings["data"].get("drop_repeats"):
        later.append(("data", "drop_repeats", settings["data"].get("drop_repeats")))
    left = dict(settings)
    for section, key, default in later:
        if left[section].get(key, default) == default:
            left[section] = {k: value for k, value in left[section].items() if k != key}
    return left


def without_locations(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of all sections without those of :data:`LOCATIONS`."""
    return {
        section: {key: value for key, value in node.items() if (section, key) not in LOCATIONS}
        if isinstance(node, Mapping)
        else node
        for section, node in settings.items()
    }


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return, in words, what differs between the ``config`` of two identities.

    The first may be of an older version, with time stamps of a user's data in place of a hash of their
    content. Time stamps are not compared.
    """
    first, second = (_with_named_precision(without_locations(side)) for side in (first, second))
    sides = [first.get("data") or {}, second.get("data") or {}]
    contents = [data.pop("content", None) for data in sides]
    codes = [side.pop("code", None) or {} for side in (first, second)]
    differences = []
    if all(isinstance(content, str) for content in contents) and contents[0] != contents[1]:
        differences.append("other data")
    changed = sorted(name for name in {*codes[0], *codes[1]} if codes[0].get(name) != codes[1].get(name))
    differences += [f"other code in {name}" for name in changed]
    for side in (first, second):
        side.pop("choices", None)  # the settings show what was chosen
    flat = [dict(_leaves(side)) for side in (first, second)]
    absent = object()
    for name in sorted({*flat[0], *flat[1]}):
        values = [side.get(name, absent) for side in flat]
        if values[0] != values[1]:
            differences.append(f"another {name}")
    return differences


def restoring(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the settings that make the ``config`` of a later identity that of an earlier one.

    None if there are none: a setting has only one of them, or the class behind it has changed.
    """
    sides = [_with_named_precision(without_locations(side)) for side in (then, now)]
    before, after = (
        {name: value for name, value in _leaves(side) if not name.startswith(("choices.", "code."))}
        for side in sides
    )
    changed = {name: value for name, value in before.items() if after.get(name, _ABSENT) != value}
    same_names = before.keys() == after.keys()
    is_expressible = all(not name.endswith("_target_") and value != {} for name, value in changed.items())
    return changed if same_names and is_expressible else None


_ABSENT = object()


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each setting with its dotted name."""
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def is_part_of_identity(keys: tuple[str, ...]) -> bool:
    """Return whether the setting at this path (``("model", "width")``) changes a run's hash."""
    return keys[0] not in NOT_IDENTITY and keys not in LOCATIONS


def whole_seed(value: Any) -> int:
    """Return a seed as an integer.

    Raises:
        ZooError: it is not a whole number from 0 to 2**32 - 1.
    """
    try:
        whole = isinstance(value, float) and value.is_integer()
        seed = int(value) if whole else int(str(value))
    except ValueError:
        raise ZooError(f"seed is a whole number; got {value!r}.") from None
    if not 0 <= seed < 2**32:
        raise ZooError(f"seed must be from 0 to {2**32 - 1}; got {value}.")
    return seed


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


def whole_numbers(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with every float of whole value as an int, since Lightning needs ints.

    Hydra reads ``trainer.devices=2e0`` as 2.0, for example.

    >>> whole_numbers({"devices": 2.0, "precision": "32-true"})
    {'devices': 2, 'precision': '32-true'}
    """
    return {
        key: int(value) if isinstance(value, float) and value.is_integer() else value
        for key, value in settings.items()
    }


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(_plain(value), sort_keys=True, default=str).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Return a value in which equal numbers look alike: 1000.0, which ``1e3`` is read as, becomes 1000."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _run_id(*, _root_: DictConfig) -> str:
    return identify(_root_).run_id


# ${zoo.run_id:} names the directories of runs. It is registered on import, so parallel launchers know it too.
OmegaConf.register_new_resolver("zoo.run_id", _run_id, replace=True)
