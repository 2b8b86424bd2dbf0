"""``memorisation/<extractor>``: whether samples lie closer to the training set than unseen data does."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.evaluation.base import FeatureExtractor, FeatureMetric, Value, joined
from zoo.evaluation.context import Context
from zoo.evaluation.features import to_uint8
from zoo.evaluation.metrics import metric
from zoo.evaluation.neighbours import nearest

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Memorisation(FeatureMetric):
    r"""Probability that a generated image is nearer to the training set than an unseen real image is.

    .. math:: P\big(d(x) < d(r)\big) + \tfrac12 P\big(d(x) = d(r)\big)

    with d the distance, between features, to the nearest training image, x generated and r unseen. 0.5:
    generated images are as far from the training set as unseen ones; 1: every one is closer than any unseen
    image. It does not rank models, since noise, far from everything, has 0. The rank statistic is that of
    Meehan et al. (2020), over the whole space.

    ``update(images, real=True)`` adds unseen images (test or validation), ``real=True, training=True`` the
    training images, ``real=False`` generated ones.

    >>> import torch
    >>> metric = Memorisation()
    >>> metric.update(torch.tensor([[0.0], [9.0]]), real=True, training=True)
    >>> metric.update(torch.tensor([[2.0], [6.0]]), real=True)
    >>> metric.update(torch.tensor([[0.0], [8.5], [4.0]]), real=False)
    >>> round(metric.compute().item(), 3)
    0.667
    """

    plot_lower_bound, plot_upper_bound = 0.0, 1.0
    real_training: list[Tensor]

    def __init__(self, feature_extractor: FeatureExtractor = None, **kwargs: Any) -> None:
        super().__init__(feature_extractor, **kwargs)
        self.add_state("real_training", [], dist_reduce_fx="cat")

    def update(self, images: Tensor, real: bool, training: bool = False) -> None:
        """Add images ``(B, C, H, W)``, or features ``(B, D)`` where there is no extractor.

        Args:
            images: the batch.
            real: whether the images are real or generated.
            training: whether the real images are from the training set; otherwise they are unseen.
        """
        if real and training:
            self.real_training.append(self._rows(images))
        else:
            super().update(images, real)

    def _estimate(self) -> Value:
        train = joined(
            self.real_training,
            "Memorisation has no training examples: call update(x, real=True, training=True).",
        )
        ours, held_out = (nearest(x, train) for x in self._sets())
        value, error, z = closer(ours, held_out)
        levels = torch.tensor(QUANTILES, dtype=torch.float64, device=train.device)
        return Value(
            value,
            error,
            n=len(ours),
            details={
                "null": 0.5,
                "z": z,
                "reference_n": len(held_out),
                "training_n": len(train),
                "closer_than_95%_of_unseen": (ours < held_out.quantile(0.05)).double().mean().item(),
                "quantiles": list(QUANTILES),
                "nearest_of_samples": ours.quantile(levels).tolist(),
                "nearest_of_unseen": held_out.quantile(levels).tolist(),
            },
        )


@metric(
    "memorisation",
    direction="none",
    floor="val",
    draws=1,  # every draw searches the training set again
    needs=("samples", "pixels", "features", "training set"),
)
def memorisation(context: Context) -> Value:
    """Probability that a sample is closer to its nearest training example than a test example is to its own.

    0.5: samples are as far as unseen data, nothing is memorised; 1: every sample is closer than any unseen
    example. The rank statistic of Meehan et al. (2020), over the whole space. It ranks no models, since
    noise, far from everything, has 0. ``copies`` counts the samples that equal a training image pixel by
    pixel.
    """
    accumulator = Memorisation()
    accumulator.update(context.features("train"), real=True, training=True)
    accumulator.update(context.few("test"), real=True)
    accumulator.update(context.few("samples"), real=False)
    value = accumulator.estimate()
    return dataclasses.replace(value, details=value.details | {"copies": copies(context)})


def closer(x: Tensor, y: Tensor) -> tuple[float, float, float]:
    """Return P(x < y) + P(x = y) / 2 over all pairs, its standard error and Mann & Whitney's z.

    The error is by DeLong et al. (1988). z tests the hypothesis that both sets have the same distribution; it
    is positive if the ``x`` are smaller.

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
    """Return for each of ``x`` the share of ``y`` that is larger; ties count half."""
    ordered = y.sort().values
    below, upto = (torch.searchsorted(ordered, x, right=right) for right in (False, True))
    return 1 - (below + upto).double() / (2 * len(y))


def copies(context: Context) -> int:
    """Return the number of samples that equal, as bytes, an image of the whole training split."""
    levels = context.spec.levels
    assert levels is not None
    samples = {_digest(image) for image in context.pixels("samples").numpy()}
    known: set[bytes] = set()
    for images in context.splits["train"].split(10_000):  # the split may be larger than the memory
        known |= samples.intersection(_digest(image) for image in to_uint8(images, levels).numpy())
    return sum(_digest(image) in known for image in context.pixels("samples").numpy())


def _digest(image: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
