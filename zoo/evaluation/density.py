"""Densities on the plane, for pictures: the model's on a grid, and the data's histogram."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data.spec import DataSpec
from zoo.errors import Unsound
from zoo.evaluation.likelihood import log_probs
from zoo.models.core.capabilities import declared

SIDE = 96  # cells along each axis
MARGIN = 0.1  # on every side, as a share of the data's width


def density_grid(
    model: nn.Module, splits: Mapping[str, Tensor], spec: DataSpec, batch_size: int = 2048
) -> dict[str, np.ndarray] | None:
    """Return the densities of the model and of the data on a square grid, or None.

    None if the data are not points of the plane, or the model's density is unknown or cannot be computed on
    the whole grid (see :class:`~zoo.errors.Unsound`).

    Returns:
        ``density`` ``(96, 96)`` of the model at the cells' centres, ``data`` ``(96, 96)``, the histogram of
        the training data as a density (both float16, rows from the lowest y up), and ``extent``: x and y at
        the outer edges, ``(low, high, low, high)``.
    """
    if spec.shape != (2,) or spec.levels is not None or declared(model).likelihood in (None, "none"):
        return None
    points = splits["train"].double()
    low, high = points.min(0).values, points.max(0).values
    centre, half = (low + high) / 2, float((high - low).max()) * (0.5 + MARGIN)
    edges = torch.linspace(-half, half, SIDE + 1, dtype=torch.float64)
    middle = (edges[:-1] + edges[1:]) / 2
    y, x = torch.meshgrid(middle + centre[1], middle + centre[0], indexing="ij")
    try:
        values = log_probs(model, torch.stack([x.flatten(), y.flatten()], 1).float(), batch_size)
    except Unsound:  # the grid reaches beyond the data, where a model's density may fail
        return None
    bins = [(edges + c).numpy() for c in (centre[1], centre[0])]
    counts, _, _ = np.histogram2d(points[:, 1].numpy(), points[:, 0].numpy(), bins=bins, density=True)
    extent = [centre[0] - half, centre[0] + half, centre[1] - half, centre[1] + half]
    return {
        "density": values.exp().view(SIDE, SIDE).numpy().astype(np.float16),
        "data": counts.astype(np.float16),
        "extent": np.array([float(e) for e in extent], np.float32),
    }
