"""Tests of the downsampled ImageNet, on small files in the official format."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoo.config import compose_run, to_dict
from zoo.data.imagenet import OFFICIAL, PARTS, ImageNet
from zoo.errors import ZooError
from zoo.running.data import prepare_data

RNG = np.random.default_rng(0)


def arrays(n, size):
    images = RNG.integers(0, 256, (n, 3 * size * size), dtype=np.uint8)
    return {"data": images, "labels": RNG.integers(1, 1001, n), "mean": images.mean(0)}


@pytest.fixture(params=[32, 64])
def official(request, tmp_path, monkeypatch):
    """Return a data root with the unpacked files, the image size, and the arrays by file."""
    monkeypatch.setattr(ImageNet, "val_size", 4)
    size, files = request.param, {}
    for folder, names in {"part1": PARTS[:5], "part2": PARTS[5:], "val": (OFFICIAL,)}.items():
        (tmp_path / f"imagenet{size}" / folder).mkdir(parents=True)
        for i, name in enumerate(names):
            files[name] = arrays(2 + i % 3, size)
            np.savez(tmp_path / f"imagenet{size}" / folder / name, **files[name])
    return tmp_path, size, files


def test_the_official_files_are_read_once_and_mapped_afterwards(official, monkeypatch):
    root, size, files = official
    data = prepare_data(to_dict(compose_run([f"data=imagenet{size}", f"data.root={root}"]).data))
    train = np.concatenate([files[name]["data"] for name in PARTS])  # 10 after 9, not after 1
    labels = np.concatenate([files[name]["labels"] for name in PARTS])
    got = torch.cat([data.splits["train"], data.splits["val"]])
    assert got.shape == (len(train), 3, size, size)
    assert torch.equal(got.flatten(1), torch.from_numpy(train))
    assert torch.equal(torch.cat([data.labels["train"], data.labels["val"]]), torch.from_numpy(labels - 1))
    assert torch.equal(data.splits["test"].flatten(1), torch.from_numpy(files[OFFICIAL]["data"]))
    assert len(data.splits["val"]) == 4
    assert data.spec.classes == 1000
    assert data.natural
    for file in root.rglob("*.npz"):
        file.unlink()
    again = prepare_data(to_dict(compose_run([f"data=imagenet{size}", f"data.root={root}"]).data))
    assert again.describe() == data.describe()


def test_a_missing_or_damaged_file_is_an_error_that_names_it(official):
    root, size, files = official
    folder = root / f"imagenet{size}"

    def refused(message):
        with pytest.raises(ZooError, match=message):
            ImageNet(root=str(root), size=size).setup()
        assert not (folder / "train_labels.npy").exists()

    for wrong in (
        {"data": files[PARTS[6]]["data"][:, :-1], "labels": files[PARTS[6]]["labels"]},
        {"data": files[PARTS[6]]["data"], "labels": files[PARTS[6]]["labels"] - 1 + 1001},
        {"data": files[PARTS[6]]["data"]},
    ):
        np.savez(folder / "part2" / PARTS[6], **wrong)
        refused(r"train_data_batch_7\.npz is damaged")
    (folder / "part2" / PARTS[6]).write_bytes(b"nothing")
    refused(r"train_data_batch_7\.npz is damaged")
    (folder / "part2" / PARTS[6]).unlink()
    refused(r"needs train_data_batch_7\.npz in .*register")
    with pytest.raises(ZooError, match="register"):
        ImageNet(root=str(root / "elsewhere"), size=size).setup()


def test_too_few_images_for_a_validation_split_are_an_error(official, monkeypatch):
    root, size, _ = official
    monkeypatch.setattr(ImageNet, "val_size", 1000)
    with pytest.raises(ZooError, match="too few"):
        ImageNet(root=str(root), size=size).setup()
