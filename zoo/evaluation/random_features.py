"""Features of a convolutional network with fixed random weights, for images of any size and channels.

Naeem et al. (2020) compare images by a randomly initialised network where no trained one fits. Nothing is
downloaded, and nothing is learned from any data. ``scripts/extractors.py`` measures how such features rank
corruptions and models beside those of the trained classifiers and others.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.core import rng

WIDTHS = (32, 64, 64, 64)  # channels of the 3x3 convolutions
LARGEST = 64  # pixels; the longer side of larger images is brought to it by averaging
GRID = 2  # the last layer is averaged over GRID x GRID parts of the image
BIAS = 0.3  # standard deviation
SEED = 20201  # arXiv number of Naeem et al. begins with 2002


class RandomNetwork(nn.Module):
    """Four convolutions with ReLU, each but the last followed by 2x2 averages, and a random projection.

    Filters have the norm sqrt(2), which keeps the scale under ReLU (He et al. 2015). The weights are pure
    functions of :data:`SEED` and their shapes, the same on every machine.

    Args:
        channels: channels of the images.
        dim: number of features.
    """

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.filters = nn.ParameterList()
        self.biases = nn.ParameterList()
        inside = channels
        for layer, width in enumerate(WIDTHS):
            weight = _normal(width, inside * 9, layer, 0)
            weight = weight / weight.norm(dim=1, keepdim=True) * math.sqrt(2)
            self.filters.append(nn.Parameter(weight.view(width, inside, 3, 3).float(), requires_grad=False))
            bias = BIAS * _normal(width, 1, layer, 1)[:, 0]
            self.biases.append(nn.Parameter(bias.float(), requires_grad=False))
            inside = width
        projection = _normal(inside * GRID**2, dim, len(WIDTHS), 0) / math.sqrt(inside * GRID**2)
        self.projection = nn.Parameter(projection, requires_grad=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features ``(B, dim)``, float64, of bytes ``(B, C, H, W)``."""
        x = pixels.float() / 127.5 - 1
        side = max(x.shape[2:])
        if side > LARGEST:
            size = [max(1, round(length * LARGEST / side)) for length in x.shape[2:]]
            x = F.interpolate(x, size=size, mode="area")
        for filters, bias in zip(self.filters, self.biases, strict=True):
            x = F.conv2d(x, filters, bias, padding=1).relu()
            if min(x.shape[2:]) >= 2 * GRID:
                x = F.avg_pool2d(x, 2)
        return F.adaptive_avg_pool2d(x, GRID).flatten(1).double() @ self.projection


def _normal(rows: int, columns: int, layer: int, part: int) -> Tensor:
    with rng.keyed(rng.keys(SEED, layer, part, count=rows)):
        return rng.normal(torch.empty(rows, columns, dtype=torch.float64))
