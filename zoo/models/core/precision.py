"""The precision of products in float32: a setting for training, full for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch

Float32Matmul = Literal["highest", "high"]


@contextmanager
def float32_matmul(precision: Float32Matmul) -> Iterator[None]:
    """Within the block, multiply float32 in float32 (``highest``) or, on a GPU, in TF32 (``high``).

    This holds for products of matrices and for cuDNN's convolutions, which torch would round to TF32 whatever
    is set for matrices. TF32 rounds the inputs of a product to 10 bits and adds up in float32.
    """
    cudnn = torch.backends.cudnn
    before = torch.get_float32_matmul_precision(), cudnn.allow_tf32
    torch.set_float32_matmul_precision(precision)
    cudnn.allow_tf32 = precision != "highest"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        cudnn.allow_tf32 = before[1]


def full_float32(device: torch.device) -> AbstractContextManager[None]:
    """Within the block, compute on a GPU in full float32, and convolutions deterministically.

    By default cuDNN rounds the inputs of convolutions to TF32, with 10 bits, and adds in any order. For a
    solver's tolerance of 1e-5 or the inverse of a residual block this is too coarse: a fixed point is never
    found, and the density of the same example differs between calls.
    """
    compiling = torch.compiler.is_compiling()
    return nullcontext() if device.type != "cuda" or compiling else _full_float32()


@contextmanager
def _full_float32() -> Iterator[None]:
    enabled = torch.backends.cudnn.enabled
    convolutions = torch.backends.cudnn.flags(enabled=enabled, deterministic=True)
    with convolutions, float32_matmul("highest"):
        yield
