"""Tests of the readers of official files: on small files in that format and, if present, on the real ones."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets
import torchvision.datasets.utils

from zoo.data import torchvision_sets
from zoo.data.torchvision_sets import CIFAR10, MNIST, FashionMNIST, data_root, decode_shard
from zoo.errors import ZooError

REAL = Path(os.environ.get("ZOO_DATA") or Path(__file__).parents[3] / "shared" / "data")
RNG = np.random.default_rng(0)


def md5(content):
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("ZOO_NO_DOWNLOAD", "1")


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + array.tobytes(), mtime=0)  # the same bytes at any time


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    """Return a data root with a small MNIST, and its arrays."""
    arrays = [
        RNG.integers(0, 256, (20, 28, 28), dtype=np.uint8),
        RNG.integers(0, 10, 20, dtype=np.uint8),
        RNG.integers(0, 256, (6, 28, 28), dtype=np.uint8),
        RNG.integers(0, 10, 6, dtype=np.uint8),
    ]
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    resources = []
    for (name, _), array in zip(torchvision.datasets.MNIST.resources, arrays, strict=True):
        (folder / name).write_bytes(idx(array))
        resources.append((name, md5(idx(array))))
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    monkeypatch.setattr(MNIST, "val_size", 5)
    return tmp_path, arrays


def test_mnist_is_read_from_its_idx_files(mnist, offline):
    root, (x, y, x_test, y_test) = mnist
    before = sorted(root.rglob("*"))
    data = MNIST(root=str(root))
    data.setup()
    assert {split: len(part) for split, part in data.splits.items()} == {"train": 15, "val": 5, "test": 6}
    np.testing.assert_array_equal(torch.cat([data.splits["train"], data.splits["val"]])[:, 0], x)
    np.testing.assert_array_equal(torch.cat([data.labels["train"], data.labels["val"]]), y)
    np.testing.assert_array_equal(data.splits["test"][:, 0], x_test)
    np.testing.assert_array_equal(data.labels["test"], y_test)
    assert (data.spec.shape, data.spec.levels, data.spec.classes) == ((1, 28, 28), 256, 10)
    assert sorted(root.rglob("*")) == before


def test_damaged_or_missing_mnist_is_an_error(mnist, offline, monkeypatch):
    root, _ = mnist
    path = root / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    with pytest.raises(ZooError, match=r"train-images.*damaged.*md5.*delete"):
        MNIST(root=str(root)).setup()
    for wrong in (content[:-9], gzip.compress(b"words"), b""):
        path.write_bytes(wrong)
        resources = [(path.name, md5(wrong)), *torchvision.datasets.MNIST.resources[1:]]
        with monkeypatch.context() as patch:
            patch.setattr(torchvision.datasets.MNIST, "resources", resources)
            with pytest.raises(ZooError, match="damaged"):
                MNIST(root=str(root)).setup()
    path.unlink()
    with pytest.raises(ZooError) as error:
        MNIST(root=str(root)).setup()
    for part in (str(path), "data.root=", "ZOO_DATA"):
        assert part in str(error.value)


def test_only_missing_files_are_downloaded(mnist, monkeypatch):
    root, (x, *_) = mnist
    monkeypatch.delenv("ZOO_NO_DOWNLOAD", raising=False)
    path = root / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    content, asked = path.read_bytes(), []
    path.unlink()

    def fetch(url, folder, filename, md5):
        asked.append(url)
        if len(asked) == 1:
            raise OSError("no route")
        (Path(folder) / filename).write_bytes(content)

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", fetch)
    data = MNIST(root=str(root))
    data.setup()
    np.testing.assert_array_equal(data.splits["train"][:, 0], x[:15])
    assert len(asked) == 2
    assert len(list(path.parent.iterdir())) == 4

    def unreachable(url, folder, *_):
        Path(folder).mkdir(parents=True, exist_ok=True)  # as torchvision does
        raise OSError("no route")

    path.unlink()
    monkeypatch.setattr(torchvision.datasets.utils, "download_url", unreachable)
    with pytest.raises(ZooError, match=r"no route.*data\.root="):
        MNIST(root=str(root)).setup()
    with pytest.raises(ZooError, match="no route"):
        MNIST(root=str(root / "new/folder")).setup()
    assert not (root / "new").exists(), "no empty folder is left"
    with pytest.raises(ZooError, match="could not be downloaded"):  # a root that cannot be a folder
        MNIST(root=str(path.parent / "t10k-images-idx3-ubyte.gz")).setup()


def test_the_data_root_is_the_setting_then_the_environment_then_a_cache(monkeypatch):
    monkeypatch.setenv("ZOO_DATA", "/somewhere")
    assert data_root(None) == Path("/somewhere")
    assert data_root("~/here") == Path.home() / "here"
    monkeypatch.delenv("ZOO_DATA")
    assert data_root(None).is_absolute()


@pytest.fixture
def cifar(monkeypatch):
    """Return images ``(N, 32, 32, 3)``, labels and the official files of a small CIFAR-10."""
    x, y = RNG.integers(0, 256, (36, 32, 32, 3), dtype=np.uint8), RNG.integers(0, 10, 36)
    official, files = torchvision.datasets.CIFAR10, {}
    for i, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        rows = slice(6 * i, 6 * i + 6)
        batch = {"data": x[rows].transpose(0, 3, 1, 2).reshape(6, 3072), "labels": y[rows].tolist()}
        files[name] = pickle.dumps(batch)
    listed = [[name, md5(content)] for name, content in files.items()]
    monkeypatch.setattr(official, "train_list", listed[:5])
    monkeypatch.setattr(official, "test_list", listed[5:])
    monkeypatch.setattr(CIFAR10, "held_out", 4)
    monkeypatch.setattr(CIFAR10, "test_size", 6)
    return x, y, files


def write_batches(root, files):
    (root / "cifar-10-batches-py").mkdir()
    for name, content in files.items():
        (root / "cifar-10-batches-py" / name).write_bytes(content)


def write_archive(root, files, monkeypatch):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    (root / "cifar-10-python.tar.gz").write_bytes(buffer.getvalue())
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "tgz_md5", md5(buffer.getvalue()))


@pytest.mark.parametrize("form", ["batches", "archive", "npz"])
def test_every_form_of_cifar_gives_the_same_splits(tmp_path, cifar, form, offline, monkeypatch):
    x, y, files = cifar
    if form == "batches":
        write_batches(tmp_path, files)
    elif form == "archive":
        write_archive(tmp_path, files, monkeypatch)
    else:
        arrays = {"x_train": x[:30], "y_train": y[:30], "x_test": x[30:], "y_test": y[30:]}
        np.savez(tmp_path / "cifar10.npz", **arrays)
    data = CIFAR10(root=str(tmp_path))
    data.setup()
    images = torch.cat([data.splits[split] for split in ("train", "val", "test")])
    np.testing.assert_array_equal(images, x.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(torch.cat([data.labels[s] for s in ("train", "val", "test")]), y)
    assert list(data.describe().sizes.values()) == [26, 4, 6]
    assert data.describe().split_rule.startswith("official test")
    assert data.natural


def test_cifar_without_enough_test_images_tests_on_training_images(tmp_path, cifar, offline):
    x, y, _ = cifar
    np.savez(tmp_path / "cifar10.npz", x_train=x[:30], y_train=y[:30], x_test=x[30:33], y_test=y[30:33])
    data = CIFAR10(root=str(tmp_path))
    data.setup()
    np.testing.assert_array_equal(data.splits["test"], x[26:30].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(data.splits["val"], x[22:26].transpose(0, 3, 1, 2))
    assert len(data.splits["train"]) == 22
    assert data.describe().split_rule.startswith("not the official test")


def shard(x):
    """Return the encoded images: the inverse of ``decode_shard``, pixel by pixel as in JPEG-LS."""
    r, g, b = (x[..., c] for c in range(3))
    planes = np.stack([g, r - g, b - g]).astype(int)
    padded = np.pad(planes, ((0, 0), (0, 0), (1, 0), (1, 0)))
    left, up, corner = padded[..., 1:, :-1], padded[..., :-1, 1:], padded[..., :-1, :-1]
    low, high = np.minimum(left, up), np.maximum(left, up)
    guess = np.where(corner >= high, low, np.where(corner <= low, high, left + up - corner))
    buffer = io.BytesIO()
    np.save(buffer, ((planes - guess) % 256).astype(np.uint8))
    return lzma.compress(buffer.getvalue(), preset=0)


def test_compressed_shards_are_decoded_exactly(tmp_path, cifar, offline, monkeypatch):
    x, y, _ = cifar
    folder = tmp_path / "cifar10"
    folder.mkdir()
    for i in range(5):
        (folder / f"cifar10_train_{i}.npy.xz").write_bytes(shard(x[6 * i : 6 * i + 6]))
    np.savez(folder / "cifar10_labels.npz", y_train=y[:30], y_test_all10000=y[30:])
    np.testing.assert_array_equal(decode_shard(folder / "cifar10_train_1.npy.xz"), x[6:12])
    with pytest.raises(ZooError, match="checksum"):
        CIFAR10(root=str(tmp_path)).setup()
    monkeypatch.setattr(torchvision_sets, "SHARDS_MD5", md5(x[:30].tobytes()))
    data = CIFAR10(root=str(tmp_path))
    data.setup()
    np.testing.assert_array_equal(data.splits["test"], x[26:30].transpose(0, 3, 1, 2))
    (folder / "cifar10_train_4.npy.xz").write_bytes(b"nothing")
    with pytest.raises(ZooError, match="damaged"):
        CIFAR10(root=str(tmp_path)).setup()


def test_damaged_or_missing_cifar_is_an_error(tmp_path, cifar, offline, monkeypatch):
    with pytest.raises(ZooError, match=r"cifar-10-python\.tar\.gz.*data\.root="):
        CIFAR10(root=str(tmp_path)).setup()
    (tmp_path / "cifar10.npz").write_bytes(b"nothing")
    with pytest.raises(ZooError, match=r"cifar10\.npz is damaged"):
        CIFAR10(root=str(tmp_path)).setup()
    write_batches(tmp_path, cifar[2])
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(ZooError, match=r"damaged.*data_batch_3"):
        CIFAR10(root=str(tmp_path)).setup()


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST])
def test_the_real_mnist_has_its_published_statistics(kind, offline):
    if not (REAL / kind.source / "raw").is_dir():
        pytest.skip(f"no {kind.source}/raw in {REAL} (set ZOO_DATA)")
    data = kind(root=str(REAL))
    data.setup()
    assert data.describe().sizes == {"train": 50_000, "val": 10_000, "test": 10_000}
    train = torch.cat([data.splits["train"], data.splits["val"]]).double() / 255
    mean, std = (0.1307, 0.3081) if kind is MNIST else (0.2860, 0.3530)  # as published
    assert train.mean().item() == pytest.approx(mean, abs=1e-4)
    assert train.std().item() == pytest.approx(std, abs=1e-4)
