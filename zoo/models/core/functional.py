"""Small tensor functions that layers, networks and models share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_in_torch_dispatch_mode


def sum_event(x: Tensor) -> Tensor:
    """Return the sum of ``x`` ``(B, ...)`` over all but the batch dimension, ``(B,)``, in at least float32.

    >>> sum_event(torch.ones(2, 3, 4))
    tensor([12., 12.])
    """
    if x.ndim != 2:
        x = x.flatten(1)
    return x.sum(1) if x.dtype.itemsize >= 4 else x.sum(1, dtype=torch.float32)


def may_use_numpy(device: torch.device) -> bool:
    """Return whether NumPy may compute on the memory of this device's tensors.

    A call of NumPy takes a fraction of the time of a call of torch, which matters where arrays are small.
    NumPy may compute on a CPU, except in code whose operations torch compiles, counts or transforms
    (``vmap``).
    """
    return (
        not torch.compiler.is_compiling()
        and device.type == "cpu"
        and not is_in_torch_dispatch_mode()
        and torch._C._functorch.peek_interpreter_stack() is None  # no public function tells
    )


def computes_by_hand(x: Tensor) -> bool:
    """Return whether functions whose gradients zoo computes itself may take a batch of vectors ``(B, D)``.

    They are for ordinary tensors on a CPU. Compiled code, transforms of ``torch.func``, forward-mode
    derivatives, autocast, half precision and tensors of other classes need torch's own operations.
    """
    return (
        type(x) is Tensor
        and x.ndim == 2
        and x.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and x.dtype.itemsize >= 4
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._are_functorch_transforms_active()
        and forward_ad.unpack_dual(x).tangent is None
    )


def all_finite(x: Tensor) -> bool:
    """Return whether no value is NaN or infinite; on an accelerator this synchronises the device.

    The sum of finite values is finite unless it overflows, so one sum decides almost always.
    """
    return math.isfinite(x.detach().sum()) or bool(x.isfinite().all())


def for_convolutions(x: Tensor) -> Tensor:
    """Return images ``(B, C, H, W)`` in the memory format in which a processor convolves fastest.

    On a CPU that is channels last, which the convolutions after it keep: up to a third less time. On a GPU
    images stay as they are.
    """
    return x.contiguous(memory_format=torch.channels_last) if x.device.type == "cpu" else x


def for_products(x: Tensor) -> Tensor:
    """Return vectors ``(B, D)`` in the memory format in which a processor multiplies them fastest.

    On a CPU that is *features first*: the values of each feature lie side by side (strides ``(1, B)``), so
    that matrix products, sums over features and splits of the features take less time. Elementwise functions,
    :func:`divide` and :func:`concatenate` keep the format. On a GPU and in compiled code, vectors stay as
    they are.
    """
    if not multiplies_features_first(x) or _has_features_first(x):
        return x
    return x.t().contiguous().t()


def multiplies_features_first(x: Tensor) -> bool:
    """Return whether :func:`for_products` puts the features of ``x`` first."""
    return x.ndim == 2 and x.device.type == "cpu" and not torch.compiler.is_compiling()


def divide(x: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """Return ``torch.split(x, sizes, 1)``, with a gradient in the memory format of ``x``."""
    if torch.is_grad_enabled() and _has_features_first(x):
        return tuple(part.t() for part in torch.split_with_sizes(x.t(), sizes))
    return torch.split_with_sizes(x, sizes, 1)


def concatenate(parts: Sequence[Tensor]) -> Tensor:
    """Return ``torch.cat(parts, 1)`` in the memory format of the parts."""
    if _has_features_first(parts[0]):
        return torch.cat([part.t() for part in parts]).t()
    return torch.cat(list(parts), 1)


def _has_features_first(x: Tensor) -> bool:
    return x.ndim == 2 and x.stride(0) == 1


def soft_clamp(x: Tensor, bound: float) -> Tensor:
    """Return bound * tanh(x / bound): close to ``x`` near zero, between -bound and bound everywhere.

    On a CPU it is computed as bound (2 sigmoid(2 x / bound) - 1), since torch's tanh is slower there; the
    rounding error is about one machine epsilon of ``bound``.

    >>> soft_clamp(torch.tensor([0.0, 100.0, -100.0]), 3.0)
    tensor([ 0.,  3., -3.])
    """
    if torch.compiler.is_compiling() or x.device.type != "cpu" or x.dtype.itemsize < 4:
        return bound * torch.tanh(x / bound)
    slope, lowest = clamp_scalars(bound, x.dtype)
    return torch.add(lowest, (x * slope).sigmoid_(), alpha=2 * bound)


@cache
def clamp_scalars(bound: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return 2 / bound and -bound as tensors, with which a product takes less time than with numbers."""
    with torch.inference_mode(False):  # a gradient may need them later
        return torch.tensor(2 / bound, dtype=dtype), torch.tensor(-bound, dtype=dtype)


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
