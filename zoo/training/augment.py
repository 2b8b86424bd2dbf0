"""Differentiable augmentation: random changes of all images that the critic sees, real or generated.

Zhao et al. 2020 (arXiv:2006.10738), section 3.3. Every function takes images ``(B, C, H, W)`` in network
space, is differentiable in them, and draws a few numbers for each image from :mod:`zoo.models.core.rng`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.models.core import rng

SHIFT = 1 / 8  # largest shift of a translation, as a share of the side
HOLE = 1 / 2  # side of a cutout's hole, as a share of the image's side


def colour(x: Tensor) -> Tensor:
    """Change brightness by +-1/2, saturation times 0 to 2, contrast times 1/2 to 3/2.

    Saturation scales distances from the pixel's grey, contrast those from the image's mean.
    """
    brightness, saturation, contrast = rng.uniform(x.new_empty(len(x), 3, 1, 1, 1)).unbind(1)
    x = x + brightness - 0.5
    grey = x.mean(1, keepdim=True)
    x = grey + 2 * saturation * (x - grey)
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (contrast + 0.5) * (x - mean)


def translation(x: Tensor) -> Tensor:
    """Shift by up to an eighth of each side, a whole number of pixels; the rest is filled with zeros."""
    height, width = x.shape[2:]
    down, right = (int(side * SHIFT + 0.5) for side in (height, width))
    draws = rng.uniform(x.new_empty(len(x), 2))
    rows = (draws[:, :1] * (2 * down + 1)).long() + torch.arange(height, device=x.device)
    columns = (draws[:, 1:] * (2 * right + 1)).long() + torch.arange(width, device=x.device)
    padded = F.pad(x, (right, right, down, down))
    images = torch.arange(len(x), device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[images, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(x: Tensor) -> Tensor:
    """Zero a rectangle of half each side, its centre anywhere in the image."""
    draws = rng.uniform(x.new_empty(len(x), 2))
    inside = []
    for axis, side in enumerate(x.shape[2:]):
        extent = int(side * HOLE + 0.5)
        first = (draws[:, axis : axis + 1] * (side + 1 - extent % 2)).long() - extent // 2
        place = torch.arange(side, device=x.device) - first
        inside.append((place >= 0) & (place < extent))
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return x.masked_fill(hole, 0.0)


Augmentation = Literal["colour", "translation", "cutout"]
AUGMENTATIONS: dict[Augmentation, Callable[[Tensor], Tensor]] = {
    "colour": colour,
    "translation": translation,
    "cutout": cutout,
}


def augmentation(names: Sequence[Augmentation]) -> Callable[[Tensor], Tensor]:
    """Return a function that makes the named changes one after another; the identity for no names."""

    def apply(x: Tensor) -> Tensor:
        for name in names:
            x = AUGMENTATIONS[name](x)
        return x

    return apply
