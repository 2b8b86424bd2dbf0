"""What the pictures and tables of users share: paths, NumPy files and splits.

Data are split once, at random with ``split_seed`` (by default 80/10/10), unless they bring ``train``, ``val``
and ``test`` themselves. Of these, ``val`` and ``test`` may be absent and are then drawn from the training
examples.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.config.content import expanded
from zoo.data.module import SPLITS, DataModule
from zoo.errors import InvalidData, ZooError

FEWEST = 10


def existing(path: str | Path | None, name: str, example: str) -> Path:
    """Return the path of the user's data.

    Raises:
        ZooError: no path was given, or nothing is there.
    """
    if not path:
        raise ZooError(f"data={name} needs the path of your data; give data.path={example}.")
    file = expanded(path)
    if not file.exists():
        raise ZooError(f"There is no {file.absolute()}; give an existing data.path=, such as {example}.")
    if not (file.is_file() or file.is_dir()):
        raise ZooError(f"{file} is neither a file nor a folder; write what it gives into a file.")
    return file


def load_arrays(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """Return the array of an ``.npy``, or the arrays of an ``.npz`` by name."""
    try:
        with open(path, "rb") as file:
            content = np.load(file, allow_pickle=False)
            return content if isinstance(content, np.ndarray) else {key: content[key] for key in content}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ZooError(f"{path} cannot be read as numbers ({error}); write it with numpy.save(z).") from error


def choose(arrays: Mapping[str, np.ndarray], names: tuple[str, ...], path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` by split, or its only array under ``all``."""
    splits = {s: arrays[key] for s in SPLITS for key in (s, f"x_{s}") if key in arrays}
    if "train" in splits:
        return splits
    for name in (*names, *(arrays if len(arrays) == 1 else ())):
        if name in arrays:
            return {"all": arrays[name]}
    raise InvalidData(
        f"{path} holds the arrays {', '.join(arrays) or '(none)'}; name the data {names[0]}, "
        "or train, val and test."
    )


def listed(items: Sequence[Any], limit: int = 6) -> str:
    """Return a list in words, of which the first few items are named.

    >>> listed("abc"), listed(range(9), 2)
    ('a, b and c', '0, 1 and 7 more')
    """
    texts = [str(item) for item in items]
    if len(texts) > limit:
        texts = [*texts[:limit], f"{len(texts) - limit} more"]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


class UserData(DataModule):
    """Base class of a user's data: the checks of its settings and the splits."""

    def __init__(
        self,
        name: str,
        root: str | Path | None,
        path: str | Path | None,
        val_fraction: float,
        test_fraction: float,
        split_seed: int,
    ) -> None:
        super().__init__(name, root)
        self.path = path
        self.fractions = {"val": float(val_fraction), "test": float(test_fraction)}
        self.split_seed = int(split_seed)
        if min(self.fractions.values()) <= 0 or sum(self.fractions.values()) >= 1:
            raise ZooError(
                "data.val_fraction and data.test_fraction must be above 0 and together below 1; "
                f"got {val_fraction} and {test_fraction}."
            )

    def split(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return ``train``, ``val`` and ``test`` from some of them or ``all``; set the split rule.

        The rule looks at the numbers of examples alone, so that arrays of examples and of their labels are
        split alike.
        """
        rest = arrays.get("train", arrays.get("all", np.zeros(0)))
        if sum(len(x) for x in arrays.values()) < FEWEST:
            count = sum(len(x) for x in arrays.values())
            raise InvalidData(f"{self.path} holds {count} examples; give at least {FEWEST}.")
        missing = [split for split in ("val", "test") if split not in arrays]
        if not missing:
            self.split_rule = "as given"
            return {split: arrays[split] for split in SPLITS}
        n = len(rest)
        order = torch.randperm(n, generator=torch.Generator().manual_seed(self.split_seed)).numpy()
        sizes = {split: max(1, round(n * self.fractions[split])) for split in missing}
        if n - sum(sizes.values()) < 1:
            raise InvalidData(f"{self.path} leaves nothing to train on; give more data or smaller fractions.")
        parts, end = dict(arrays), n
        for split in reversed(missing):
            parts[split] = rest[np.sort(order[end - sizes[split] : end])]
            end -= sizes[split]
        parts["train"] = rest[np.sort(order[:end])]
        shares = " and ".join(f"{self.fractions[split]:g} for {split}" for split in missing)
        self.split_rule = f"at random with seed {self.split_seed}: {shares}" + (
            "" if len(missing) == 2 else ", the other as given"
        )
        return {split: parts[split] for split in SPLITS}
