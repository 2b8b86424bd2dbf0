"""Checks of a model's settings, each one sentence that names the setting.

A setting of None, where a model has such a one, is not checked; of a sequence, every element is.

>>> at_least(1, layers=2, hidden=[64, 0])
Traceback (most recent call last):
zoo.errors.ZooError: model.hidden must be at least 1; got [64, 0].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zoo.errors import ZooError


def at_least(least: float, **settings: Any) -> None:
    """Raise ZooError where a setting is below ``least``."""
    _check(settings, lambda value: value >= least, f"be at least {least}")


def above(bound: float, **settings: Any) -> None:
    """Raise ZooError where a setting is not above ``bound``."""
    _check(settings, lambda value: value > bound, f"be above {bound}")


def within(low: float, high: float, **settings: Any) -> None:
    """Raise ZooError where a setting lies outside of [low, high)."""
    _check(settings, lambda value: low <= value < high, f"be at least {low} and below {high}")


def one_of(known: Sequence[str], **settings: Any) -> None:
    """Raise ZooError where a setting is none of the known words."""
    _check(settings, lambda value: value in known, f"be {', '.join(known[:-1])} or {known[-1]}")


def _check(settings: dict[str, Any], holds: Callable[[Any], bool], what: str) -> None:
    for name, value in settings.items():
        parts = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        for part in parts:
            if part is not None and not _true(holds, part):
                shown = list(value) if parts is value else value
                raise ZooError(f"model.{name} must {what}; got {shown!r}.")


def _true(holds: Callable[[Any], bool], value: Any) -> bool:
    try:
        return bool(holds(value))
    except TypeError:  # a word where a number belongs
        return False
