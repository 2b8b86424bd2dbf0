"""Where a model computes: its device and its floating dtype."""

from __future__ import annotations

import torch
from torch import nn


def placement(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Return the device and the floating dtype of a model; the CPU and float32 if it has no weights."""
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point():
            return tensor.device, tensor.dtype
    return torch.device("cpu"), torch.float32
