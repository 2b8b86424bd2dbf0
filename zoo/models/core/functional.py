"""Small tensor functions that layers, networks and models share."""

from __future__ import annotations

import torch
from torch import Tensor


def sum_event(x: Tensor) -> Tensor:
    """Return the sum of ``x`` ``(B, ...)`` over all but the batch dimension, ``(B,)``, in at least float32.

    >>> sum_event(torch.ones(2, 3, 4))
    tensor([12., 12.])
    """
    return x.to(torch.promote_types(x.dtype, torch.float32)).flatten(1).sum(1)


def soft_clamp(x: Tensor, bound: float | Tensor) -> Tensor:
    """Return bound * tanh(x / bound): close to ``x`` near zero, between -bound and bound everywhere."""
    return bound * torch.tanh(x / bound)


def soft_bound(raw: Tensor, low: float, high: float) -> Tensor:
    """Map real numbers smoothly and monotonically onto (low, high); 0 maps to the midpoint, with slope 1."""
    half = (high - low) / 2
    return (low + high) / 2 + half * torch.tanh(raw / half)


def to_symmetric(x: Tensor, levels: int | None) -> Tensor:
    """Map pixels ``0 .. levels-1`` linearly to [-1, 1]; return continuous data (no ``levels``) unchanged."""
    return x if levels is None else x * (2 / (levels - 1)) - 1


def from_symmetric(y: Tensor, levels: int | None) -> Tensor:
    """Map [-1, 1] linearly to ``[0, levels-1]``: the inverse of :func:`to_symmetric`, without rounding."""
    return y if levels is None else (y + 1) * ((levels - 1) / 2)


def patch_side(size: int, patch: int) -> int:
    """Return the largest divisor of ``size`` that is at most ``patch`` and leaves at least two patches, or 1.

    >>> patch_side(28, 4), patch_side(6, 4), patch_side(7, 2), patch_side(2, 2)
    (4, 3, 1, 1)
    """
    return max((k for k in range(1, min(patch, size // 2) + 1) if size % k == 0), default=1)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Return the squared Euclidean distances between rows of ``x`` ``(N, ...)`` and ``y`` ``(M, ...)``.

    >>> squared_distances(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[25.,  1.]])
    """
    return torch.cdist(x.flatten(1), y.flatten(1)).square()
