"""Find examples that occur several times, so that a test example may have been trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from zoo.errors import InvalidData


def marks(x: np.ndarray) -> list[bytes]:
    """Return a key for every example, equal for equal ones."""
    return [hashlib.blake2b(example.tobytes(), digest_size=16).digest() for example in x]


def first_ones(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return which examples equal no earlier one of their own or an earlier split, ``(N,)`` for each.

    Raises:
        InvalidData: a split has no example of its own.
    """
    seen: set[bytes] = set()
    first: dict[str, np.ndarray] = {}
    for split, x in arrays.items():
        kept = np.zeros(len(x), dtype=bool)
        for i, mark in enumerate(marks(x)):
            kept[i] = mark not in seen
            seen.add(mark)
        if not kept.any():
            raise InvalidData(f"All examples of {split} are copies of others; leave out data.drop_repeats.")
        first[split] = kept
    return first


def copies_told(splits: Mapping[str, np.ndarray]) -> str:
    """Return a sentence on the held-out examples that are trained on too; empty if there are none."""
    trained = set(marks(splits["train"]))
    shares = []
    for split in ("val", "test"):
        count = sum(mark in trained for mark in marks(splits[split]))
        if count:
            shares.append(f"{count} of {len(splits[split])} in {split}")
    if not shares:
        return ""
    return (
        f"Copies of training pictures are held out ({' and '.join(shares)}), so that these do not "
        "test generalisation; data.drop_repeats=true keeps one of equal pictures."
    )
