"""Averaged weights: an exponential moving average of a model's weights over the updates."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel

from zoo.models.bijections.batchnorm import BatchNorm

_NORMS = (_BatchNorm, BatchNorm)  # the first is the base of all of torch's, SyncBatchNorm too


def averaged_copy(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of a model whose ``update_parameters(model)`` moves its weights towards the model's.

    At update t = 1, 2, ... the average becomes ``d * average + (1 - d) * weights`` with
    ``d = min(decay, (1 + t) / (10 + t))``, so that the initial weights soon have no part in it. Buffers are
    copied.

    Args:
        model: the model; its copy takes no gradients.
        decay: the largest d, in (0, 1).
    """

    return _Average(model, decay)


class _Average(AveragedModel):
    """The copy that :func:`averaged_copy` returns.

    It counts its updates in a Python number too: reading torch's counter would make the host wait for the
    device.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model)
        self.decay = decay
        self.requires_grad_(False)
        self.n_averaged.fill_(1)
        self._updates: int | None = None

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        t = self._updates = int(self.n_averaged) if self._updates is None else self._updates
        weight = 1 - min(self.decay, (1 + t) / (10 + t))
        torch._foreach_lerp_(list(self.module.parameters()), list(model.parameters()), weight)
        if buffers := list(self.module.buffers()):
            torch._foreach_copy_(buffers, list(model.buffers()))
        self.n_averaged += 1
        self._updates += 1

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._updates = None
        super()._load_from_state_dict(*args, **kwargs)


def running_norms(model: nn.Module) -> list[nn.Module]:
    """Return a model's layers of batch normalisation that keep running statistics for evaluation."""
    layers = [layer for layer in model.modules() if isinstance(layer, _NORMS)]
    return [
        layer
        for layer in layers
        if (not layer.needs_training_set if isinstance(layer, BatchNorm) else layer.track_running_stats)
    ]


@torch.no_grad()
def collect_statistics(model: nn.Module, passes: Iterable[Callable[[], object]]) -> None:
    """Set the running statistics of a model to their means over forward passes, each with a batch.

    A copy by :func:`averaged_copy` needs this, since its buffers are copies of those of the raw weights.
    torch's ``update_bn`` does the same, but for torch's own layers alone and with the whole model in training
    mode.

    Args:
        model: the model, in evaluation mode; only its normalisation layers are put into training mode.
        passes: functions, each of which makes a forward pass of one batch.
    """
    norms: list[Any] = running_norms(model)
    momenta = [norm.momentum for norm in norms]
    try:
        for count, forward in enumerate(passes, 1):
            for norm in norms:
                norm.train()
                norm.momentum = 1 / count  # so that the running average is the mean so far
            forward()
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.eval()
            norm.momentum = momentum
