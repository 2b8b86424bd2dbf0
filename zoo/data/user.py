"""What the pictures and tables of users share: paths, NumPy files and splits.

Data are split once, at random with ``split_seed`` (by default 80/10/10), unless they bring ``train``, ``val``
and ``test`` themselves. Of these, ``val`` and ``test`` may be absent and are then drawn from the training
examples.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.config.content import expanded
from zoo.data import mapped
from zoo.data.module import SPLITS, DataModule
from zoo.errors import InvalidData, ZooError

FEWEST = 10  # smallest number of examples
SPLIT_WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
SPLIT_WORDS |= {"dev": "val", "test": "test", "testing": "test"}
EXAMPLES = ("data", "x", "images", "features")
LABELS = ("labels", "label", "y", "targets", "target", "classes", "class")


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
    """Return the array of an ``.npy``, or the arrays of an ``.npz`` by name.

    A large ``.npy`` is memory-mapped. An ``.npz`` is an archive, which can only be read as a whole.
    """
    try:
        with open(path, "rb") as file:
            header = file.read(6)
            if header == b"\x93NUMPY" and path.stat().st_size >= mapped.LARGE:
                # Copy-on-write: torch needs writable memory, although nothing is written to it.
                return np.load(path, allow_pickle=False, mmap_mode="c")
            file.seek(0)
            content = np.load(file, allow_pickle=False)
            return content if isinstance(content, np.ndarray) else {key: content[key] for key in content}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ZooError(f"{path} cannot be read as numbers ({error}); write it with numpy.save(z).") from error


def choose(arrays: Mapping[str, np.ndarray], names: tuple[str, ...], path: Path) -> dict[str, str]:
    """Return the names of the arrays of examples in an ``.npz`` by split, or of its only one under ``all``.

    Case does not matter; ``train``, ``x_train``, ``train_images`` and so on are splits.
    """
    splits: dict[str, dict[str, str]] = {}
    for key in arrays:
        base, split = _parted(key)
        if split and base in ("", *(name.lower() for name in (*names, *EXAMPLES))):
            splits.setdefault(base, {}).setdefault(split, key)
    for keys in splits.values():
        if "train" in keys:
            return {split: keys[split] for split in SPLITS if split in keys}
    known = {key.lower(): key for key in reversed(list(arrays))}
    for name in (*names, *EXAMPLES, *(known if len(arrays) == 1 else ())):
        if name.lower() in known:
            return {"all": known[name.lower()]}
    raise InvalidData(
        f"{path} holds the arrays {', '.join(arrays) or '(none)'}; name the data {names[0]}, "
        "or train, val and test."
    )


def labels_beside(
    arrays: Mapping[str, np.ndarray], chosen: Mapping[str, str], names: tuple[str, ...]
) -> dict[str, str]:
    """Return the names of the arrays of labels by split; empty if there are none.

    Args:
        arrays: all arrays of the file.
        chosen: names of the arrays of examples, by split.
        names: what arrays of labels may be called, the preferred name first.
    """
    for name in names:
        keys: dict[str, str] = {}
        for key in arrays:
            base, split = _parted(key)
            if key not in chosen.values() and (
                base == name.lower() or (key.lower() == name.lower() and "all" in chosen)
            ):
                keys.setdefault(split or "all", key)
        if chosen.keys() <= keys.keys():
            return {split: keys[split] for split in chosen}
    return {}


def check_labels(labels: np.ndarray, count: int, where: str) -> np.ndarray:
    """Return an array of labels as ``(N,)``.

    Raises:
        InvalidData: it has another shape or length.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != count:
        raise InvalidData(
            f"{where} has the shape {labels.shape}; labels of {count} examples have the shape ({count},)."
        )
    return labels


def _parted(key: str) -> tuple[str, str]:
    """Return the name of an ``.npz``'s array without its split, in lower case, and the split."""
    words = re.split(r"[_\-. ]+", key.lower())
    for place in (0, -1):
        if words[place] in SPLIT_WORDS:
            split = SPLIT_WORDS[words.pop(place)]
            return "_".join(words), split
    return key.lower(), ""


def listed(items: Sequence[Any], limit: int = 6) -> str:
    """Return the first few items, and the number of the others, in words.

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
        *,
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

    def note_left_out(self, path: Path, arrays: Mapping[str, np.ndarray], used: Collection[str]) -> None:
        """Note the arrays of an ``.npz`` that are not used."""
        left = [key for key in arrays if key not in used]
        if left:
            self.notes.append(
                f"{path.name}: of its {len(arrays)} arrays {listed(left)} "
                f"{'is' if len(left) == 1 else 'are'} left out{self.label_advice(path, arrays, left)}."
            )

    def label_advice(self, path: Path, arrays: Mapping[str, np.ndarray], left: Sequence[str]) -> str:
        """Return the end of a sentence that says how an array that was left out may be used."""
        return ""

    def without_repeats(
        self,
        arrays: Mapping[str, np.ndarray],
        labels: Mapping[str, np.ndarray],
        repeated: np.ndarray,
        what: str,
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return examples and labels without the repeated ones, and note how many were left out.

        Args:
            arrays: the examples, by split.
            labels: their labels; empty without any.
            repeated: whether each example, in the order of the splits, equals an earlier one.
            what: the examples, in a word, for sentences.

        Raises:
            InvalidData: all examples of a split are left out.
        """
        ends = np.cumsum([len(x) for x in arrays.values()])[:-1]
        first = dict(zip(arrays, np.split(~repeated, ends), strict=True))
        for split, is_first in first.items():
            if not is_first.any():
                raise InvalidData(
                    f"{self.path}: all {what} of {split} are copies of others; leave out data.drop_repeats."
                )
        self.notes.append(f"{int(repeated.sum())} {what} that repeat earlier {what} were left out.")
        return (
            {split: x[first[split]] for split, x in arrays.items()},
            {split: y[first[split]] for split, y in labels.items()},
        )

    def split(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return ``train``, ``val`` and ``test``, and set the split rule.

        Missing splits are drawn from ``train`` or ``all``. The draw depends only on the numbers of examples,
        so that examples and their labels are split alike.
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
        least = {"val": 1, "test": 2}  # a standard error over test examples needs two
        sizes = {split: max(least[split], round(n * self.fractions[split])) for split in missing}
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
