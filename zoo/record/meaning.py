"""What the values of a data set stand for: the names and units of columns, classes and labels.

The fingerprints of a table are those of its standardised values, which two tables in different units, or with
other names or labels, may share. They are the same data only if their values mean the same, too.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from zoo.record.provenance import DataDescription

_DIGITS = 5  # decimals to which means and deviations are compared: the digits behind differ between machines


def meaning(about: DataDescription) -> dict[str, str]:
    """Return what the values of a data set stand for: a text for each part that its record holds.

    Parts are ``columns``, ``units`` (mean and deviation by which each column was standardised), ``classes``
    (their names or else their number) and ``labels`` (hashes of the labels of each split).

    >>> meaning(DataDescription(details={"columns": ["a", "b"], "mean": [0.0, 1.0], "std": [1.0, 2.0]}))
    {'columns': '["a", "b"]', 'units': '0 +- 1, 0.5 +- 2'}
    """
    details = about.details
    meanings: dict[str, str] = {}
    if isinstance(columns := details.get("columns"), list):
        meanings["columns"] = _names(columns)
    if units := _units(details):
        meanings["units"] = units
    if isinstance(classes := details.get("classes"), list):
        meanings["classes"] = _names(classes)
    elif about.classes is not None:
        meanings["classes"] = str(about.classes)
    if about.labels:
        meanings["labels"] = ", ".join(f"{split} {mark}" for split, mark in sorted(about.labels.items()))
    return meanings


def digest(parts: Mapping[str, str], *names: str) -> str:
    """Return a hash of some parts of a meaning in 8 hexadecimal digits."""
    text = "\n".join(f"{name} {parts[name]}" for name in names if name in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _names(values: list[Any]) -> str:
    return json.dumps([str(value) for value in values])


def _units(details: Mapping[str, Any]) -> str:
    """Return mean (in deviations) and deviation of each column; empty where the record lacks them."""
    mean, std = details.get("mean"), details.get("std")
    if not isinstance(mean, list) or not isinstance(std, list) or len(mean) != len(std):
        return ""
    try:
        pairs = [(float(m), float(s)) for m, s in zip(mean, std, strict=True)]
    except (TypeError, ValueError, OverflowError):
        return ""
    if not all(math.isfinite(m) and math.isfinite(s) and s > 0 for m, s in pairs):
        return ""
    return ", ".join(f"{round(m / s, _DIGITS) + 0.0:.10g} +- {s:.{_DIGITS + 1}g}" for m, s in pairs)
