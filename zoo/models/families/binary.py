"""Parts of models of binary data: Bernoulli log-probabilities and samples."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.models.core import rng
from zoo.models.core.functional import sum_event


def bernoulli_log_prob(x: Tensor, logits: Tensor) -> Tensor:
    """Return log prod_i p_i^{x_i} (1 - p_i)^{1 - x_i} with p = sigmoid(logits), ``(B,)``, in nats.

    >>> bernoulli_log_prob(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2)).exp()
    tensor([0.2500])
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return -sum_event(F.binary_cross_entropy_with_logits(wide, x.to(wide), reduction="none"))


def sample_bits(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Draw bits with log-odds ``logits / temperature``; at temperature 0 the more likely ones, 1 for a tie.

    Args:
        logits: ``(B, ...)``; the noise of each row is its own, see :mod:`zoo.models.core.rng`.
        temperature: at least 0.
    """
    if temperature == 0:
        # noise would have no effect; it counts as drawn, so that later noise is the same
        rng.seek(rng.tell() + 1)
        return threshold(logits, logits, 0)
    return threshold(logits, rng.uniform(logits), temperature)


def threshold(logits: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the bits that uniform numbers choose, each 1 with log-odds ``logits / temperature``."""
    if temperature == 0:
        return (logits >= 0).to(logits)
    logits = logits if temperature == 1 else logits / temperature
    return (uniform < torch.sigmoid(logits)).to(logits)
