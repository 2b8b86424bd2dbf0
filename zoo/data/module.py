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

SPLITS = ("train", "val", "test")


class DataModule(pl.LightningDataModule):
    """A data set in memory.

    A subclass writes :meth:`read`, which fills :attr:`spec`, :attr:`splits` and, where there are any,
    :attr:`labels`. Training batches are tensors ``(B, *shape)`` in an order that follows from the seed and
    the number of the update alone; validation and test are read in order.

    Attributes:
        spec: shape and levels.
        splits: ``train``, ``val``, ``test``: uint8 for images, float32 for continuous vectors.
        labels: integer classes for each split, where the data has them.
        natural: whether these are colour photographs, for which Inception features mean something.
        batch_size: of the global batch, over all processes.
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
            "fingerprint": hashlib.sha256(train.numpy().tobytes()).hexdigest()[:16],
            **self.spec.to_dict(),
        }

    def train_dataloader(self) -> DataLoader:
        return DataLoader(_Endless(self), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(_Chunks(self.splits["val"], self.batch_size), batch_size=None)

    def test_dataloader(self) -> DataLoader:
        return DataLoader(_Chunks(self.splits["test"], self.batch_size), batch_size=None)


def rank_and_world() -> tuple[int, int]:
    """This process's rank and the number of processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


class _Endless(IterableDataset):
    """This rank's part of one global batch after another."""

    def __init__(self, data: DataModule) -> None:
        self.data = data

    def __iter__(self) -> Iterator[Tensor]:
        data, (rank, world) = self.data, rank_and_world()
        if data.batch_size % world:
            raise ZooError(
                f"The global batch of {data.batch_size} cannot be shared by {world} processes; "
                "set training.batch_size to a multiple."
            )
        part = data.batch_size // world
        train, update = data.splits["train"], data.start_update
        while data.updates is None or update < data.updates:
            indices = batch_indices(data.seed, update, data.batch_size, len(train))
            yield train[indices[rank * part : (rank + 1) * part]]
            update += 1


class _Chunks(IterableDataset):
    """A split in order; over several processes every example goes to exactly one of them."""

    def __init__(self, x: Tensor, batch_size: int) -> None:
        self.x, self.batch_size = x, batch_size

    def __iter__(self) -> Iterator[Tensor]:
        rank, world = rank_and_world()
        yield from self.x[rank::world].split(self.batch_size)
