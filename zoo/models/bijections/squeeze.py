"""The squeeze, which turns blocks of pixels into channels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from zoo.errors import InvalidData
from zoo.models.bijections.base import Rearrangement


class Squeeze(Rearrangement):
    """The squeeze ``(C, H, W)`` to ``(4C, H/2, W/2)``: 2x2 pixels become four channels (Dinh et al. 2017).

    Raises:
        InvalidData: the height or the width is odd.
    """

    def move(self, x: Tensor) -> Tensor:
        if x.shape[2] % 2 or x.shape[3] % 2:
            raise InvalidData(
                f"Squeeze halves height and width; {x.shape[2]}x{x.shape[3]} is odd, pad the images."
            )
        return F.pixel_unshuffle(x, 2)

    def move_back(self, z: Tensor) -> Tensor:
        return F.pixel_shuffle(z, 2)
