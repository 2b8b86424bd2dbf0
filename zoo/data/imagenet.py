"""ImageNet at 32 or 64 pixels: the downsampled variant of Chrabaszcz, Loshchilov and Hutter 2017.

Results on it are not comparable to results on the older variant of van den Oord et al. 2016, which was
withdrawn.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo.checks import Positive, checked
from zoo.data.module import DataModule
from zoo.data.spec import DataSpec
from zoo.data.torchvision_sets import data_root
from zoo.errors import ZooError
from zoo.locks import exclusive

PARTS = tuple(f"train_data_batch_{i}.npz" for i in range(1, 11))
OFFICIAL = "val_data.npz"


class ImageNet(DataModule):
    """Photographs of 1,000 classes, ``size`` x ``size``, from the npz files below ``ROOT/imagenet<size>/``.

    The files are given out to registered users only, so they are never downloaded: unpack the archives "npz
    format" of image-net.org there. At first use they are written once more as plain arrays (16 GB at 64
    pixels), which all processes of a machine then map into their memory together.

    Validation is the last 10,000 of the training images; the official validation images are the test, as in
    papers.
    """

    natural = True
    val_size = 10_000
    split_rule = "test is the official validation; validation is the last 10000 of the training images"

    @checked("data")
    def __init__(self, name: str = "imagenet64", root: str | Path | None = None, size: Positive = 64) -> None:
        super().__init__(name, root)
        self.size = size

    def read(self) -> None:
        folder = data_root(self.root) / f"imagenet{self.size}"
        x, y = self._mapped(folder, "train", PARTS)
        test, y_test = self._mapped(folder, "official_validation", (OFFICIAL,))
        cut = len(x) - self.val_size
        if cut < 1:
            raise ZooError(
                f"{folder} holds {len(x)} training images, too few to use {self.val_size} for validation."
            )
        self.spec = DataSpec((3, self.size, self.size), levels=256, classes=1000)
        self.splits = {"train": x[:cut], "val": x[cut:], "test": test}
        self.labels = {"train": y[:cut], "val": y[cut:], "test": y_test}

    def _mapped(self, folder: Path, name: str, files: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        """Return memory-mapped images ``(N, 3, size, size)`` and their labels from 0."""
        plain, labels = folder / f"{name}.npy", folder / f"{name}_labels.npy"
        if not labels.exists():  # the labels are written last
            self._unpack(folder, files, plain, labels)
        # Copy-on-write: torch needs writable memory, although nothing is written to it.
        return torch.from_numpy(np.load(plain, mmap_mode="c")), torch.from_numpy(np.load(labels))

    def _unpack(self, folder: Path, files: tuple[str, ...], plain: Path, labels: Path) -> None:
        archives = {file.name: file for file in folder.rglob("*.npz")}
        missing = [name for name in files if name not in archives]
        if missing:
            raise ZooError(
                f"ImageNet at {self.size} pixels needs {missing[0]} in {folder} or below; register at "
                "image-net.org, unpack its archives 'npz format' there, or give data.root= or ZOO_DATA."
            )
        try:
            with exclusive(folder / ".lock"):
                if not labels.exists():
                    sources = [archives[name] for name in files]
                    # The labels are read first: their number is the number of images.
                    y = [self._array(file, "labels").astype(np.int64) - 1 for file in sources]
                    parts = [path.with_name(f".{path.name}.part") for path in (plain, labels)]
                    shape = (sum(map(len, y)), 3, self.size, self.size)
                    images = np.lib.format.open_memmap(parts[0], "w+", np.uint8, shape)
                    row = 0
                    for file, classes in zip(sources, y, strict=True):
                        x = self._array(file, "data")
                        if x.dtype != np.uint8 or x.shape != (len(classes), 3 * self.size**2):
                            raise _damaged(file, f"its images are {x.shape} {x.dtype}")
                        if len(classes) and not 0 <= classes.min() <= classes.max() < 1000:
                            raise _damaged(file, "its labels are not from 1 to 1000")
                        images[row : row + len(x)] = x.reshape(-1, *shape[1:])
                        row += len(x)
                    images.flush()
                    with parts[1].open("wb") as out:
                        np.save(out, np.concatenate(y))
                    for part, path in zip(parts, (plain, labels), strict=True):
                        os.replace(part, path)
        except OSError as error:
            raise ZooError(
                f"The images in {folder} cannot be written as plain arrays beside them ({error}); "
                "make room, or put the folder where you may write."
            ) from error

    @staticmethod
    def _array(file: Path, key: str) -> np.ndarray:
        try:
            with np.load(file, allow_pickle=False) as content:
                array: np.ndarray = content[key]
                return array
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise _damaged(file, error) from error


def _damaged(file: Path, why: object) -> ZooError:
    return ZooError(f"{file} is damaged ({why}); unpack it from the archive again.")
