"""Find pictures that occur several times, so that a held-out picture may have been trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np

from zoo.data.mapped import SelectedRows


def keys(x: Iterable[np.ndarray]) -> list[bytes]:
    """Return a key for every example of ``(N, ...)``; two keys are equal if and only if the examples are."""
    return [hashlib.blake2b(example.tobytes(), digest_size=16).digest() for example in x]


def repeated(x: np.ndarray) -> np.ndarray:
    """Return whether each example of ``(N, ...)`` equals an earlier one, ``(N,)``."""
    seen: set[bytes] = set()
    repeats = np.zeros(len(x), dtype=bool)
    for i, key in enumerate(keys(x)):
        repeats[i] = key in seen
        seen.add(key)
    return repeats


def warn_of_copies(splits: Mapping[str, np.ndarray] | Mapping[str, SelectedRows]) -> str:
    """Return a warning with the number of held-out examples that are copies of training ones; empty if 0."""
    trained = set(keys(splits["train"]))
    shares = []
    for split in ("val", "test"):
        count = sum(key in trained for key in keys(splits[split]))
        if count:
            shares.append(f"{count} of {len(splits[split])} in {split}")
    if not shares:
        return ""
    return (
        f"Copies of training pictures are held out ({' and '.join(shares)}), which do not test "
        "generalisation; data.drop_repeats=true keeps only the first of equal pictures."
    )
