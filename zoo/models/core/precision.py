"""Full float32 precision for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Within the block, run convolutions on a GPU in full float32 and deterministically.

    By default cuDNN rounds their inputs to TF32, of 10 bits, and adds in any order, from which training
    profits. For a solver's tolerance of 1e-5, or the inverse of a residual block, that is far too coarse: a
    fixed point is never found, and the density of the same example differs from call to call.
    """
    if device.type != "cuda" or torch.compiler.is_compiling():
        yield
        return
    enabled = torch.backends.cudnn.enabled
    with torch.backends.cudnn.flags(enabled=enabled, deterministic=True, allow_tf32=False):
        yield
