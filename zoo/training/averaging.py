"""Averaged weights: an exponential moving average of a model's weights over the updates."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel


def averaged_copy(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of a model whose ``update_parameters(model)`` moves its weights towards the model's.

    At update t = 1, 2, ... the average becomes ``d * average + (1 - d) * weights`` with
    ``d = min(decay, (1 + t) / (10 + t))``, so that it forgets the start sooner. Buffers are copied.

    Args:
        model: the model; its copy takes no gradients.
        decay: the largest d, in (0, 1).
    """

    def average(means: Any, values: Any, update: Any) -> None:
        t = int(update)
        weight = 1 - min(decay, (1 + t) / (10 + t))
        for mean, value in zip(means, values, strict=True):
            mean.lerp_(value, weight)

    copy = AveragedModel(model, multi_avg_fn=average).requires_grad_(False)
    copy.n_averaged.fill_(1)  # at 0 torch would copy the weights after the first update
    return copy
