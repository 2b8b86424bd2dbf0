"""Binary MNIST, in its two versions, whose likelihoods differ by 2 to 3.5 nats: never compare across them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from zoo import ranks
from zoo.data.module import SPLITS, Batch, DataModule, TrainingBatches
from zoo.data.published import check_bits, check_sizes, damaged, published_file, read_splits
from zoo.data.spec import DataSpec
from zoo.data.torchvision_sets import MNIST

SIZES = {"train": 50_000, "val": 10_000, "test": 10_000}
PIXELS = 784
CHECKSUM = "c462f82a020638a4"
FOLDER = "binarized_mnist"
TEXT = {
    split: f"binarized_mnist_{word}.amat"
    for split, word in zip(SPLITS, ("train", "valid", "test"), strict=True)
}


class StaticBinarisedMNIST(DataModule):
    """The fixed binarisation of Larochelle and Murray 2011: 50,000 / 10,000 / 10,000 images ``(1, 28, 28)``.

    Read from ``ROOT/binarized_mnist/``: either the three published text files ``binarized_mnist_*.amat``, or
    ``binarized_mnist.npz`` (:func:`~zoo.data.published.read_splits`).
    """

    split_rule = "as published: 50000 / 10000 / 10000, binarised once"
    checksum: str | None = CHECKSUM

    def __init__(self, name: str = "mnist_static", root: str | None = None) -> None:
        super().__init__(name, root)

    def read(self) -> None:
        path = published_file(
            self.root,
            [f"{FOLDER}/{TEXT['train']}", f"{FOLDER}/binarized_mnist.npz"],
            "The fixed binarisation of MNIST",
            "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/ "
            "(binarized_mnist_train.amat, ..._valid.amat and ..._test.amat)",
        )
        arrays = self._text(path.parent) if path.suffix == ".amat" else read_splits(path)
        check_sizes(path, arrays, self.sizes(), PIXELS)
        self.spec = DataSpec((1, 28, 28), levels=2)
        for split, x in arrays.items():
            if x.max(initial=0) > 1:
                raise damaged(path, f"its {split} split has values above 1")
            self.splits[split] = torch.from_numpy(x).view(-1, 1, 28, 28)
        check_bits(path, arrays, self.checksum)

    @staticmethod
    def sizes() -> dict[str, int]:
        """Return the published number of images of each split."""
        return SIZES

    def _text(self, folder: Path) -> dict[str, np.ndarray]:
        """Read the published files: an image on each line, 784 numbers 0 or 1 between blanks."""
        arrays = {}
        for split, name in TEXT.items():
            path = published_file(self.root, [f"{FOLDER}/{name}"], "A split of binarised MNIST", str(folder))
            try:
                arrays[split] = np.loadtxt(path, dtype=np.uint8, ndmin=2)
            except (OSError, ValueError) as error:
                raise damaged(path, error) from error
        return arrays


class DynamicBinarisedMNIST(DataModule):
    """MNIST whose training images are binarised anew at each use: a pixel k is 1 with probability k / 255.

    The noise of a batch is a function of the run's seed and of the number of the update, so a resumed run
    sees the images of an uninterrupted one. Validation, test and the ``train`` split (which evaluation uses)
    are one draw, with ``data_seed``; papers redraw them at each pass, so a result's spread over ``data_seed``
    is part of its error.

    Args:
        name: name of the data set in the record.
        root: folder of the files; see :class:`~zoo.data.torchvision_sets.MNIST`.
        data_seed: seed of the draw of validation and test.
    """

    def __init__(self, name: str = "mnist_dynamic", root: str | None = None, data_seed: int = 0) -> None:
        super().__init__(name, root)
        self.data_seed = data_seed
        self.split_rule = (
            "official test; validation is the last 10000 of the training images; training images are "
            f"binarised at each use, the others once with data seed {data_seed}"
        )
        self.grey = MNIST(root=root)

    def read(self) -> None:
        self.grey.setup()
        self.spec = DataSpec(self.grey.spec.shape, levels=2, classes=10)
        self.labels = self.grey.labels
        for index, split in enumerate(SPLITS):
            self.splits[split] = binarise(self.grey.splits[split], self.data_seed, index)

    def train_dataloader(
        self,
        batch_size: int = 128,
        *,
        seed: int = 0,
        start: int = 0,
        stop: int | None = None,
        with_labels: bool = False,
    ) -> DataLoader:
        grey = TrainingBatches(self.grey, batch_size, seed, start, stop, with_labels)
        return DataLoader(_BinarisedBatches(grey), batch_size=None)


class _BinarisedBatches(IterableDataset):
    """Batches of grey images, binarised with noise of the seed, the update and the rank."""

    def __init__(self, grey: TrainingBatches) -> None:
        self.grey = grey

    def __iter__(self) -> Iterator[Batch]:
        for update, batch in enumerate(self.grey, start=self.grey.start):
            keys = (self.grey.seed, update, ranks.rank())
            if isinstance(batch, Tensor):
                yield binarise(batch, *keys)
            else:
                yield binarise(batch[0], *keys), batch[1]


def binarise(grey: Tensor, *keys: int) -> Tensor:
    """Return a binary draw of uint8 images: 1 where k / 255 is above a uniform number.

    Args:
        grey: images of ``0..255``.
        keys: whole numbers that choose the noise.
    """
    random = np.random.default_rng([key % 2**32 for key in keys])
    noise = torch.from_numpy(random.random(tuple(grey.shape), dtype=np.float32))
    return (grey.float() / 255 > noise).to(torch.uint8)
