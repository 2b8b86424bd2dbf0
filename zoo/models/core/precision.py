"""Full float32 precision for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Within the block, run convolutions on a GPU in full float32 and deterministically.

    By default cuDNN rounds their inputs to TF32, with 10 bits, and adds in any order, which speeds up
    training. For a solver's tolerance of 1e-5 or the inverse of a residual block this is too coarse: a fixed
    point is never found, and the density of the same example differs between calls.
    """
    if device.type != "cuda" or torch.compiler.is_compiling():
        yield
        return
    enabled = torch.backends.cudnn.enabled
    with torch.backends.cudnn.flags(enabled=enabled, deterministic=True, allow_tf32=False):
        yield
