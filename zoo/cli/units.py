"""Numbers with units, as a user types them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping

SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
COUNTS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}


def _reader(units: Mapping[str, float], example: str) -> Callable[[str], float]:
    """Return a type of argparse's: a positive number followed by one of the units."""

    def read(text: str) -> float:
        match = re.fullmatch(r"\s*([0-9.]+(?:[eE][+-]?\d+)?)\s*([A-Za-z]*)\s*", text)
        try:
            value = float(match[1]) * units[match[2]] if match else 0.0
        except (KeyError, ValueError):
            value = 0.0
        if not 0 < value < float("inf"):
            names = ", ".join(name for name in units if name)
            raise argparse.ArgumentTypeError(
                f"'{text}' must be a number with a unit ({names}), such as {example}"
            )
        return value

    return read


duration = _reader(SECONDS, "10ms or 2h")
memory = _reader(BYTES, "4GB")
count = _reader(COUNTS, "500k or 2M")
