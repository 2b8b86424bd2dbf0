"""A run's gallery and its row of the slide as pictures and tables for Weights & Biases."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from zoo.record import GALLERY, Record

SLIDE = ("model", "family", "data", "seed", "order", "steps", "dimensions", "sharpness", "spectrum",
         "oscillation", "spikes", "likelihood", "kind")  # fmt: skip
NEAREST = ("sample", "nearest training example", "distance")
ENLARGED = 4


def gallery_media(directory: Path, levels: int) -> dict[str, Any]:
    """Return the media of a run's ``gallery.npz`` for ``wandb.log``; none without the file.

    ``gallery/nearest`` is a table of samples beside their nearest training examples, each other part of the
    gallery one picture.

    Args:
        directory: of the run.
        levels: number of values of a pixel.
    """
    import wandb

    try:
        with np.load(directory / GALLERY) as file:
            arrays = dict(file)
    except (OSError, ValueError, zipfile.BadZipFile):
        return {}
    media: dict[str, Any] = {
        f"gallery/{name}": wandb.Image(picture, file_type="png")
        for name, picture in pictures(arrays, levels).items()
    }
    if {"samples", "neighbours", "neighbour_distances"} <= arrays.keys():
        rows = zip(arrays["samples"], arrays["neighbours"], arrays["neighbour_distances"], strict=True)
        table = wandb.Table(columns=list(NEAREST))
        for sample, neighbour, distance in rows:
            images = [
                wandb.Image(_bytes(image[None], levels), file_type="png") for image in (sample, neighbour)
            ]
            table.add_data(*images, float(distance))
        media["gallery/nearest"] = table
    return media


def pictures(arrays: dict[str, np.ndarray], levels: int) -> dict[str, np.ndarray]:
    """Return each part of a gallery as one picture ``(H, W, 3)`` of bytes: a row for each value of a knob."""
    images: dict[str, np.ndarray] = {}
    for name in ("temperature", "truncation", "steps"):
        if name in arrays:
            rows = [_bytes(row, levels) for row in arrays[name]]
            images[name] = np.concatenate(rows)
    for name in ("interpolation", "likely", "unlikely"):
        if name in arrays:
            images[name] = _bytes(arrays[name], levels)
    return images


def _bytes(images: np.ndarray, levels: int) -> np.ndarray:
    """Return images ``(N, C, H, W)`` side by side, enlarged, ``(H', W', 3)``."""
    wide = np.concatenate(list(images.astype(np.float64)), axis=2).transpose(1, 2, 0)
    shades = np.clip(wide / max(1, levels - 1) * 255 + 0.5, 0, 255).astype(np.uint8)
    colours = np.broadcast_to(shades, (*shades.shape[:2], 3)) if shades.shape[2] != 3 else shades
    return np.repeat(np.repeat(colours, ENLARGED, axis=0), ENLARGED, axis=1)


def slide_row(record: Record) -> list[Any]:
    """Return a run's row of the slide, in the columns :data:`SLIDE`; None where nothing was measured."""
    metrics, sampling, stability = record.metrics, record.sampling, record.stability
    likelihood = metrics.get("bits_per_dim") or metrics.get("nll")
    shape = record.provenance.data.shape if record.provenance.data is not None else None
    sharp = [metrics[name].value if name in metrics else None for name in ("sharpness", "sharpness/spectrum")]
    return [
        record.model, record.family, record.data, record.seed,
        sampling.order, sampling.sequential_evaluations,
        math.prod(shape) if shape else None, *sharp, stability.oscillation, stability.loss_spikes,
        likelihood.value if likelihood is not None else None,
        likelihood.kind if likelihood is not None else None,
    ]  # fmt: skip
