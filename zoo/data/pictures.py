"""Read one picture of any format; bring those of 16 bits down to 8 together."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zoo.errors import InvalidData

if TYPE_CHECKING:
    from PIL import Image

DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras and scanners fill
_ORIENTATION = 0x0112


class Picture(NamedTuple):
    """A picture that was read.

    Attributes:
        image: of mode ``1``, ``L`` or ``RGB``; a grey one of 16 bits has the mode ``I;16``.
        is_animated: whether its file has more frames than this one.
        is_deep_colour: whether it had 16 bits per channel, of which Pillow reads the upper 8.
    """

    image: Image.Image
    is_animated: bool = False
    is_deep_colour: bool = False

    @property
    def is_deep_grey(self) -> bool:
        """Whether it is grey and has 16 bits."""
        return self.image.mode.startswith("I")


def read_picture(file: Path) -> Picture:
    """Return a picture, rotated by its EXIF orientation; transparent pixels are white, as viewers show them.

    Raises:
        InvalidData: the pixels are fractions or exceed 16 bits.
        Exception: of many kinds, if the file is damaged.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warnings, for example about unusual EXIF data
        with Image.open(file) as opened:
            is_animated = getattr(opened, "n_frames", 1) > 1
            is_deep = ";16" in str(opened.tile)
            opened.load()
            image = _upright(opened)
        if image.mode.startswith(("I", "F")):
            return Picture(_deep(image, file), is_animated)
        if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        if image.mode not in ("1", "L"):
            image = image.convert("RGB")
    return Picture(image, is_animated, is_deep)


def is_grey(image: Image.Image) -> bool:
    """Return whether the three channels of a picture are equal at every pixel."""
    if image.mode != "RGB":
        return True
    x = np.asarray(image)
    return bool((x[..., 0] == x[..., 1]).all() and (x[..., 1] == x[..., 2]).all())


def brought_down(folder: Path, pictures: Sequence[Picture]) -> tuple[list[Image.Image], list[str]]:
    """Return the pictures with 8 bits, and notes. Those of 16 bits are scaled by the bits that they fill.

    Raises:
        InvalidData: colours of 16 bits fill so few of them that Pillow's upper 8 keep few levels.
    """
    from PIL import Image

    notes = []
    grey = [picture for picture in pictures if picture.is_deep_grey]
    largest = max((int(np.asarray(picture.image).max()) for picture in grey), default=0)
    bits = next(depth for depth in DEPTHS if largest < 2**depth)
    if grey:
        filled = "" if bits == 16 else f", whose values up to {largest:,} fill {bits} of them,"
        notes.append(f"{folder.name}: {len(grey)} pictures of 16 bits{filled} are brought down to 8.")
    deep = [picture for picture in pictures if picture.is_deep_colour]
    if deep:
        upper = max(int(np.asarray(picture.image).max()) for picture in deep)
        if upper < 2 ** (14 - 8):
            raise InvalidData(
                f"{folder} has {len(deep)} pictures of 16 bits per channel whose values lie below "
                f"{(upper + 1) * 256:,}, so that the upper 8 bits, which are read, hold few levels; "
                "convert them to 8 bits per channel."
            )
        notes.append(f"{folder.name}: of {len(deep)} pictures of 16 bits per channel the upper 8 are read.")
    images = [
        Image.fromarray((np.asarray(picture.image) >> (bits - 8)).astype(np.uint8))
        if picture.is_deep_grey
        else picture.image
        for picture in pictures
    ]
    return images, notes


def _upright(picture: Image.Image) -> Image.Image:
    """Return a picture rotated by its EXIF orientation.

    Only this entry is read, so that damage in others does no harm. Without a valid entry the picture is
    unchanged.
    """
    from PIL import Image

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    try:
        orientation = picture.getexif().get(_ORIENTATION)
    except Exception:  # Pillow raises many kinds for damaged EXIF data
        orientation = None
    turned = turns.get(orientation) if isinstance(orientation, int) else None
    return picture.copy() if turned is None else picture.transpose(turned)


def _deep(picture: Image.Image, file: Path) -> Image.Image:
    """Return a grey picture of more than 8 bits as one of 16.

    Raises:
        InvalidData: the values are fractions or exceed 16 bits.
    """
    from PIL import Image

    values = np.asarray(picture)
    low, high = values.min(), values.max()
    if values.dtype.kind == "f" or low < 0 or high > 65535:
        raise InvalidData(
            f"{file} has pixels from {low:g} to {high:g}, which are no whole numbers of 16 bits; "
            "convert it to 8 bits."
        )
    return Image.fromarray(values.astype(np.uint16))
