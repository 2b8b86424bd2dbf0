"""Batches that are made and copied to a GPU while the update before runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from zoo.data.module import Batch


def prefetched(batches: Iterable[Batch], device: torch.device) -> Iterable[Batch]:
    """Return the same batches in the same order: on a GPU one batch ahead, on other devices as they are."""
    if device.type != "cuda":
        return batches
    copy = PinnedCopy(device)
    return Prefetched(batches, copy.begin, copy.finish)


class Prefetched:
    """Batches, of which a thread prepares the next one while the caller works on the present one.

    Args:
        batches: the batches, each a function of its place alone, so that it does not matter when it is made.
        begin: function that the thread calls with each batch; the caller gets what it returns.
        finish: function that the caller's thread calls with that, before it uses the batch.
    """

    def __init__(
        self,
        batches: Iterable[Batch],
        begin: Callable[[Batch], Batch],
        finish: Callable[[Batch], object],
    ) -> None:
        self.batches, self.begin, self.finish = batches, begin, finish

    def __iter__(self) -> Iterator[Batch]:
        source = iter(self.batches)

        def prepare() -> Batch | None:
            batch = next(source, None)
            return None if batch is None else self.begin(batch)

        with ThreadPoolExecutor(1, "prefetch") as thread:
            following = thread.submit(prepare)
            while (batch := following.result()) is not None:
                self.finish(batch)
                following = thread.submit(prepare)
                yield batch


class PinnedCopy:
    """Copies batches to a GPU from pinned memory, on a stream of its own beside the one that computes.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)

    def begin(self, batch: Batch) -> Batch:
        """Pin a batch and start its copy; return the copy, which is not complete yet."""
        with torch.cuda.device(self.device), torch.cuda.stream(self.stream):
            return _each(lambda x: x.pin_memory().to(self.device, non_blocking=True), batch)

    def finish(self, batch: Batch) -> None:
        """Let the computing stream wait for the copy, and keep its memory until that has used it."""
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self.stream)
        _each(lambda x: x.record_stream(computing), batch)


def _each(function: Callable[[Tensor], Tensor | None], batch: Batch) -> Batch:
    """Return what a function returns for the tensors of a batch."""
    parts = (batch,) if isinstance(batch, Tensor) else batch
    results = tuple(map(function, parts))
    return results[0] if isinstance(batch, Tensor) else results  # type: ignore[return-value]
