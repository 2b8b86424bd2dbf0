"""Base distributions: where a flow's latents come from."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from zoo.models import noise
from zoo.models.bijections.base import sum_event

LOG_2PI = math.log(2 * math.pi)


class StandardNormal(nn.Module):
    """Independent standard normals over an event of the given shape."""

    _like: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.register_buffer("_like", torch.zeros(()), persistent=False)  # follows .to(device, dtype)

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density of ``z`` ``(B, *shape)`` in nats, ``(B,)``."""
        return -0.5 * (sum_event(z.square()) + z[0].numel() * LOG_2PI) if len(z) else z.new_zeros(0)

    def sample(self, n: int, temperature: float = 1.0, context: Tensor | None = None) -> Tensor:
        """Draw ``(n, *shape)``; ``temperature`` scales the standard deviation."""
        return temperature * noise.normal(self._like.expand(n, *self.shape))


def gaussian_log_prob(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Log-density of a diagonal Gaussian, summed over the event, ``(B,)`` nats."""
    return sum_event(-0.5 * (((x - mean) * (-log_std).exp()).square() + LOG_2PI) - log_std)
