"""Tests of both versions of binary MNIST, on small files of the same form and, if present, the real ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from published_files import REAL, small_mnist

from zoo.data.binarised_mnist import DynamicBinarisedMNIST, StaticBinarisedMNIST
from zoo.errors import ZooError

SMALL = {"train": 6, "val": 3, "test": 4}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Return a data root, and the arrays of a small fixed binarisation."""
    rng = np.random.default_rng(0)
    monkeypatch.setattr(StaticBinarisedMNIST, "sizes", staticmethod(lambda: SMALL))
    monkeypatch.setattr(StaticBinarisedMNIST, "checksum", None)
    (tmp_path / "binarized_mnist").mkdir()
    return tmp_path, {split: rng.integers(0, 2, (n, 784), dtype=np.uint8) for split, n in SMALL.items()}


def write_text(root, arrays):
    for split, x in arrays.items():
        name = f"binarized_mnist_{'valid' if split == 'val' else split}.amat"
        (root / "binarized_mnist" / name).write_text("".join(" ".join(map(str, row)) + " \n" for row in x))


def test_the_published_text_and_the_packed_archive_give_the_same_images(small):
    root, arrays = small
    packed = {f"{'valid' if s == 'val' else s}_packed": np.packbits(x, axis=1) for s, x in arrays.items()}
    np.savez(root / "binarized_mnist/binarized_mnist.npz", **packed)
    from_archive = StaticBinarisedMNIST(root=str(root))
    from_archive.setup()
    write_text(root, arrays)
    from_text = StaticBinarisedMNIST(root=str(root))
    from_text.setup()
    assert from_text.spec.to_dict() == {"shape": [1, 28, 28], "levels": 2, "classes": None}
    for split, x in arrays.items():
        np.testing.assert_array_equal(from_archive.splits[split].flatten(1), x)
        np.testing.assert_array_equal(from_text.splits[split].flatten(1), x)


def test_missing_truncated_or_other_files_are_explained(small):
    root, arrays = small
    data = StaticBinarisedMNIST(root=str(root))
    with pytest.raises(ZooError, match=r"is not at .*binarized_mnist_train\.amat; get it from http"):
        data.setup()
    write_text(root, arrays | {"test": arrays["test"][:2]})
    with pytest.raises(ZooError, match=r"another version of the data: its test split is 2 x 784, .* 4 x 784"):
        data.setup()
    (root / "binarized_mnist/binarized_mnist_test.amat").write_text("0 1 x\n")
    with pytest.raises(ZooError, match=r"binarized_mnist_test\.amat is damaged"):
        data.setup()


def test_other_bits_of_the_published_sizes_are_refused(small, monkeypatch):
    root, arrays = small
    monkeypatch.setattr(StaticBinarisedMNIST, "checksum", "0" * 16)
    write_text(root, arrays)
    with pytest.raises(ZooError, match="its bits are not the published ones"):
        StaticBinarisedMNIST(root=str(root)).setup()


def test_dynamic_training_images_are_redrawn_and_a_resumed_run_repeats_them(tmp_path, monkeypatch):
    root, (x, *_) = small_mnist(tmp_path, monkeypatch)
    data = DynamicBinarisedMNIST(root=str(root))
    data.setup()
    assert data.spec.levels == 2
    assert [len(data.splits[s]) for s in ("train", "val", "test")] == [15, 5, 6]
    batches = list(data.train_dataloader(15, seed=3, stop=40))
    again = list(data.train_dataloader(15, seed=3, start=25, stop=40))
    assert all(torch.equal(a, b) for a, b in zip(batches[25:], again, strict=True))
    assert not torch.equal(batches[0].sum(), batches[1].sum())
    other = next(iter(data.train_dataloader(15, seed=4, stop=1)))
    assert not torch.equal(batches[0], other)
    # each batch has every image once, so pixels summed over images are Binomial around the sum of k / 255
    mean = torch.stack([batch.double().sum(0) for batch in batches]).mean(0)
    p = torch.from_numpy(x[:15]).double() / 255
    deviation = (p * (1 - p)).sum(0).sqrt() / len(batches) ** 0.5
    assert (((mean - p.sum(0)).abs() / deviation) > 5).sum() == 0
    images, labels = next(iter(data.train_dataloader(15, seed=3, stop=1, with_labels=True)))
    assert torch.equal(images, batches[0])
    assert labels.shape == (15,)


def test_dynamic_test_images_are_one_draw_of_the_data_seed(tmp_path, monkeypatch):
    root, _ = small_mnist(tmp_path, monkeypatch)
    first, same, other = (DynamicBinarisedMNIST(root=str(root), data_seed=seed) for seed in (0, 0, 1))
    for data in (first, same, other):
        data.setup()
    assert torch.equal(first.splits["test"], same.splits["test"])
    assert not torch.equal(first.splits["test"], other.splits["test"])


@pytest.mark.skipif(not (REAL / "binarized_mnist").is_dir(), reason=f"no binarised MNIST in {REAL}")
def test_independent_pixels_have_the_known_likelihood():
    data = StaticBinarisedMNIST(root=str(REAL))
    data.setup()
    x, test = (data.splits[split].flatten(1).double() for split in ("train", "test"))
    p = (x.sum(0) + 1) / (len(x) + 2)
    nll = -(test * p.log() + (1 - test) * (1 - p).log()).sum(1)
    assert nll.mean().item() == pytest.approx(205.793, abs=5e-4)
    assert nll.std().item() / 100 == pytest.approx(0.454, abs=5e-4)
