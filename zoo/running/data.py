"""The data module of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.config.targets import class_of, make
from zoo.data.module import DataModule
from zoo.errors import tell
from zoo.processes import is_first_rank


def prepare_data(settings: Mapping[str, Any]) -> DataModule:
    """Return the data module of a ``data`` node, read and split.

    The first rank prints the data's notes to standard error.

    Args:
        settings: the node as plain values, with its ``_target_``.

    Raises:
        ZooError: the data are missing, damaged or do not fit the settings.
    """
    data: DataModule = make(class_of(settings, "data", DataModule), settings, "data")
    data.setup()
    if is_first_rank():
        for note in data.notes:
            tell(note)
    return data
