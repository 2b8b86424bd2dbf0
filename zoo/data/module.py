"""The base class of all data sets: splits, an endless resumable order, batches without padding."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from zoo import ranks
from zoo.data.mapped import chunks
from zoo.data.order import batch_indices
from zoo.data.spec import DataSpec
from zoo.errors import InvalidData, ZooError
from zoo.record import DataDescription

Batch = Tensor | tuple[Tensor, Tensor]
SPLITS = ("train", "val", "test")


class DataModule(pl.LightningDataModule):
    """A data set in memory, or in a memory-mapped file.

    A subclass writes :meth:`read`, which fills :attr:`spec`, :attr:`splits` and, where there are any,
    :attr:`labels`. A batch is a tensor ``(B, *shape)``, or a pair of this and the labels ``(B,)``.

    Args:
        name: name of the data set.
        root: folder of the files.

    Attributes:
        spec: shape and levels.
        splits: ``train``, ``val``, ``test``: uint8 for images, float32 for continuous vectors.
        labels: integer classes for each split, where the data has them.
        natural: whether the images are colour photographs, for which Inception's features are meaningful.
        entropy: entropy of the density that the data are drawn from, in nats; None if it is unknown.
        log_density: function from examples to the log of that density, ``(N,)``, in nats; None if it is
            unknown.
        modes: centres ``(K, D)`` and standard deviation of the density's modes; None if it has none.
        split_rule: how the splits were made, for the record.
        notes: what was taken or left out when a user's data were read, a sentence each.
    """

    name: str
    natural = False
    entropy: float | None = None
    log_density: Callable[[Tensor], Tensor] | None = None
    modes: tuple[Tensor, float] | None = None
    split_rule = ""
    spec: DataSpec

    def __init__(self, name: str, root: str | Path | None = None) -> None:
        super().__init__()
        self.name, self.root = name, root
        self.splits: dict[str, Tensor] = {}
        self.labels: dict[str, Tensor] = {}
        self.notes: list[str] = []

    def read(self) -> None:
        """Fill ``spec``, ``splits`` and ``labels``."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        """Read the data once and check its values.

        Raises:
            InvalidData: a split is empty, or has values that the ``spec`` excludes.
        """
        if self.splits:
            return
        self.read()
        for split, x in self.splits.items():
            if len(x) == 0:
                raise InvalidData(f"The {split} split of {self.name} is empty; give more data.")
            for part in chunks(x):
                self.spec.check(part)

    def describe(self) -> DataDescription:
        """Return name, sizes, split rule, spec and fingerprints of splits and labels, for the record."""
        fingerprints = {split: _fingerprint(x) for split, x in self.splits.items()}
        return DataDescription(
            name=self.name,
            sizes={split: len(x) for split, x in self.splits.items()},
            split_rule=self.split_rule,
            fingerprint=fingerprints["train"],
            fingerprints=fingerprints,
            labels={split: _fingerprint(y.to(torch.int64)) for split, y in self.labels.items()},
            shape=list(self.spec.shape),
            levels=self.spec.levels,
            classes=self.spec.classes,
            entropy=self.entropy,
        )

    def train_dataloader(
        self,
        batch_size: int = 128,
        *,
        seed: int = 0,
        start: int = 0,
        stop: int | None = None,
        with_labels: bool = False,
    ) -> DataLoader:
        """Return this process's part of the training batches, one for each update.

        The order depends only on ``seed`` and the number of the update, so a resumed run gets the batches of
        an uninterrupted one.

        Args:
            batch_size: number of examples in a batch, over all processes.
            seed: seed of the order.
            start: number of the first update.
            stop: number of the update at which the batches end; None: they never end.
            with_labels: give pairs of examples and labels.

        Raises:
            ZooError: the batch size is not a multiple of the number of processes.
        """
        return DataLoader(TrainingBatches(self, batch_size, seed, start, stop, with_labels), batch_size=None)

    def val_dataloader(self, batch_size: int = 128, *, with_labels: bool = False) -> DataLoader:
        """Return this process's validation examples, in order."""
        return DataLoader(OrderedBatches(self, "val", batch_size, with_labels), batch_size=None)

    def take(self, split: str, rows: Tensor | slice, with_labels: bool = False) -> Batch:
        """Return the given rows of a split, with their labels if ``with_labels``."""
        x = self.splits[split][rows]
        return (x, self.labels[split][rows]) if with_labels else x


def _fingerprint(x: Tensor) -> str:
    digest = hashlib.sha256()
    for part in chunks(x):
        digest.update(part.contiguous().numpy().data)
    return digest.hexdigest()[:16]


class TrainingBatches(IterableDataset):
    """This rank's parts of the global training batches, in order; see :meth:`DataModule.train_dataloader`."""

    def __init__(
        self, data: DataModule, batch_size: int, seed: int, start: int, stop: int | None, with_labels: bool
    ) -> None:
        self.data, self.batch_size, self.seed = data, batch_size, seed
        self.start, self.stop, self.with_labels = start, stop, with_labels

    def __iter__(self) -> Iterator[Batch]:
        rank, world = ranks.rank(), ranks.world_size()
        if self.batch_size % world:
            raise ZooError(
                f"The global batch of {self.batch_size} cannot be shared by {world} processes; "
                "set training.batch_size to a multiple."
            )
        part = self.batch_size // world
        update, size = self.start, len(self.data.splits["train"])
        while self.stop is None or update < self.stop:
            indices = batch_indices(self.seed, update, self.batch_size, size)
            yield self.data.take("train", indices[rank * part : (rank + 1) * part], self.with_labels)
            update += 1


class OrderedBatches(IterableDataset):
    """A split in order; with several processes every example goes to exactly one of them."""

    def __init__(self, data: DataModule, split: str, batch_size: int, with_labels: bool) -> None:
        self.data, self.split, self.batch_size, self.with_labels = data, split, batch_size, with_labels

    def __iter__(self) -> Iterator[Batch]:
        rows_of_rank = torch.arange(ranks.rank(), len(self.data.splits[self.split]), ranks.world_size())
        for rows in rows_of_rank.split(self.batch_size) if len(rows_of_rank) else ():
            yield self.data.take(self.split, rows, self.with_labels)
