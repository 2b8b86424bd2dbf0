"""How many dimensions the data of a study have, and whether that is near to what is asked for."""

from __future__ import annotations

import math

from zoo.comparison.studies import Study
from zoo.record import DataDescription

NEAR = 2.0  # data with at most this many times more or fewer dimensions are near; others say nothing


def dimension_of(study: Study) -> int | None:
    """Return the number of dimensions of a study's data; None if no record has it."""
    data = description_of(study)
    return math.prod(data.shape) if data is not None and data.shape else None


def description_of(study: Study) -> DataDescription | None:
    """Return the first description of a study's data that has their shape; None if no record has it."""
    descriptions = (run.record.provenance.data for run in study.runs)
    return next((data for data in descriptions if data is not None and data.shape), None)


def is_near(dimension: int, asked: int) -> bool:
    """Return whether data of ``dimension`` are near to those of ``asked`` dimensions.

    >>> is_near(64, 128), is_near(64, 129)
    (True, False)
    """
    return max(dimension, asked) <= NEAR * min(dimension, asked)
