"""Tests of the binary tables, of the two mixtures, and of the first version of small ImageNet."""

from __future__ import annotations

import io
import math
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from published_files import REAL

from zoo.data.binary_tables import BinaryTable
from zoo.data.imagenet_original import OriginalImageNet
from zoo.data.mixtures import MIXTURES, PlanarMixture
from zoo.errors import ZooError
from zoo.reproduction.closed_form import bernoulli

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("keys", [("train", "val", "test"), ("train_data", "valid_data", "test_data")])
def test_a_binary_table_is_read_under_either_papers_names(keys, tmp_path, monkeypatch):
    monkeypatch.setattr(BinaryTable, "sizes", staticmethod(lambda name: ((6, 3, 4), 5)))
    monkeypatch.setattr(BinaryTable, "checksums", {})
    arrays = [RNG.integers(0, 2, (n, 5)).astype(np.float32) for n in (6, 3, 4)]
    (tmp_path / "uci_binary").mkdir()
    np.savez(tmp_path / "uci_binary/dna.npz", **dict(zip(keys, arrays, strict=True)))
    data = BinaryTable("dna", root=str(tmp_path))
    data.setup()
    assert data.spec.to_dict() == {"shape": [5], "levels": 2, "classes": None}
    for x, array in zip(data.splits.values(), arrays, strict=True):
        assert x.dtype == torch.uint8
        np.testing.assert_array_equal(x, array)


def test_a_table_of_another_split_or_with_other_values_is_refused(tmp_path, monkeypatch):
    (tmp_path / "uci_binary").mkdir()
    path = tmp_path / "uci_binary/dna.npz"
    with pytest.raises(ZooError, match=r"dna\.npz; get it from https://github\.com/mgermain/MADE"):
        BinaryTable("dna", root=str(tmp_path)).setup()
    np.savez(path, train=np.ones((1600, 180)), val=np.ones((400, 180)), test=np.ones((1186, 180)))
    with pytest.raises(ZooError, match="its train split is 1600 x 180, the published one 1400 x 180"):
        BinaryTable("dna", root=str(tmp_path)).setup()
    monkeypatch.setattr(BinaryTable, "sizes", staticmethod(lambda name: ((2, 1, 1), 3)))
    np.savez(path, train=np.full((2, 3), 2), val=np.ones((1, 3)), test=np.ones((1, 3)))
    with pytest.raises(ZooError, match="train split has values other than 0 and 1"):
        BinaryTable("dna", root=str(tmp_path)).setup()
    path.write_text("no archive")
    with pytest.raises(
        ZooError, match=r"is damaged \(it cannot be read as an \.npz\); get it again"
    ) as caught:
        BinaryTable("dna", root=str(tmp_path)).setup()
    assert "pickle" not in str(caught.value)
    np.savez(path, train=np.ones((2, 3)), test=np.ones((1, 3)))
    with pytest.raises(ZooError, match=r"is damaged \(it has no array val\)"):
        BinaryTable("dna", root=str(tmp_path)).setup()
    with pytest.raises(ZooError, match="did you mean mushrooms"):
        BinaryTable("mushroom")


@pytest.mark.skipif(not (REAL / "uci_binary").is_dir(), reason=f"no binary tables in {REAL}")
@pytest.mark.parametrize(
    ("name", "value", "error"),
    [("dna", 100.388, 0.178), ("mushrooms", 34.232, 0.085), ("nips", 294.802, 0.463)],
)
def test_independent_columns_have_the_known_likelihood(name, value, error):
    data = BinaryTable(name, root=str(REAL))
    data.setup()
    nll = -bernoulli(data.splits["train"].numpy(), data.splits["test"].numpy())
    assert nll.mean() == pytest.approx(value, abs=6e-4)
    assert nll.std(ddof=1) / math.sqrt(len(nll)) == pytest.approx(error, abs=6e-4)


@pytest.mark.parametrize(("name", "count", "radius"), [("ring_mixture", 8, 1.0), ("grid_mixture", 25, 4.0)])
def test_a_mixture_has_equally_likely_modes_of_its_deviation(name, count, radius):
    data = PlanarMixture(name, train=20_000)
    data.setup()
    centres, deviation = data.modes
    assert centres.shape == (count, 2)
    assert centres.abs().max().item() == pytest.approx(radius)
    distance, nearest = torch.cdist(data.splits["train"].double(), centres.double()).min(1)
    assert distance.square().mean().sqrt().item() == pytest.approx(deviation * math.sqrt(2), rel=0.03)
    shares = torch.bincount(nearest, minlength=count) / len(nearest)
    assert (shares - 1 / count).abs().max() < 5 * math.sqrt(1 / count / 20_000)
    # the Gaussians do not overlap, so the entropy is that of one and of the choice among them
    assert data.entropy == pytest.approx(math.log(count) + math.log(2 * math.pi * math.e * deviation**2))


def test_an_unknown_mixture_is_named():
    assert len(MIXTURES) == 2
    with pytest.raises(ZooError, match="did you mean ring_mixture"):
        PlanarMixture("ring")


def archive(path, images):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for index, image in enumerate(images):
            stream = io.BytesIO()
            Image.fromarray(image).save(stream, "PNG")
            info = tarfile.TarInfo(f"{path.stem}/{index:07d}.png")
            info.size = stream.tell()
            tar.addfile(info, io.BytesIO(stream.getvalue()))


def test_versions_of_small_imagenet_differ_in_their_number_of_images(tmp_path, monkeypatch):
    train, valid = (RNG.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8) for n in (7, 3))
    folder = tmp_path / "imagenet32_original"
    with pytest.raises(ZooError, match=r"train_32x32\.tar; get it from"):
        OriginalImageNet("imagenet32_original", root=str(tmp_path), size=32).setup()
    archive(folder / "train_32x32.tar", train)
    archive(folder / "valid_32x32.tar", valid)
    monkeypatch.setattr(OriginalImageNet, "images", staticmethod(lambda: {"train": 6, "valid": 3}))
    with pytest.raises(
        ZooError, match=r"another version of ImageNet: it has 7 images, .* has 6; data=imagenet32"
    ):
        OriginalImageNet("imagenet32_original", root=str(tmp_path), size=32).setup()
    monkeypatch.setattr(OriginalImageNet, "images", staticmethod(lambda: {"train": 7, "valid": 3}))
    monkeypatch.setattr(OriginalImageNet, "val_size", 2)
    for _ in range(2):  # the second time from the plain arrays
        data = OriginalImageNet("imagenet32_original", root=str(tmp_path), size=32)
        data.setup()
        assert (data.spec.shape, data.spec.levels, data.spec.classes) == ((3, 32, 32), 256, None)
        np.testing.assert_array_equal(data.splits["train"], train[:5].transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(data.splits["val"], train[5:].transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(data.splits["test"], valid.transpose(0, 3, 1, 2))
    with pytest.raises(ZooError, match=r"data\.size .* must be 32 or 64; got 16"):
        OriginalImageNet(size=16)
