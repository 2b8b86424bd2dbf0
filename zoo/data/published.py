"""Published files that zoo never downloads: where they lie, and the error when one is missing."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from zoo.data.torchvision_sets import data_root
from zoo.errors import ZooError


def published_file(root: str | Path | None, names: Sequence[str], what: str, source: str) -> Path:
    """Return the first of ``names`` that exists below the data root.

    Args:
        root: ``data.root``.
        names: paths below the data root, the form to put there first.
        what: the data in words, for the error.
        source: where to get the file.

    Raises:
        ZooError: none is there. The sentence says what is missing, where to get it and where to put it.
    """
    folder = data_root(root)
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise ZooError(
        f"{what} is not at {folder / names[0]}; get it from {source} and put it there, or give the folder of "
        "the data by data.root= or ZOO_DATA."
    )


def damaged(path: Path, why: object) -> ZooError:
    """Return the error for a file that is not what was published."""
    return ZooError(f"{path} is damaged ({why}); get it again from where it was published.")


def read_splits(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays ``train``, ``val`` and ``test`` of an ``.npz``.

    An array may be called ``train``, ``train_data`` or, of bits packed along the second axis,
    ``train_packed``; ``val`` may be called ``valid``.

    Raises:
        ZooError: the file is damaged, or lacks one of them.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {split: _array(file, words) for split, words in WORDS.items()}
    except LookupError as error:
        raise damaged(path, error.args[0]) from error
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise damaged(path, "it cannot be read as an .npz") from error  # numpy's words advise to load pickles


WORDS = {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}


def _array(file: Mapping[str, np.ndarray], words: Sequence[str]) -> np.ndarray:
    """Return the array of a split under the first of its names."""
    for word in words:
        for name in (word, f"{word}_data"):
            if name in file:
                return file[name]
        if f"{word}_packed" in file:
            return np.unpackbits(file[f"{word}_packed"], axis=1)
    raise KeyError(f"it has no array {words[0]}")


def check_sizes(
    path: Path, splits: Mapping[str, np.ndarray], expected: Mapping[str, int], columns: int
) -> None:
    """Check the number of examples of each split and the number of columns.

    Raises:
        ZooError: they are not the published ones, so the file is another version of the data.
    """
    for split, rows in expected.items():
        if splits[split].shape != (rows, columns):
            raise ZooError(
                f"{path} is another version of the data: its {split} split is "
                f"{' x '.join(map(str, splits[split].shape))}, the published one {rows} x {columns}; "
                "get the published file."
            )


def check_bits(path: Path, splits: Mapping[str, np.ndarray], checksum: str | None) -> None:
    """Check binary splits by a checksum of their packed bits, one split after the other.

    Args:
        path: the file, for the error.
        splits: arrays ``(N, D)`` of zeros and ones.
        checksum: the first 16 digits of the SHA-256; None where the published data were never at hand.

    Raises:
        ZooError: these are not the published bits.
    """
    digest = hashlib.sha256()
    for x in splits.values():
        digest.update(np.packbits(x.astype(np.uint8), axis=1).tobytes())
    if checksum is not None and digest.hexdigest()[:16] != checksum:
        raise damaged(path, "its bits are not the published ones")
