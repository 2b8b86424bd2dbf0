"""Pictures as text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from rich.text import Text

SHADES = " ░▒▓█"


def tiled(images: np.ndarray, columns: int) -> np.ndarray:
    """Return images ``(N, C, H, W)`` as rows of ``columns``, ``(H', W', C)``, a black line between them."""
    n, c, h, w = images.shape
    rows = math.ceil(n / columns)
    wide = min(n, columns)
    picture = np.zeros((rows * (h + 1) - 1, wide * (w + 1) - 1, c))
    for place, image in enumerate(images):
        top, left = place // columns * (h + 1), place % columns * (w + 1)
        picture[top : top + h, left : left + w] = image.transpose(1, 2, 0)
    return picture


def half_blocks(picture: np.ndarray, coloured: bool = True) -> Iterator[Text]:
    """Yield the lines of a picture ``(H, W, C)`` in [0, 1]; a character holds two pixels above each other.

    Without colours each character is a shade of the two pixels' mean.
    """
    if len(picture) % 2:
        picture = np.concatenate([picture, np.zeros((1, *picture.shape[1:]))])
    pixels = np.broadcast_to(picture, (*picture.shape[:2], 3)) if picture.shape[2] != 3 else picture
    levels = np.clip(np.round(pixels * 255), 0, 255).astype(int)
    for upper, lower in zip(levels[::2], levels[1::2], strict=True):
        if not coloured:
            means = (upper.mean(1) + lower.mean(1)) / 2 / 255
            yield Text("".join(SHADES[round(mean * (len(SHADES) - 1))] for mean in means))
            continue
        line = Text()
        for top, bottom in zip(upper, lower, strict=True):
            line.append("▀", f"rgb({top[0]},{top[1]},{top[2]}) on rgb({bottom[0]},{bottom[1]},{bottom[2]})")
        yield line
