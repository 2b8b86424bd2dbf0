"""BSDS300: patches of natural images, from the published file or drawn anew from the images."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from zoo.data.module import DataModule
from zoo.data.published import damaged, published_file
from zoo.data.spec import DataSpec

SIDE = 8
SOURCE = (
    "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/bsds "
    "(BSDS300-images.tgz; 200 training and 100 test JPEGs)"
)


class BSDS300Patches(DataModule):
    """8x8 grey patches of the Berkeley images as 63 continuous columns (Uria, Murray and Larochelle 2013).

    Uniform noise of one grey level is added, the patch is divided by 256, its mean is subtracted, and the
    last pixel, which the others then determine, is left out. Training and validation patches come from the
    200 training images, test patches from the 100 test images. The published patches are one random
    draw, the file ``BSDS300.hdf5`` of MAF's archive, which is not read. These patches are drawn anew with
    ``data_seed``, and a result on them is one on *redrawn data*.

    The images are read from ``ROOT/bsds300/bsds300_jpg.tar``, from the official ``BSDS300-images.tgz`` or
    from folders ``images/train`` and ``images/test`` there.

    Args:
        name: name of the data set in the record.
        root: folder of the files.
        train, val, test: numbers of patches.
        data_seed: seed of the draw.
    """

    def __init__(
        self,
        name: str = "bsds300",
        root: str | None = None,
        train: int = 1_000_000,
        val: int = 50_000,
        test: int = 250_000,
        data_seed: int = 0,
    ) -> None:
        super().__init__(name, root)
        self.counts = {"train": train, "val": val, "test": test}
        self.data_seed = data_seed
        self.split_rule = (
            f"patches drawn anew, data seed {data_seed}: training and validation from the 200 training "
            "images, test from the 100 test images"
        )

    def read(self) -> None:
        path = published_file(
            self.root,
            ["bsds300/BSDS300-images.tgz", "bsds300/bsds300_jpg.tar", "bsds300/images", "BSDS300/images"],
            "The archive of the images of BSDS300",
            SOURCE,
        )
        try:
            images = _from_folder(path) if path.is_dir() else _from_archive(path)
        except (OSError, EOFError, tarfile.TarError, UnidentifiedImageError) as error:
            raise damaged(path, error) from error
        sizes = {part: len(images[part]) for part in ("train", "test")}
        if sizes != self.images():
            raise damaged(path, f"it has {sizes['train']} training and {sizes['test']} test images")
        self.spec = DataSpec((SIDE**2 - 1,))
        for index, (split, n) in enumerate(self.counts.items()):
            rng = np.random.default_rng([self.data_seed, index])
            self.splits[split] = torch.from_numpy(
                patches(images["test" if split == "test" else "train"], n, rng)
            )

    @staticmethod
    def images() -> dict[str, int]:
        """Return the published numbers of images."""
        return {"train": 200, "test": 100}


def patches(images: list[np.ndarray], n: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``n`` random patches ``(n, 63)`` in float32: a random image, then a random place in it.

    Args:
        images: grey images ``(H, W)``, uint8.
        n: number of patches.
        rng: source of the places and of the noise.
    """
    which = np.sort(rng.integers(len(images), size=n))
    result = np.empty((n, SIDE, SIDE))
    for index, image in enumerate(images):
        rows = np.flatnonzero(which == index)
        top, left = (rng.integers(size - SIDE + 1, size=len(rows)) for size in image.shape)
        windows = np.lib.stride_tricks.sliding_window_view(image, (SIDE, SIDE))
        result[rows] = windows[top, left]
    result = (result.reshape(n, -1) + rng.random((n, SIDE**2))) / 256
    result -= result.mean(1, keepdims=True)
    return rng.permutation(result[:, :-1]).astype(np.float32)


def _from_archive(path: Path) -> dict[str, list[np.ndarray]]:
    """Read the images of an archive in the order of their names."""
    parts: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    with tarfile.open(path) as tar:
        for member in sorted(tar.getmembers(), key=lambda member: member.name):
            part = Path(member.name).parent.name
            stream = tar.extractfile(member) if member.name.endswith(".jpg") and part in parts else None
            if stream is not None:
                parts[part].append(_grey(stream.read()))
    return parts


def _from_folder(path: Path) -> dict[str, list[np.ndarray]]:
    return {
        part: [_grey(file.read_bytes()) for file in sorted((path / part).glob("*.jpg"))]
        for part in ("train", "test")
    }


def _grey(content: bytes) -> np.ndarray:
    """Return a JPEG as a grey image ``(H, W)``, uint8."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("L"))
