"""Activation normalisation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.models.bijections.base import Bijection, zeros
from zoo.models.core.distributed import moments

SMALLEST_STD = 1e-3  # a constant channel is scaled by at most 1000, and the log-determinant stays finite


class ActNorm(Bijection):
    """Activation normalisation z = (x + bias) exp(log_scale), one bias and scale for each channel.

    Kingma & Dhariwal 2018, section 3.1. The first training batch (of all processes together) sets bias and
    scale so that every channel of z has mean 0 and variance 1. A buffer records this, so a loaded layer is
    not set again. The inverse, evaluation and an empty batch set nothing.

    Args:
        channels: size of dimension 1 of the batch.
    """

    initialised: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.register_buffer("initialised", torch.tensor(False))
        self._known = False  # spares a look at the device at every step

    def starts(self) -> bool:
        """Return whether ``forward`` would set bias and scale from its batch."""
        if self.training and not self._known:
            self._known = bool(self.initialised)
        return self.training and not self._known

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.starts():
            self._initialise(x.detach())
            self._known = bool(self.initialised)
        scale = self.log_scale.exp()
        z = torch.addcmul(self._wide(self.bias * scale, x), x, self._wide(scale, x))
        return z, self._log_det(x)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.invert(z), -self._log_det(z)

    def invert(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return torch.addcmul(self._wide(-self.bias, z), z, self._wide((-self.log_scale).exp(), z))

    @torch.no_grad()
    def _initialise(self, x: Tensor) -> None:
        wide = torch.float64 if x.device.type != "mps" else torch.float32
        values = x.transpose(0, 1).flatten(1).to(wide)
        mean, variance, count = moments(values)  # over all processes, even if the part of this one is empty
        if not count:
            return
        if count < 2:
            raise ZooError(
                "Activation normalisation starts from the spread of the first batch, and one value has none; "
                "raise training.batch_size."
            )
        std = variance.sqrt().clamp(min=SMALLEST_STD)
        self.bias.copy_(-mean)
        self.log_scale.copy_(-std.log())
        self.initialised.fill_(True)

    def _log_det(self, x: Tensor) -> Tensor:
        total = zeros(x)
        return total + self.log_scale.sum(dtype=total.dtype) * x.shape[2:].numel()

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._known = False  # use the loaded flag

    @staticmethod
    def _wide(value: Tensor, x: Tensor) -> Tensor:
        return value.view(1, -1, *[1] * (x.ndim - 2))
