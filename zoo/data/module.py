"""What all data sets share: three splits in memory, an endless resumable order, batches without padding."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from zoo.data.order import batch_indices
from zoo.data.spec import DataSpec
from zoo.errors import InvalidData, ZooError

Batch = Tensor | tuple[Tensor, Tensor]
SPLITS = ("train", "val", "test")


class DataModule(pl.LightningDataModule):
    """A data set in memory.

    A subclass writes :meth:`read`, which fills :attr:`spec`, :attr:`splits` and, where there are any,
    :attr:`labels`. Training batches are tensors ``(B, *shape)``, or pairs of these and their labels ``(B,)``
    where :attr:`with_labels` asks for them, in an order that follows from the seed and
    the number of the update alone; validation and test are read in order.

    Attributes:
        spec: shape and levels.
        splits: ``train``, ``val``, ``test``: uint8 for images, float32 for continuous vectors.
        labels: integer classes for each split, where the data has them.
        natural: whether these are colour photographs, for which Inception features mean something.
        batch_size: of the global batch, over all processes.
        with_labels: whether batches bring their labels, for a conditional model.
        seed: of the order.
        start_update: the first update to make (after a resumed checkpoint).
        updates: where the training batches end; None: never.
    """

    name: str
    natural = False
    split_rule = ""
    spec: DataSpec

    def __init__(self, name: str, root: str | None = None) -> None:
        super().__init__()
        self.name, self.root = name, root
        self.splits: dict[str, Tensor] = {}
        self.labels: dict[str, Tensor] = {}
        self.batch_size, self.seed = 128, 0
        self.with_labels = False
        self.start_update = 0
        self.updates: int | None = None

    def read(self) -> None:
        """Fill ``spec``, ``splits`` and ``labels``."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        self.read()
        for split, x in self.splits.items():
            if len(x) == 0:
                raise InvalidData(f"The {split} split of {self.name} is empty; give more data.")
            self.spec.check(x)

    def describe(self) -> dict[str, Any]:
        """Name, sizes, split rule and a fingerprint of the training data, for the record."""
        train = self.splits["train"].contiguous()
        return {
            "name": self.name,
            "sizes": {split: len(x) for split, x in self.splits.items()},
            "split_rule": self.split_rule,
            "fingerprint": hashlib.sha256(train.numpy().data).hexdigest()[:16],
            **self.spec.to_dict(),
        }

    def train_dataloader(self) -> DataLoader:
        return DataLoader(_Endless(self), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(_Chunks(self, "val"), batch_size=None)

    def test_dataloader(self) -> DataLoader:
        return DataLoader(_Chunks(self, "test"), batch_size=None)

    def take(self, split: str, rows: Tensor | slice) -> Batch:
        """Some rows of a split, with their labels where batches bring them."""
        x = self.splits[split][rows]
        return (x, self.labels[split][rows]) if self.with_labels else x


def rank_and_world() -> tuple[int, int]:
    """This process's rank and the number of processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


class _Endless(IterableDataset):
    """This rank's part of one global batch after another."""

    def __init__(self, data: DataModule) -> None:
        self.data = data

    def __iter__(self) -> Iterator[Batch]:
        data, (rank, world) = self.data, rank_and_world()
        if data.batch_size % world:
            raise ZooError(
                f"The global batch of {data.batch_size} cannot be shared by {world} processes; "
                "set training.batch_size to a multiple."
            )
        part = data.batch_size // world
        update, size = data.start_update, len(data.splits["train"])
        while data.updates is None or update < data.updates:
            indices = batch_indices(data.seed, update, data.batch_size, size)
            yield data.take("train", indices[rank * part : (rank + 1) * part])
            update += 1


class _Chunks(IterableDataset):
    """A split in order; over several processes every example goes to exactly one of them."""

    def __init__(self, data: DataModule, split: str) -> None:
        self.data, self.split = data, split

    def __iter__(self) -> Iterator[Batch]:
        rank, world = rank_and_world()
        mine = torch.arange(rank, len(self.data.splits[self.split]), world)
        for rows in mine.split(self.data.batch_size):
            yield self.data.take(self.split, rows)
