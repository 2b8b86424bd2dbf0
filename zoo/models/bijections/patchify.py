"""Images as sequences of patches."""

from __future__ import annotations

from torch import Tensor

from zoo.models.bijections.base import Bijection, zeros


def fold(size: int, patch: int) -> int:
    """The largest divisor of ``size`` that is at most ``patch`` and leaves two places; 1 where there is none.

    >>> fold(28, 4), fold(6, 4), fold(7, 2), fold(2, 2)
    (4, 3, 1, 1)
    """
    return max((k for k in range(1, min(patch, size // 2) + 1) if size % k == 0), default=1)


class Patchify(Bijection):
    """``(C, H, W)`` to T tokens ``(T, C i j)``, one for each patch of i x j pixels, in raster order.

    Each axis is folded by the size that :func:`fold` finds, so every image has a sequence: of single rows,
    columns or pixels where nothing else divides. The log-determinant is zero.

    Args:
        shape: ``(C, H, W)``.
        patch: largest side of a patch, in pixels.
    """

    def __init__(self, shape: tuple[int, ...], patch: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.shape = (channels, height, width)
        self.fold = (fold(height, patch), fold(width, patch))
        i, j = self.fold
        self.tokens, self.features = (height // i) * (width // j), channels * i * j

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        (c, h, w), (i, j) = self.shape, self.fold
        patches = x.reshape(-1, c, h // i, i, w // j, j).permute(0, 2, 4, 1, 3, 5)
        return patches.reshape(-1, self.tokens, self.features), zeros(x)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        (c, h, w), (i, j) = self.shape, self.fold
        patches = z.reshape(-1, h // i, w // j, c, i, j).permute(0, 3, 1, 4, 2, 5)
        return patches.reshape(-1, c, h, w), zeros(z)

    def extra_repr(self) -> str:
        return f"{self.shape} -> ({self.tokens}, {self.features})"
