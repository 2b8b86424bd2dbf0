"""The class that a section of the configuration names by its ``_target_``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from zoo.checks import check_settings
from zoo.config.places import find_own_modules
from zoo.errors import ZooError


def class_of(settings: Mapping[str, Any], section: str, base: type | None = None) -> type[Any]:
    """Return the class that a section names.

    Args:
        settings: the section, with its ``_target_``.
        section: its name, for errors.
        base: the class that it must be derived from.

    Raises:
        ZooError: there is no ``_target_``, it cannot be imported, or it is not a class of this kind.
    """
    target = settings.get("_target_")
    if not isinstance(target, str) or not target:
        raise ZooError(f"The YAML of {section} needs a line `_target_: package.module.Class`.")
    find_own_modules()
    try:
        target_class = _located(target)
    except Exception as error:
        raise ZooError(f"{section}._target_ '{target}' cannot be imported: {_first_line(error)}.") from error
    if not isinstance(target_class, type) or (base is not None and not issubclass(target_class, base)):
        kind = "a class" if base is None else f"a class derived from {base.__name__}"
        raise ZooError(f"{section}._target_ must name {kind}; got {target}.")
    return target_class


def _located(target: str) -> Any:
    """Return what a dotted name stands for: the attribute of a module, perhaps of a class in it."""
    module, _, name = target.rpartition(".")
    if not module:
        raise ImportError("it has no dot between module and class")
    try:
        located = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}.") or "." not in module:
            raise
        located = _located(module)  # a class inside of a class
    return getattr(located, name)


def make(cls: type[Any], settings: Mapping[str, Any], section: str, **more: Any) -> Any:
    """Return an object of a class with these settings, except its ``_target_``.

    Args:
        cls: the class.
        settings: a section of the configuration.
        section: its name, for errors.
        more: arguments that are not settings.

    Raises:
        ZooError: the class does not take these settings, or a class of a user's own raises another error.
    """
    values = {str(key): value for key, value in settings.items() if key != "_target_"}
    name = f"{cls.__module__}.{cls.__qualname__}"
    if name.startswith("zoo."):
        values = check_settings(cls.__init__, values, section)
    try:
        return cls(**more, **values)
    except ZooError:
        raise
    except TypeError as error:
        raise ZooError(f"{name} does not take these settings: {_first_line(error)}.") from error
    except Exception as error:
        if name.startswith("zoo."):
            raise
        raise ZooError(
            f"{name} cannot be made with the settings of {section} ({type(error).__name__}: "
            f"{_first_line(error)}); --debug shows where."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
