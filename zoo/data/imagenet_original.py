"""ImageNet at 32 or 64 pixels in the first version, of van den Oord et al. 2016, which was withdrawn in 2021.

Real NVP, Glow, neural spline flows and most papers before 2021 used it; its numbers do not compare with those
of :class:`~zoo.data.imagenet.ImageNet`, whose images were made smaller by another filter.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from zoo.data.module import DataModule
from zoo.data.published import damaged, published_file
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.locks import exclusive

IMAGES = {"train": 1_281_149, "valid": 49_999}  # 18 and 1 fewer than ImageNet has


class OriginalImageNet(DataModule):
    """Photographs from ``ROOT/imagenet<size>_original/train_<size>x<size>.tar`` and
    ``valid_<size>x<size>.tar``.

    The archives were given out at image-net.org/small until 2021. At first use the images are written once
    more as plain arrays beside them, which all processes of a machine map into their memory together.
    Validation is the last 10,000 of the training images; the published validation images are the test, as in
    papers.

    Args:
        name: name of the data set in the record.
        root: folder of the folder.
        size: 32 or 64.

    Raises:
        ZooError: an archive is missing or damaged, or has another number of images than this version.
    """

    natural = True
    val_size = 10_000
    split_rule = "test is the published validation; validation is the last 10000 of the training images"

    def __init__(self, name: str = "imagenet64_original", root: str | None = None, size: int = 64) -> None:
        super().__init__(name, root)
        if size not in (32, 64):
            raise ZooError(f"data.size of the original small ImageNet must be 32 or 64; got {size}.")
        self.size = size

    @staticmethod
    def images() -> dict[str, int]:
        """Return the published number of images of each archive."""
        return IMAGES

    def read(self) -> None:
        train, test = self._mapped("train"), self._mapped("valid")
        end = len(train) - self.val_size
        self.spec = DataSpec((3, self.size, self.size), levels=256)
        self.splits = {"train": train[:end], "val": train[end:], "test": test}

    def _mapped(self, part: str) -> torch.Tensor:
        """Return memory-mapped images ``(N, 3, size, size)``, uint8."""
        archive = published_file(
            self.root,
            [f"imagenet{self.size}_original/{part}_{self.size}x{self.size}.tar"],
            f"ImageNet at {self.size} pixels in its first version (van den Oord et al. 2016)",
            "somebody who has it: image-net.org/small is closed (data=imagenet64 is the present version)",
        )
        plain = archive.with_suffix(".npy")
        try:
            with exclusive(archive.with_suffix(".lock")):
                if not plain.exists():
                    self._unpack(archive, plain, self.images()[part])
        except (tarfile.TarError, UnidentifiedImageError, EOFError) as error:
            raise damaged(archive, error) from error
        except OSError as error:
            raise ZooError(
                f"The images of {archive} cannot be written as a plain array beside it ({error}); make room, "
                "or put the folder where you may write."
            ) from error
        return torch.from_numpy(np.load(plain, mmap_mode="c"))

    def _unpack(self, archive: Path, plain: Path, count: int) -> None:
        part, row = plain.with_name(f".{plain.name}.part"), 0
        images = np.lib.format.open_memmap(part, "w+", np.uint8, (count, 3, self.size, self.size))
        with tarfile.open(archive) as tar:
            for member in tar:
                stream = tar.extractfile(member) if member.name.endswith(".png") else None
                if stream is None:
                    continue
                with Image.open(stream) as image:
                    x = np.asarray(image.convert("RGB"))
                if x.shape != (self.size, self.size, 3):
                    raise tarfile.TarError(f"{member.name} is {x.shape[1]} x {x.shape[0]} pixels")
                if row < count:
                    images[row] = x.transpose(2, 0, 1)
                row += 1
        if row != count:
            part.unlink()
            raise ZooError(
                f"{archive} is another version of ImageNet: it has {row} images, the one of van den Oord et "
                f"al. 2016 has {count}; data=imagenet{self.size} is the version of Chrabaszcz et al. 2017."
            )
        images.flush()
        os.replace(part, plain)
