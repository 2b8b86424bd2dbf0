"""The ranges of a record's numbers, and the base of its parts. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import AfterValidator, ConfigDict

Whole = Annotated[int, Ge(-(2**63)), Le(2**63 - 1)]  # whole numbers that other readers of JSON can hold
Count = Annotated[int, Ge(0), Le(2**63 - 1)]
LARGEST = 1e100  # no measured number is larger; squares and sums of such numbers are finite
Number = Annotated[float, Ge(-LARGEST), Le(LARGEST)]


class Part:
    """A part of a record. A file with a field that the part does not have is refused."""

    __pydantic_config__ = ConfigDict(extra="forbid")


def _hold_bounds(details: dict[str, Any]) -> dict[str, Any]:
    """Return the details unchanged.

    Raises:
        ValueError: a number in them, at any depth, is beyond :data:`LARGEST` or not finite.
    """
    if (too_large := _too_large(details)) is not None:
        raise ValueError(f"{too_large:.3g} is a number that no run measures")
    return details


def _too_large(tree: Any) -> float | None:
    """Return the first number of a nested value that is beyond :data:`LARGEST` or not finite, or None."""
    for value in tree.values() if type(tree) is dict else tree:
        if type(value) is float:
            if not -LARGEST <= value <= LARGEST:
                return value
        elif type(value) in (dict, list) and (inner := _too_large(value)) is not None:
            return inner
    return None


Bounded = Annotated[dict[str, Any], AfterValidator(_hold_bounds)]
