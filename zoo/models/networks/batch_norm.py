"""Batch normalisation over the batch of all processes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.models.core.distributed import moments
from zoo.ranks import world_size


class BatchNorm1d(nn.BatchNorm1d):
    """Batch normalisation of vectors over the global batch (Ioffe & Szegedy 2015, algorithms 1 and 2).

    Several processes give the same result as one, and one gives that of torch's layer. torch's own layer
    normalises the examples of each process alone, and its SyncBatchNorm works on GPUs only.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(B, C)`` or ``(B, C, L)``."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        return over_all_processes(self, x)


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation of images over the global batch, see :class:`BatchNorm1d`."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(B, C, H, W)``."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        return over_all_processes(self, x)


def over_all_processes(layer: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Normalise ``(B, C, ...)`` by the moments of all processes, and update a layer's running statistics.

    As in torch's layer, values in half precision are normalised in float32 and returned in half precision.
    """
    mean, variance, count = moments(x.transpose(0, 1).flatten(1))
    if layer.running_mean is not None:
        with torch.no_grad():
            assert layer.running_var is not None
            assert layer.num_batches_tracked is not None
            layer.num_batches_tracked += 1
            momentum = 1 / layer.num_batches_tracked if layer.momentum is None else layer.momentum
            layer.running_mean.lerp_(mean, momentum)
            layer.running_var.lerp_(variance * (count / (count - 1)), momentum)
    channels = (-1, *(1,) * (x.ndim - 2))
    scale = (variance + layer.eps).rsqrt()
    wide = x.to(mean.dtype) - mean.view(channels)
    if not layer.affine:
        return (wide * scale.view(channels)).to(x.dtype)
    return (wide * (layer.weight * scale).view(channels) + layer.bias.view(channels)).to(x.dtype)
