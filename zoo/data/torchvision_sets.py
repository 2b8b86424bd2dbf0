"""MNIST, Fashion-MNIST and CIFAR-10, read from the files that torchvision downloads.

Existing files are checked by their checksum and read in place; nothing is written, so a read-only data root
works. Only missing files are downloaded (none if the environment variable ``ZOO_NO_DOWNLOAD`` is set).
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import lzma
import os
import pickle
import socket
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from zoo.checks import checked
from zoo.data.module import DataModule
from zoo.data.spec import DataSpec
from zoo.errors import ZooError


def data_root(root: str | Path | None) -> Path:
    """Return the folder of data sets: ``data.root``, else the environment's ``ZOO_DATA``, else a cache."""
    return Path(root or os.environ.get("ZOO_DATA") or "~/.cache/zoo/data").expanduser()


def _damaged(path: Path, why: object) -> ZooError:
    return ZooError(f"{path} is damaged ({why}); delete it, and it is downloaded again.")


def _checked(path: Path, md5: str) -> bytes:
    """Return the bytes of a file after checking its checksum."""
    content = path.read_bytes()
    if hashlib.md5(content).hexdigest() != md5:
        raise _damaged(path, "its md5 is not the published one")
    return content


def _download(name: str, path: Path, urls: Sequence[str], md5: str) -> None:
    """Download ``path`` from the first of ``urls`` that has it; a partial download never gets this name.

    If none has it, no new folder is left behind.
    """
    reason: object = "ZOO_NO_DOWNLOAD is set"
    if not os.environ.get("ZOO_NO_DOWNLOAD"):
        from torchvision.datasets.utils import download_url

        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        missing = [folder for folder in path.parents if not folder.exists()]  # the deepest first
        timeout = socket.getdefaulttimeout()
        socket.setdefaulttimeout(30)
        try:
            for url in urls:
                try:
                    download_url(url, str(path.parent), part.name, md5)
                    part.replace(path)
                    return
                except (OSError, RuntimeError) as error:
                    reason = error
        finally:
            socket.setdefaulttimeout(timeout)
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
                for folder in missing:
                    folder.rmdir()  # an error ends the loop: the folder holds files, so a download succeeded
    raise ZooError(
        f"{name} is not at {path} and could not be downloaded ({reason}); put the file there, "
        f"or give the folder of the data by data.root= or the environment variable ZOO_DATA."
    )


def read_idx(content: bytes) -> np.ndarray:
    """Read a gzipped idx file of bytes as a uint8 array (format: LeCun's MNIST page)."""
    raw = gzip.decompress(content)
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise ValueError("not an idx file of bytes")
    ndim = raw[3]
    shape = [int(n) for n in np.frombuffer(raw, ">u4", ndim, 4)]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * ndim).reshape(shape)


class MNIST(DataModule):
    """28x28 grey images with 256 levels from ``ROOT/MNIST/raw/*.gz`` (LeCun et al. 1998).

    Validation is the last 10,000 of the 60,000 training images; test is the official one.
    """

    split_rule = "official test; validation is the last 10000 of the training images"
    source = "MNIST"
    val_size = 10_000

    @checked("data")
    def __init__(self, name: str = "mnist", root: str | Path | None = None) -> None:
        super().__init__(name, root)

    def read(self) -> None:
        import torchvision.datasets

        official = getattr(torchvision.datasets, self.source)
        folder = data_root(self.root) / self.source / "raw"
        arrays = []
        for filename, md5 in official.resources:
            path = folder / filename
            if not path.exists():
                _download(self.source, path, [mirror + filename for mirror in official.mirrors], md5)
            try:
                arrays.append(torch.from_numpy(read_idx(_checked(path, md5)).copy()))
            except (OSError, EOFError, ValueError) as error:
                raise _damaged(path, error) from error
        x_train, y_train, x_test, y_test = arrays
        if len(x_train) <= self.val_size or len(x_train) != len(y_train) or len(x_test) != len(y_test):
            raise _damaged(folder, "images and labels do not match")
        cut = len(x_train) - self.val_size
        images = {"train": x_train[:cut], "val": x_train[cut:], "test": x_test}
        self.spec = DataSpec((1, *x_train.shape[1:]), levels=256, classes=10)
        self.splits = {split: x[:, None].contiguous() for split, x in images.items()}
        self.labels = {"train": y_train[:cut].long(), "val": y_train[cut:].long(), "test": y_test.long()}


class FashionMNIST(MNIST):
    """Zalando's articles in MNIST's form (Xiao et al. 2017), from ``ROOT/FashionMNIST/raw/*.gz``."""

    source = "FashionMNIST"

    @checked("data")
    def __init__(self, name: str = "fashion_mnist", root: str | Path | None = None) -> None:
        super().__init__(name, root)


Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class CIFAR10(DataModule):
    """32x32 colour photographs (Krizhevsky 2009).

    Read from the first of these that is in the data root: torchvision's ``cifar-10-batches-py/``; the
    official ``cifar-10-python.tar.gz``; ``cifar10.npz`` with ``x_train (N, 32, 32, 3)``, ``y_train``,
    ``x_test``, ``y_test``; ``cifar10/`` with compressed shards (:func:`decode_shard`). Otherwise the official
    archive is downloaded. Validation is the last 5,000 training images. If the folder has fewer than the
    10,000 official test images, validation and test are the last 2 x 5,000 training images; the record's
    split rule states it.
    """

    natural = True
    held_out = 5_000
    test_size = 10_000

    @checked("data")
    def __init__(self, name: str = "cifar10", root: str | Path | None = None) -> None:
        super().__init__(name, root)

    def read(self) -> None:
        x, y, x_test, y_test = self._arrays()
        n, k = len(x), self.held_out
        if x.shape[1:] != (32, 32, 3) or x.dtype != np.uint8 or len(y) != n or n <= 2 * k:
            raise _damaged(data_root(self.root), f"training images {x.shape} {x.dtype}, labels {y.shape}")
        if len(x_test) == self.test_size:
            self.split_rule = f"official test; validation is the last {k} of the training images"
            parts = {"train": (x[: n - k], y[: n - k]), "val": (x[n - k :], y[n - k :])}
            parts["test"] = (x_test, y_test)
        else:
            self.split_rule = (
                f"not the official test (its {self.test_size} images are not all here): the last {k} "
                f"training images are the test, the {k} before them the validation"
            )
            bounds = {"train": (0, n - 2 * k), "val": (n - 2 * k, n - k), "test": (n - k, n)}
            parts = {split: (x[a:b], y[a:b]) for split, (a, b) in bounds.items()}
        self.spec = DataSpec((3, 32, 32), levels=256, classes=10)
        for split, (images, labels) in parts.items():
            chw = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
            self.splits[split] = torch.from_numpy(chw)
            self.labels[split] = torch.from_numpy(labels.astype(np.int64))

    def _arrays(self) -> Arrays:
        """Return ``x_train (N, 32, 32, 3)``, ``y_train``, ``x_test``, ``y_test``."""
        from torchvision.datasets import CIFAR10 as official

        root = data_root(self.root)
        archive = root / official.filename
        batches = [(name, md5) for name, md5 in official.train_list + official.test_list]
        path = root / official.base_folder
        try:
            if path.is_dir():
                return _batches([_checked(path / name, md5) for name, md5 in batches])
            if (path := root / "cifar10.npz").exists():
                with np.load(path, allow_pickle=False) as file:
                    return tuple(file[key] for key in ("x_train", "y_train", "x_test", "y_test"))
            if not archive.exists() and (path := root / "cifar10").is_dir():
                return _shards(path)
            path = archive
            if not path.exists():
                _download("CIFAR-10", path, [official.url], official.tgz_md5)
            with tarfile.open(fileobj=io.BytesIO(_checked(path, official.tgz_md5))) as tar:
                members = [tar.extractfile(f"{official.base_folder}/{name}") for name, _ in batches]
                return _batches([member.read() for member in members if member])
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise _damaged(path, error) from error
        except (lzma.LZMAError, tarfile.TarError) as error:
            raise _damaged(path, error) from error


def _batches(contents: Sequence[bytes]) -> Arrays:
    """Read the official pickles, checked before: the last holds test images, the others training images."""
    loaded = [pickle.loads(content, encoding="latin1") for content in contents]
    x = [batch["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) for batch in loaded]
    y = [np.asarray(batch["labels"]) for batch in loaded]
    return np.concatenate(x[:-1]), np.concatenate(y[:-1]), x[-1], y[-1]


SHARDS_MD5 = "17e2cb5a4119d89a4a13e02b91701bff"  # of the 50,000 official training images as (N, 32, 32, 3)


def _shards(folder: Path) -> Arrays:
    """Read compressed shards: all training images and the first test images."""
    x = np.concatenate([decode_shard(folder / f"cifar10_train_{shard}.npy.xz") for shard in range(5)])
    if hashlib.md5(x.tobytes()).hexdigest() != SHARDS_MD5:
        raise ValueError("the decoded training images do not match their checksum")
    with np.load(folder / "cifar10_labels.npz", allow_pickle=False) as labels:
        y, y_test = labels["y_train"], labels["y_test_all10000"]
    # Such a folder has too few test images to be used, so they are not read: the test split is empty here.
    return x, y, np.zeros((0, 32, 32, 3), np.uint8), y_test[:0]


def decode_shard(path: Path) -> np.ndarray:
    """Return images ``(N, H, W, 3)`` from an ``.npy.xz`` of prediction residuals ``(3, N, H, W)``, uint8.

    The planes are G, R-G and B-G modulo 256, each predicted from its left, upper and upper left neighbours by
    the median edge detector of JPEG-LS (Weinberger et al. 2000).
    """
    with lzma.open(path) as file:
        residual = np.load(file, allow_pickle=False)
    _, n, height, width = residual.shape
    residual = np.ascontiguousarray(residual.transpose(2, 3, 0, 1)).astype(np.int16)
    plane = np.zeros((height + 1, width + 1, 3, n), np.int16)
    for i in range(height):
        for j in range(width):
            left, up, corner = plane[i + 1, j], plane[i, j + 1], plane[i, j]
            low, high = np.minimum(left, up), np.maximum(left, up)
            guess = np.clip(left + up - corner, low, high)
            plane[i + 1, j + 1] = (residual[i, j] + guess) & 255
    green, red, blue = (plane[1:, 1:, c].astype(np.uint8) for c in range(3))
    return np.ascontiguousarray(np.stack([red + green, green, blue + green], -1).transpose(2, 0, 1, 3))
