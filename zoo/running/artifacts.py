"""Files that a run leaves beside its record: samples, likelihoods, densities, pictures."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo.record import PICTURE, SAMPLES, write_atomic

SHOWN = 64  # images in the picture, and real examples beside the samples


def write_samples(directory: Path, samples: Tensor, real: Tensor, levels: int | None) -> Path | None:
    """Write ``samples.npz`` and, for images, ``samples.png``; return the picture's path.

    Without any samples, both files are removed.
    """
    if len(samples) == 0:
        for name in (SAMPLES, PICTURE):
            (directory / name).unlink(missing_ok=True)
        return None
    dtype = torch.uint8 if levels is not None and levels <= 256 else torch.float32
    arrays = {
        "samples": samples.detach().cpu().to(dtype).numpy(),
        "real": real[: len(samples) if samples.ndim == 2 else min(SHOWN, len(samples))]
        .cpu()
        .to(dtype)
        .numpy(),
        "levels": np.array(levels or 0),
    }
    write_arrays(directory / SAMPLES, arrays)
    if samples.ndim != 4 or levels is None:
        return None
    return write_grid(directory / PICTURE, samples[:SHOWN], levels)


def write_arrays(path: Path, arrays: dict[str, np.ndarray] | None) -> None:
    """Write a compressed ``.npz`` whole or not at all; None removes it."""
    if arrays is None:
        path.unlink(missing_ok=True)
        return
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # numpy's own keyword allow_pickle
    write_atomic(path, buffer.getvalue())


def write_grid(path: Path, images: Tensor, levels: int) -> Path:
    """Write a square grid of images ``(N, C, H, W)`` of values ``0..levels-1``, enlarged by whole pixels."""
    from PIL import Image
    from torchvision.utils import make_grid

    side = max(1, math.ceil(math.sqrt(len(images))))
    grid = make_grid(images.detach().cpu().float() / (levels - 1), nrow=side, padding=1, pad_value=0.5)
    pixels = (grid.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).numpy()
    factor = max(1, 640 // pixels.shape[1])
    picture = Image.fromarray(pixels).resize(
        (pixels.shape[1] * factor, pixels.shape[0] * factor), Image.Resampling.NEAREST
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path
