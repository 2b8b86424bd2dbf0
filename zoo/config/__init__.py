"""From names and overrides to one composed configuration, and its identity. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra.errors
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from zoo.errors import ZooError, unknown

PACKAGE = Path(__file__).resolve().parents[1]
GROUPS = ("model", "data", "training", "evaluation", "trainer", "logger", "launcher")
PUBLISHED = "published/"  # model=published/NAME: sizes of papers, days of an accelerator
# What does not change the numbers of a run: where files lie, how they are logged, who starts the job.
_NOT_IDENTITY = ("hydra", "logger", "launcher", "sweep")
_PLACES = (("data", "root"), ("evaluation", "dinov2_weights"))  # nor these settings of what does


def shipped(folder: str) -> Path:
    """``conf/`` or ``sweeps/`` as shipped: inside an installed package, at the root of a checkout."""
    inside = PACKAGE / folder
    return inside if inside.is_dir() else PACKAGE.parent / folder


def search_path() -> list[Path]:
    """Where configuration groups are looked for: the shipped ``conf/``, then ``./conf`` of the user."""
    own = Path.cwd() / "conf"
    return [shipped("conf"), *([own] if own.is_dir() and own.resolve() != shipped("conf").resolve() else [])]


def options(group: str, folder: str = "") -> list[str]:
    """Names that ``group=`` takes; those in a folder of the group, such as :data:`PUBLISHED`, with it."""
    return sorted({folder + f.stem for root in search_path() for f in (root / group / folder).glob("*.yaml")})


def searchpath_override() -> list[str]:
    """The Hydra override that adds the user's ``./conf``; empty where there is none."""
    own = [f"file://{path}" for path in search_path()[1:]]
    return [f"hydra.searchpath=[{','.join(_quote(path) for path in own)}]"] if own else []


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def run_dir_override(directory: Path) -> str:
    """The Hydra override that fixes a run's directory, whatever characters it holds."""
    return f"hydra.run.dir={_quote(str(directory))}"


@contextmanager
def own_modules() -> Iterator[None]:
    """Let ``_target_`` find modules in the working directory, as ``python -m`` would."""
    cwd = os.getcwd()
    if cwd not in sys.path and "" not in sys.path:
        sys.path.append(cwd)
    yield


def check_choices(overrides: Sequence[str]) -> None:
    """Raise :class:`ZooError` for a malformed override or an unknown option of a group (nearest names).

    Sweeps (``model=realnvp,maf``) are checked choice by choice.
    """
    parser = OverridesParser.create()
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except hydra.errors.HydraException:
            raise ZooError(f"'{text}' is not an override; write key=value, e.g. model=glow.") from None
        group = override.key_or_group
        if group not in GROUPS:
            continue
        value = override.value()
        values = list(override.sweep_iterator()) if override.is_sweep_override() else [value]
        for name in values:
            if isinstance(name, str | int) and str(name) not in options(group) + options(group, PUBLISHED):
                near = options(group, PUBLISHED if str(name).startswith(PUBLISHED) else "")
                raise unknown({"data": "data set"}.get(group, group), str(name), near)


def compose_run(overrides: Sequence[str]) -> DictConfig:
    """Compose one run's configuration, Hydra's own node included.

    Raises:
        ZooError: an unknown name or a key that does not exist, in one sentence.
    """
    check_choices(overrides)
    try:
        with initialize_config_dir(str(shipped("conf")), job_name="zoo", version_base="1.3"):
            config = compose("config", [*searchpath_override(), *overrides], return_hydra_config=True)
            OmegaConf.resolve(_without(config, ["hydra"]))
            whole_seed(config.get("seed"))
            return config
    except (hydra.errors.HydraException, OmegaConfBaseException, ValueError) as error:
        raise ZooError(_sentence(str(error), overrides)) from None


def _sentence(message: str, overrides: Sequence[str]) -> str:
    """Hydra's message as one sentence that a person can act on."""
    match = re.search(r"Could not override '([^']+)'", message)
    if match:
        known = _keys(_chosen(overrides))
        return str(unknown("setting", match.group(1), known)) + " (A new key is written with a leading +.)"
    if "invalid literal for int" in message or "Error merging override" in message:
        for text in overrides:
            parent = text.partition("=")[0].lstrip("+~").rpartition(".")[0]
            if parent and OmegaConf.is_list(OmegaConf.select(_chosen(overrides), parent)):
                return f"'{text}' reaches into a list; write the whole of it, {parent}=[...]."
    return " ".join(message.split()[:60])


def _chosen(overrides: Sequence[str]) -> DictConfig:
    """The configuration of the choices of groups among the overrides."""
    with initialize_config_dir(str(shipped("conf")), job_name="zoo", version_base="1.3"):
        choices = [o for o in overrides if o.partition("=")[0] in GROUPS]
        return compose("config", [*searchpath_override(), *choices])


def _keys(config: Any, prefix: str = "") -> list[str]:
    found = []
    for key in config:
        name = f"{prefix}{key}"
        found.append(name)
        if not OmegaConf.is_missing(config, key) and OmegaConf.is_dict(config[key]):
            found += _keys(config[key], f"{name}.")
    return found


@dataclass(frozen=True)
class Identity:
    """Who a run is: two runs with the same hash are the same run."""

    model: str
    data: str
    seed: int
    config: dict[str, Any]
    config_hash: str
    config_hash_without_seed: str

    @property
    def run_id(self) -> str:
        """Readable and unique; the name of the run's directory."""
        return f"{self.model}-{re.sub('[^A-Za-z0-9_]+', '_', self.data)}-s{self.seed}-{self.config_hash[:10]}"


def identify(config: DictConfig) -> Identity:
    """The identity of a composed configuration (with its ``hydra`` node)."""
    settings = plain(_without(config, _NOT_IDENTITY))
    choices = config.hydra.runtime.choices
    model, data = str(choices.model).removeprefix(PUBLISHED), str(choices.data)
    for group, name in _PLACES:
        settings[group] = {k: v for k, v in settings[group].items() if k != name}
    data_settings = settings["data"]
    path = data_settings.get("path")
    if path:
        data_settings["path"] = str(Path(path).expanduser().resolve())
        data_settings["content"] = _stamp(Path(data_settings["path"]))
        data = f"{data}:{Path(path).stem}"
    if data_settings.get("side") is None:  # its own size, as before there were others
        data_settings.pop("side", None)
    else:
        data = f"{data}:{data_settings['side']}"
    settings |= {"choices": {"model": model, "data": data}}
    seed = int(settings.pop("seed"))
    without_seed = _hash(settings)
    return Identity(model, data, seed, settings | {"seed": seed}, _hash([without_seed, seed]), without_seed)


def whole_seed(value: Any) -> int:
    """A seed as a number, or a :class:`ZooError`."""
    try:
        return int(str(value))
    except ValueError:
        raise ZooError(f"seed is a whole number; got {value!r}.") from None


def _stamp(path: Path) -> list[Any]:
    """What changes when a user's data changes: size and time, without reading it."""
    try:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        stats = [file.stat() for file in files]
    except OSError:
        return []
    return [len(stats), sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _without(config: DictConfig, keys: Sequence[str]) -> DictConfig:
    copy = DictConfig({k: v for k, v in config.items_ex(resolve=False) if k not in keys})
    OmegaConf.set_struct(copy, False)
    return copy


def plain(node: Any) -> dict[str, Any]:
    """A configuration node as a resolved plain dictionary (checkpoints must load with ``weights_only``)."""
    values = OmegaConf.to_container(node, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _run_id(*, _root_: DictConfig) -> str:
    return identify(_root_).run_id


# ${zoo.run_id:} names run directories; known on import, so in the processes of a parallel launcher too
OmegaConf.register_new_resolver("zoo.run_id", _run_id, replace=True)


def model_settings(name: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """Return the resolved ``conf/model/<name>.yaml`` with keyword overrides, as plain values.

    An override that is a mapping changes the values it names in its node, as it would on the command line.

    Raises:
        ZooError: no such model, or a keyword that the model does not have.
    """
    config = compose_run([f"model={name}"])
    settings = plain(config.model)
    for key in overrides:
        if key not in settings:
            raise unknown(f"setting of {name}", key, [k for k in settings if k != "_target_"])
    return merged(settings, overrides)


def merged(settings: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings with nested overrides: mappings are merged, all other values replaced.

    >>> merged({"solver": {"steps": 20, "atol": 1e-5}, "flows": 1}, {"solver": {"steps": 8}})
    {'solver': {'steps': 8, 'atol': 1e-05}, 'flows': 1}
    """
    found = dict(settings)
    for key, value in overrides.items():
        nested = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = merged(found[key], value) if nested else value
    return found
