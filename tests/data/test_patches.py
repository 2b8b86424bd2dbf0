"""Tests of the patches of BSDS300, on a few small JPEGs and, if present, on the real ones."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
from PIL import Image
from published_files import REAL

from zoo.data.patches import BSDS300Patches, patches
from zoo.errors import ZooError

RNG = np.random.default_rng(0)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(BSDS300Patches, "images", staticmethod(lambda: {"train": 3, "test": 2}))
    (tmp_path / "bsds300").mkdir()
    with tarfile.open(tmp_path / "bsds300/bsds300_jpg.tar", "w") as tar:
        for part, count in (("train", 3), ("test", 2)):
            for index in range(count):
                stream = io.BytesIO()
                Image.fromarray(RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(stream, "JPEG")
                info = tarfile.TarInfo(f"images/{part}/{index}.jpg")
                info.size = stream.tell()
                tar.addfile(info, io.BytesIO(stream.getvalue()))
    return tmp_path


def test_a_patch_is_a_place_of_an_image_without_its_mean_and_last_pixel():
    image = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30) // 3
    x = patches([image], 500, np.random.default_rng(1)).astype(np.float64)
    assert x.shape == (500, 63)
    whole = np.concatenate([x, -x.sum(1, keepdims=True)], 1).reshape(-1, 8, 8)
    windows = np.lib.stride_tricks.sliding_window_view(image, (8, 8)).reshape(-1, 8, 8).astype(np.float64)
    centred = windows - windows.mean((1, 2), keepdims=True)
    distance = np.abs(whole[:, None] * 256 - centred[None]).max((2, 3)).min(1)
    assert distance.max() < 1.0  # the noise, less its mean
    assert distance.max() > 0.4


def test_splits_come_from_their_images_and_depend_on_the_data_seed(root):
    sizes = {"train": 60, "val": 20, "test": 30}
    first, same, other = (BSDS300Patches(root=str(root), data_seed=seed, **sizes) for seed in (0, 0, 1))
    for data in (first, same, other):
        data.setup()
    assert {split: tuple(x.shape) for split, x in first.splits.items()} == {
        "train": (60, 63), "val": (20, 63), "test": (30, 63)}  # fmt: skip
    assert first.splits["test"].equal(same.splits["test"])
    assert not first.splits["test"].equal(other.splits["test"])


def test_missing_incomplete_and_damaged_images_are_explained(root, monkeypatch, tmp_path):
    with pytest.raises(
        ZooError,
        match=r"of BSDS300 is not at .*BSDS300-images\.tgz; get it from https://www2\.eecs\.berkeley",
    ):
        BSDS300Patches(root=str(tmp_path / "nothing")).setup()
    monkeypatch.setattr(BSDS300Patches, "images", staticmethod(lambda: {"train": 200, "test": 100}))
    with pytest.raises(ZooError, match=r"is damaged .it has 3 training and 2 test images"):
        BSDS300Patches(root=str(root)).setup()
    (root / "bsds300/bsds300_jpg.tar").write_bytes(b"no archive")
    with pytest.raises(ZooError, match="is damaged"):
        BSDS300Patches(root=str(root)).setup()


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "bsds300").is_dir(), reason=f"no BSDS300 in {REAL}")
def test_a_gaussian_has_the_published_likelihood_within_its_error():
    from zoo.reproduction.closed_form import gaussian

    data = BSDS300Patches(root=str(REAL))
    data.setup()
    train, test = (data.splits[split].double().numpy() for split in ("train", "test"))
    assert gaussian(train, test).mean() == pytest.approx(96.67, abs=0.25)
