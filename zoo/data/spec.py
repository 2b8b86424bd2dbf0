"""Shape, value range and number of classes of a data set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.checks import is_whole
from zoo.errors import InvalidData


@dataclass(frozen=True)
class DataSpec:
    """The shape and the values of one example.

    Args:
        shape: event shape; ``(C, H, W)`` for images, ``(D,)`` for vectors.
        levels: integers ``0 .. levels-1`` (images); ``None`` for continuous values.
        classes: number of labels; None without labels.

    >>> DataSpec(shape=(1, 28, 28), levels=256).dim
    784
    """

    shape: tuple[int, ...]
    levels: int | None = None
    classes: int | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.shape)
        if len(shape) not in (1, 3) or not all(is_whole(size, 1) for size in shape):
            raise InvalidData(
                f"A data shape is (D,) for vectors or (C, H, W) for images, whole numbers of at least 1; "
                f"got {shape}."
            )
        if self.levels is not None and not is_whole(self.levels, 2):
            raise InvalidData(
                f"Discrete data needs a whole number of levels, at least 2; got {self.levels!r} "
                "(None means continuous)."
            )
        if self.classes is not None and not is_whole(self.classes, 1):
            raise InvalidData(
                f"Labels need a whole number of classes, at least 1; got {self.classes!r} (None: no labels)."
            )
        plain: dict[str, Any] = {
            "shape": tuple(int(size) for size in shape)
        }  # JSON cannot represent NumPy's numbers
        plain |= {name: int(n) for name in ("levels", "classes") if (n := getattr(self, name)) is not None}
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    @property
    def dim(self) -> int:
        """Number of dimensions D."""
        return math.prod(self.shape)

    @property
    def is_image(self) -> bool:
        """Whether an example is ``(C, H, W)``."""
        return len(self.shape) == 3

    def check(self, x: Tensor, values: bool = True) -> None:
        """Raise :class:`InvalidData` unless ``x`` is a batch ``(B, *shape)`` of this data.

        Args:
            x: the batch.
            values: whether to check the values too (on an accelerator this synchronises the device).
        """
        if not isinstance(x, Tensor):
            raise InvalidData(f"The model expects a batch as a tensor; got {type(x).__name__}.")
        if tuple(x.shape[1:]) != self.shape or x.ndim != len(self.shape) + 1:
            raise InvalidData(
                f"The model expects a batch of shape (B, {', '.join(map(str, self.shape))}); "
                f"got {tuple(x.shape)}."
            )
        if x.is_complex():
            raise InvalidData(f"The model expects real numbers; got a batch of {x.dtype}.")
        if not values or x.numel() == 0:
            return
        if self.levels is None:
            # the sum of finite values is finite unless it overflows
            if not (math.isfinite(x.detach().sum()) or bool(torch.isfinite(x).all())):
                raise InvalidData("The data holds values that are not finite (NaN or infinity); remove them.")
            return
        low, high = x.min().item(), x.max().item()
        if not (low >= 0 and high <= self.levels - 1):
            raise InvalidData(
                f"Pixels must be integers in 0..{self.levels - 1}; found values from {low:g} to {high:g}."
            )
        if x.is_floating_point() and not bool((x == x.round()).all()):
            raise InvalidData(f"Pixels must be integers in 0..{self.levels - 1}; found fractions.")

    def quantise(self, x: Tensor) -> Tensor:
        """Return generated values in data space: the nearest level (half rounds up) for integer data.

        Used for a decoder's mean, a GAN's output and the end point of an ODE. A dequantised flow rounds down
        instead, which is the exact inverse of its dequantisation.
        """
        if self.levels is None:
            return x
        return torch.floor(x + 0.5).clamp(0, self.levels - 1)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, for checkpoints and records."""
        return {"shape": list(self.shape), "levels": self.levels, "classes": self.classes}
