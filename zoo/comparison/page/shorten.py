"""How the page names and rounds things: ids of rows and studies, numbers, and texts that are stored once."""

from __future__ import annotations

import math
import re

from zoo.comparison.configurations import Group
from zoo.comparison.studies import Study

DIGITS = 6  # significant digits of a number on the page


class Strings(list[str]):
    """Texts, each once; :meth:`place` returns the place of one."""

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[str, int] = {}

    def place(self, text: str) -> int:
        """Return the place of ``text``, which is added if it is new."""
        if text not in self._places:
            self._places[text] = len(self)
            self.append(text)
        return self._places[text]


def legible(text: str) -> str:
    """Return a text whose long decimal fractions are cut to four digits.

    >>> legible("median: 2.097939481630467; seconds: 0.00042131245; atol: 1e-05; n: 360")
    'median: 2.098; seconds: 0.0004213; atol: 1e-05; n: 360'
    """
    return re.sub(r"(?<![\w.])\d+\.\d{6,}(?![\w.])", lambda found: f"{float(found[0]):.4g}", text)


def row_id(group: Group) -> str:
    """Return the id of a row: the model, and the hash of its configuration without the seed."""
    return group.id


def study_id(study: Study) -> str:
    """Return the id of a study: the name of the data and the protocol."""
    return f"{study.label}~{study.protocol[:8]}"


def rounded(value: float | None) -> float | None:
    """Return a number with the digits that the page keeps; None for what JSON cannot hold."""
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 2**53 else short
