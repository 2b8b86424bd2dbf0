"""Rows of an array that lies in a file, as a tensor that reads them when they are used."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

LARGE = 256 * 2**20  # bytes of an array from which it stays in its file
CHUNK = 16 * 2**20  # bytes that are read at a time where all rows are looked at
_aten = torch.ops.aten


class MappedRows(Tensor):
    """Some rows of a memory-mapped tensor, in an order of their own, of which none is in memory.

    Indexing by rows reads these rows alone and returns an ordinary tensor; a slice and the parts of ``split``
    are rows of the file again. Every other operation reads all rows first: it is right, but takes the memory
    of an ordinary tensor.

    Args:
        base: the mapped tensor ``(N, ...)``.
        rows: indices ``(n,)`` of its rows.
    """

    base: Tensor
    rows: Tensor

    @staticmethod
    def __new__(cls, base: Tensor, rows: Tensor) -> MappedRows:
        shape = (len(rows), *base.shape[1:])
        made: MappedRows = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=base.dtype)
        made.base, made.rows = base, rows
        return made

    def __init__(self, base: Tensor, rows: Tensor) -> None: ...

    def __repr__(self) -> str:  # type: ignore[override]
        return f"MappedRows(shape={tuple(self.shape)}, dtype={self.dtype})"

    def numpy(self, *, force: bool = False) -> np.ndarray:
        array: np.ndarray = _read(self).numpy(force=force)  # no operation of torch's dispatcher
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
        if isinstance(first, MappedRows):
            if func is _aten.index.Tensor and len(others[0]) == 1:
                return _gathered(first.base, first.rows[others[0][0]])
            if func is _aten.slice.Tensor and (not others or others[0] == 0):
                return cls(first.base, _aten.slice.Tensor(first.rows, *others))
            if func is _aten.split.Tensor and along_rows:
                return [cls(first.base, part) for part in first.rows.split(others[0])]
            if func is _aten.detach.default or func is _aten.alias.default:
                return first
        return func(*map(_read, args), **{key: _read(value) for key, value in (kwargs or {}).items()})


class Picked:
    """Some rows of a mapped array, which are read one at a time.

    Args:
        base: the array ``(N, ...)``.
        rows: indices ``(n,)`` of its rows.
    """

    def __init__(self, base: np.ndarray, rows: np.ndarray) -> None:
        self.base, self.rows = base, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.base[row] for row in self.rows)


def in_file(x: np.ndarray) -> bool:
    """Return whether an array is mapped from a file; what has been computed from one is not."""
    while x.base is not None and isinstance(x.base, np.ndarray):
        x = x.base
    return isinstance(x.base, mmap.mmap)


def _gathered(base: Tensor, rows: Tensor) -> Tensor:
    """Return rows as they would lie in memory: their order in the file may change how sums are rounded."""
    return base[rows].contiguous()


def _read(value: Any) -> Any:
    """Return an argument of an operation with mapped rows as ordinary tensors."""
    if isinstance(value, MappedRows):
        return _gathered(value.base, value.rows)
    return type(value)(map(_read, value)) if isinstance(value, list | tuple) else value


def chunks(x: Tensor) -> Iterator[Tensor]:
    """Yield the rows of a tensor as ordinary tensors: a mapped one in chunks, any other one as it is."""
    if not isinstance(x, MappedRows):
        yield x
        return
    size = max(1, CHUNK // max(1, x[:1].nbytes))
    for part in x.split(size):
        yield _read(part)
