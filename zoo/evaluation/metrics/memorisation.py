"""``memorisation/<extractor>``: whether samples lie closer to the training set than unseen data does."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.evaluation.context import Context
from zoo.evaluation.features import to_uint8
from zoo.evaluation.metrics import Value, metric
from zoo.evaluation.neighbours import nearest

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@metric(
    "memorisation", direction="none", floor="val", needs=("samples", "pixels", "features", "training set")
)
def memorisation(context: Context) -> Value:
    """Probability that a sample is closer to its nearest training example than a test example is to its own.

    0.5: as far as unseen data, nothing memorised; 1: every sample closer than any unseen example. The rank
    statistic of Meehan et al. (2020), over the whole space. It ranks no models, since noise, far from
    everything, has 0. ``copies`` are the samples that equal a training image pixel by pixel.
    """
    train = context.features("train")
    ours, held_out = (nearest(context.few(name), train) for name in ("samples", "test"))
    value, error, z = closer(ours, held_out)
    levels = torch.tensor(QUANTILES, dtype=torch.float64)
    return Value(
        value,
        error,
        n=len(ours),
        details={
            "null": 0.5,
            "z": z,
            "reference_n": len(held_out),
            "training_n": len(train),
            "copies": copies(context),
            "closer_than_95%_of_unseen": (ours < held_out.quantile(0.05)).double().mean().item(),
            "quantiles": list(QUANTILES),
            "nearest_of_samples": ours.quantile(levels).tolist(),
            "nearest_of_unseen": held_out.quantile(levels).tolist(),
        },
    )


def closer(x: Tensor, y: Tensor) -> tuple[float, float, float]:
    """P(x < y) + P(x = y) / 2 over all pairs, its standard error (DeLong et al. 1988), Mann & Whitney's z.

    z is of the hypothesis that both have one distribution, positive where ``x`` are the smaller.

    Args:
        x: ``(N,)``, N at least 2.
        y: ``(M,)``, M at least 2.
    """
    n, m = len(x), len(y)
    if min(n, m) < 2:
        raise ZooError(f"A comparison of nearest neighbours needs two examples in each set; got {n} and {m}.")
    placed_x, placed_y = _above(x, y), 1 - _above(y, x)
    value = placed_x.mean().item()
    error = math.sqrt(placed_x.var().item() / n + placed_y.var().item() / m)
    return value, error, (value - 0.5) / math.sqrt((n + m + 1) / (12 * n * m))


def _above(x: Tensor, y: Tensor) -> Tensor:
    """For each of ``x``, the share of ``y`` above it, ties by half."""
    ordered = y.sort().values
    below, upto = (torch.searchsorted(ordered, x, right=right) for right in (False, True))
    return 1 - (below + upto).double() / (2 * len(y))


def copies(context: Context) -> int:
    """Samples that equal, as bytes, an image of the whole training split."""
    levels = context.spec.levels
    assert levels is not None
    samples = {_digest(image) for image in context.pixels("samples").numpy()}
    known: set[bytes] = set()
    for images in context.splits["train"].split(10_000):  # the split may be larger than the memory
        known |= samples.intersection(_digest(image) for image in to_uint8(images, levels).numpy())
    return sum(_digest(image) in known for image in context.pixels("samples").numpy())


def _digest(image: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
