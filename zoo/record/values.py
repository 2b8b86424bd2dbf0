"""The ranges of a record's numbers, and the base of its parts. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import AfterValidator, ConfigDict

Whole = Annotated[int, Ge(-(2**63)), Le(2**63 - 1)]  # whole numbers that other readers of JSON can hold
Count = Annotated[int, Ge(0), Le(2**63 - 1)]
LARGEST = 1e100  # no measured number is larger; squares and sums of such numbers are finite
_LEAST = -LARGEST
Number = Annotated[float, Ge(_LEAST), Le(LARGEST)]


class Part:
    """A part of a record. A file with a field that the part does not have is refused.

    Parts have slots to save memory, since a comparison may hold ten thousand records.
    """

    __slots__ = ()
    __pydantic_config__ = ConfigDict(extra="forbid")


def hold_bounds(details: dict[str, Any]) -> dict[str, Any]:
    """Return the details unchanged.

    Raises:
        ValueError: a number in them, at any depth, is beyond :data:`LARGEST` or not finite.
    """
    if (too_large := _too_large(details.values())) is not None:
        raise ValueError(f"{too_large:.3g} is a number that no run measures")
    return details


def _too_large(values: Iterable[Any]) -> float | None:
    """Return the first of some nested values that is beyond :data:`LARGEST` or not finite, or None.

    A comparison asks this of every metric of every record, so it is written to be fast.
    """
    for value in values:
        kind = type(value)
        if kind is float:
            if not _LEAST <= value <= LARGEST:
                return value
        elif kind is list or kind is dict:
            inner = _too_large(value if kind is list else value.values())
            if inner is not None:
                return inner
    return None


Bounded = Annotated[dict[str, Any], AfterValidator(hold_bounds)]
