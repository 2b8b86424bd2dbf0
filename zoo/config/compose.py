"""From overrides to one composed configuration; every mistake is one sentence."""

from __future__ import annotations

import copy
import difflib
import functools
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import hydra.errors
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException

from zoo.config.identity import to_dict, whole_seed, without_sections
from zoo.config.overrides import as_typed, parse, split, swept_values, with_plus
from zoo.config.own import register
from zoo.config.places import GROUPS, options, own_conf, shipped
from zoo.config.trainer import INSTEAD, refused
from zoo.errors import ZooError, unknown
from zoo.moved import renamed, setting_of

_WITH_NEW_KEYS = ("model", "data", "training", "hydra")  # sections to which a user's own class can add keys


def compose_run(overrides: Sequence[str]) -> DictConfig:
    """Compose the configuration of one run, including Hydra's own node.

    Settings that have moved are taken by their old names too.

    Raises:
        ZooError: an unknown name, a key that does not exist, or a seed that is not a whole number.
    """
    overrides = [as_typed(override) for override in overrides]
    check_choices(overrides)
    overrides = with_present_names(overrides)
    try:
        config = composition(overrides, return_hydra_config=True)
        OmegaConf.resolve(without_sections(config, ["hydra"]))
        _check_directories(config)
        whole_seed(config.get("seed"))
        return config
    except RecursionError:
        raise ZooError(
            "A file of configuration names itself in its defaults; give your own file another name than the "
            "one that it builds on."
        ) from None
    except (hydra.errors.HydraException, OmegaConfBaseException, ValueError) as error:
        raise ZooError(_sentence(str(error), overrides)) from None


def _check_directories(config: DictConfig) -> None:
    """Check that everything that the directories of runs read exists.

    Hydra sets the number and the id of a job of a multirun (``hydra.job.num``) when it starts the job, and
    reads ``hydra.sweep.subdir`` after that.

    Raises:
        OmegaConfBaseException: a directory reads something that does not exist or has no value.
    """
    for section, key in (("run", "dir"), ("sweep", "dir"), ("sweep", "subdir")):
        unread: Any = OmegaConf.to_container(config.hydra[section], resolve=False)
        text = str(unread[key])
        if "${" not in text.replace("${zoo.run_id:}", ""):
            continue
        if key == "subdir" and "hydra.job." in text:
            config = copy.deepcopy(config)
            with read_write(config.hydra):
                config.hydra.job.num, config.hydra.job.id = 0, "0"
        config.hydra[section].get(key)


def check_choices(overrides: Sequence[str]) -> None:
    """Check that each override is well formed and that each choice of a group exists.

    A sweep over a group (``model=realnvp,maf``) is checked choice by choice.

    Raises:
        ZooError: a malformed override, or an unknown choice (with the nearest names).
    """
    for text in overrides:
        override = parse(text)
        if override is None:
            if "=" in text[1:]:
                raise ZooError(
                    f"'{text}' cannot be read; put texts with special characters into quotes, such as "
                    "'data.drop=[\"a (1)\",b]' (the outer quotes are the shell's)."
                )
            raise ZooError(f"'{text}' is not an override; write key=value, e.g. model=glow.")
        group = override.key_or_group
        if group not in GROUPS:
            continue
        if override.is_delete():
            continue
        known = options(group)
        choices = list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
        if group == "experiment" and choices and isinstance(choices[0], list):  # recipes one over the other
            choices = choices[0]
        for choice in choices:
            if isinstance(choice, bool) or not isinstance(choice, str | int) or not str(choice):
                raise ZooError(
                    f"{group}= takes one name, such as {group}={known[0]}; got '{text.partition('=')[2]}'."
                )
            if str(choice) not in known:
                raise unknown({"data": "data set"}.get(group, group), str(choice), known)


def with_present_names(overrides: Sequence[str]) -> list[str]:
    """Return overrides in which each setting that has moved has its present name.

    In a sweep over models a setting is renamed if it has the same new name in all of them. What cannot be
    composed is returned as it is, for :func:`compose_run` to refuse.
    """
    if not any(map(setting_of, overrides)):
        return list(overrides)
    choices = [o for o in overrides if split(o)[0].lstrip("+") in ("experiment", "model")]
    try:
        alternatives = [[f"{split(o)[0]}={value}" for value in swept_values(o)] for o in choices]
        models = [to_dict(composition(chosen).model) for chosen in itertools.product(*alternatives)]
    except (ZooError, hydra.errors.HydraException, OmegaConfBaseException, RecursionError):
        return list(overrides)
    words = []
    for override in overrides:
        names = {renamed(override, model) for model in models}
        words.append(names.pop() if len(names) == 1 else override)
    return words


def model_settings(name: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """Return the resolved ``conf/model/<name>.yaml`` with keyword overrides, as plain values.

    An override that is a mapping changes the values it names in its section, as it would on the command line.

    Raises:
        ZooError: an unknown model, or a setting that the model does not have.
    """
    settings = _defaults(name) if own_conf() else copy.deepcopy(_shipped_defaults(name, _shipped_files()))
    for key in overrides:
        if key not in settings:
            raise unknown(f"setting of {name}", key, [k for k in settings if k != "_target_"])
    return merged(settings, overrides)


def _defaults(name: str) -> dict[str, Any]:
    return to_dict(compose_run([f"model={name}"]).model)


@functools.lru_cache(maxsize=128)
def _shipped_defaults(name: str, files: object) -> dict[str, Any]:
    """Return a model's defaults, composed again (which takes 0.1 s) only if a file has changed."""
    return _defaults(name)


def _shipped_files() -> tuple[tuple[str, int], ...]:
    """Return the name and the time of change of each shipped file of a model; they read no other settings."""
    with os.scandir(shipped("conf") / "model") as files:
        return tuple(sorted((file.name, file.stat().st_mtime_ns) for file in files))


def merged(settings: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings with nested overrides: mappings are merged, all other values replaced.

    >>> merged({"solver": {"steps": 20, "atol": 1e-5}, "flows": 1}, {"solver": {"steps": 8}})
    {'solver': {'steps': 8, 'atol': 1e-05}, 'flows': 1}
    """
    result = dict(settings)
    for key, value in overrides.items():
        is_nested = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if is_nested else value
    return result


def composition(overrides: Sequence[str], return_hydra_config: bool = False) -> DictConfig:
    """Return the configuration that Hydra composes from the shipped ``conf/`` and one's own."""
    register()
    with initialize_config_dir(str(shipped("conf")), job_name="zoo", version_base="1.3"):
        return compose("config", [*map(with_plus, overrides)], return_hydra_config=return_hydra_config)


def _sentence(message: str, overrides: Sequence[str]) -> str:
    """Return a message of Hydra's as one sentence with the remedy."""
    chosen = [o for o in overrides if split(o)[0].lstrip("+") in GROUPS]
    if "In '" not in message and (match := re.search(r"Could not override '([^']+)'", message)):
        section, _, name = match.group(1).partition(".")
        if section == "trainer" and name in INSTEAD:
            return str(refused(name))
        known = _keys(composition(chosen))
        if not difflib.get_close_matches(match.group(1), known, n=1, cutoff=0.5):  # too many to name them all
            known = [key for key in known if "." not in key]
        return str(unknown("setting", match.group(1), known)) + (
            " (A new key is written with a leading +.)" if section in _WITH_NEW_KEYS and name else ""
        )
    reading = next((text for text in overrides if "${" in text), "the configuration")
    if match := re.search(r"Environment variable '([^']*)' not found", message):
        return f"The environment variable {match.group(1)}, which {reading} reads, is not set; set it."
    if match := re.search(r"Interpolation key '([^']*)' not found", message):
        return f"There is no setting {match.group(1)}, which {reading} reads; write one that exists."
    if "invalid literal for int" in message or "Error merging override" in message:
        for text in overrides:
            parent = split(text)[0].lstrip("+~").rpartition(".")[0]
            if parent and OmegaConf.is_list(OmegaConf.select(composition(chosen), parent)):
                return f"'{text}' reaches into a list; write the whole of it, {parent}=[...]."
    return " ".join(message.split()[:60])


def _keys(config: Any, prefix: str = "") -> list[str]:
    """Return the dotted keys of all settings and sections."""
    keys = []
    for key in config:
        name = f"{prefix}{key}"
        keys.append(name)
        if not OmegaConf.is_missing(config, key) and OmegaConf.is_dict(config[key]):
            keys += _keys(config[key], f"{name}.")
    return keys
