"""Images as sequences of patches."""

from __future__ import annotations

from torch import Tensor

from zoo.models.bijections.base import Rearrangement
from zoo.models.core.functional import patch_side


class Patchify(Rearrangement):
    """The map from ``(C, H, W)`` to T tokens ``(T, C i j)``, one per patch of i x j pixels, in raster order.

    The side of a patch along each axis is :func:`~zoo.models.core.functional.patch_side`, so patches of every
    image are defined: rows, columns or pixels if no other side divides.

    Args:
        shape: ``(C, H, W)``.
        patch: largest side of a patch, in pixels.
    """

    def __init__(self, shape: tuple[int, ...], patch: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.shape = (channels, height, width)
        self.fold = (patch_side(height, patch), patch_side(width, patch))
        i, j = self.fold
        self.tokens, self.features = (height // i) * (width // j), channels * i * j

    def move(self, x: Tensor) -> Tensor:
        (c, h, w), (i, j) = self.shape, self.fold
        patches = x.reshape(-1, c, h // i, i, w // j, j).permute(0, 2, 4, 1, 3, 5)
        return patches.reshape(-1, self.tokens, self.features)

    def move_back(self, z: Tensor) -> Tensor:
        (c, h, w), (i, j) = self.shape, self.fold
        patches = z.reshape(-1, h // i, w // j, c, i, j).permute(0, 3, 1, 4, 2, 5)
        return patches.reshape(-1, c, h, w)

    def extra_repr(self) -> str:
        return f"{self.shape} -> ({self.tokens}, {self.features})"
