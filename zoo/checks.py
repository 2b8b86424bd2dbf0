"""Checks of a model's settings, each one sentence that names the setting.

A setting of None, where a model has such a one, is not checked; of a sequence, every element is.

>>> whole(1, layers=2, hidden=[64, 0])
Traceback (most recent call last):
zoo.errors.ZooError: model.hidden must be a whole number, at least 1; got [64, 0].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

from zoo.errors import ZooError


def whole(least: int, **settings: Any) -> None:
    """Raise ZooError where a setting is no whole number (1.0 is none), or one below ``least``."""
    _check(settings, lambda value: is_whole(value, least), f"be a whole number, at least {least}")


def is_whole(value: Any, least: float = -math.inf) -> bool:
    """Whether a value is a whole number by its type, true and false apart, and at least ``least``."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def switch(**settings: Any) -> None:
    """Raise ZooError where a setting is neither true nor false, such as a word, which would count as true."""
    _check(settings, lambda value: isinstance(value, bool), "be true or false")


def at_least(least: float, **settings: Any) -> None:
    """Raise ZooError where a setting is below ``least``, or not finite."""
    _check(
        settings,
        lambda value: _number(value) and least <= value < math.inf,
        f"be finite and at least {least}",
    )


def above(bound: float, **settings: Any) -> None:
    """Raise ZooError where a setting is not above ``bound``, or not finite."""
    _check(
        settings, lambda value: _number(value) and bound < value < math.inf, f"be finite and above {bound}"
    )


def within(low: float, high: float, **settings: Any) -> None:
    """Raise ZooError where a setting lies outside of [low, high)."""
    _check(
        settings, lambda value: _number(value) and low <= value < high, f"be at least {low} and below {high}"
    )


def one_of(known: Sequence[str], **settings: Any) -> None:
    """Raise ZooError where a setting is none of the known words; None and a list are none."""
    for name, value in settings.items():
        if not (isinstance(value, str) and value in known):
            raise ZooError(f"model.{name} must be {', '.join(known[:-1])} or {known[-1]}; got {value!r}.")


def _number(value: Any) -> bool:
    """Whether a value is a real number; true and false would count as 1 and 0."""
    return isinstance(value, Real) and not isinstance(value, bool)


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
