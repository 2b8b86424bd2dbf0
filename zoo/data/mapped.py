"""Rows of a memory-mapped file as a tensor, which reads them only when they are used."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

LARGE = 256 * 2**20  # number of bytes from which a file is memory-mapped instead of read
CHUNK = 16 * 2**20  # bytes to read at a time where all rows are needed one after another
_aten = torch.ops.aten


class MemoryMappedRows(Tensor):
    """Selected rows of a memory-mapped tensor, in any order, which are read only when they are used.

    Indexing with a tensor of row numbers reads only these rows and returns an ordinary tensor. A slice, or a
    part of ``split``, reads nothing and is of this class again. Any other operation reads all rows first: the
    result is right, but it needs as much memory as an ordinary tensor.

    Args:
        base: the memory-mapped tensor ``(N, ...)``.
        rows: indices ``(n,)`` of the selected rows.
    """

    base: Tensor
    rows: Tensor

    @staticmethod
    def __new__(cls, base: Tensor, rows: Tensor) -> MemoryMappedRows:
        shape = (len(rows), *base.shape[1:])
        made: MemoryMappedRows = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=base.dtype)
        made.base, made.rows = base, rows
        return made

    def __init__(self, base: Tensor, rows: Tensor) -> None: ...

    def __repr__(self) -> str:  # type: ignore[override]
        return f"MemoryMappedRows(shape={tuple(self.shape)}, dtype={self.dtype})"

    def numpy(self, *, force: bool = False) -> np.ndarray:
        array: np.ndarray = _in_memory(self).numpy(force=force)  # does not pass through torch's dispatcher
        return array

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch declares the arguments of another method
        cls,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...],
        kwargs: dict[Any, Any],
    ) -> Any:
        first, *others = args
        along_rows = len(others) < 2 or others[-1] == 0
        if isinstance(first, MemoryMappedRows):
            if func is _aten.index.Tensor and len(others[0]) == 1:
                return _gather(first.base, first.rows[others[0][0]])
            if func is _aten.slice.Tensor and (not others or others[0] == 0):
                return cls(first.base, _aten.slice.Tensor(first.rows, *others))
            if func is _aten.split.Tensor and along_rows:
                return [cls(first.base, part) for part in first.rows.split(others[0])]
            if func is _aten.detach.default or func is _aten.alias.default:
                return first
        kwargs = {key: _in_memory(value) for key, value in (kwargs or {}).items()}
        return func(*map(_in_memory, args), **kwargs)


class SelectedRows:
    """Selected rows of a memory-mapped array; iterating reads them one at a time.

    Args:
        base: the array ``(N, ...)``.
        rows: indices ``(n,)`` of the selected rows.
    """

    def __init__(self, base: np.ndarray, rows: np.ndarray) -> None:
        self.base, self.rows = base, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.base[row] for row in self.rows)


def is_memory_mapped(x: np.ndarray) -> bool:
    """Return whether an array is a memory-mapped file, or a view of one."""
    while x.base is not None and isinstance(x.base, np.ndarray):
        x = x.base
    return isinstance(x.base, mmap.mmap)


def _gather(base: Tensor, rows: Tensor) -> Tensor:
    """Return rows as a contiguous tensor: with other strides, sums might be rounded differently."""
    return base[rows].contiguous()


def _in_memory(value: Any) -> Any:
    """Return an argument of an operation, with memory-mapped rows read into ordinary tensors."""
    if isinstance(value, MemoryMappedRows):
        return _gather(value.base, value.rows)
    return type(value)(map(_in_memory, value)) if isinstance(value, list | tuple) else value


def chunks(x: Tensor) -> Iterator[Tensor]:
    """Yield the rows of a tensor as ordinary tensors: in chunks if it is memory-mapped, else all at once."""
    if not isinstance(x, MemoryMappedRows):
        yield x
        return
    size = max(1, CHUNK // max(1, x[:1].nbytes))
    for part in x.split(size):
        yield _in_memory(part)
