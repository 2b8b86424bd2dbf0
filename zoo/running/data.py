"""The data module of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra.utils import get_class

from zoo.data.module import DataModule


def prepare_data(settings: Mapping[str, Any]) -> DataModule:
    """Return the data module of a ``data`` node, read and split.

    Args:
        settings: the node as plain values, with its ``_target_``.

    Raises:
        ZooError: the data are missing, damaged or do not fit the settings.
    """
    values = dict(settings)
    data = get_class(values.pop("_target_"))(**values)
    data.setup()
    return data
