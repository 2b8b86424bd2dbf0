"""The parts of a latent variable model's bound over the whole test set."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from zoo.evaluation.base import Value
from zoo.evaluation.context import Context, subset
from zoo.evaluation.likelihood import placement
from zoo.models.core.capabilities import HasBoundParts


def parts(context: Context) -> tuple[Tensor, Tensor]:
    """Return E_q log p(x | z), by one sample of z, and KL(q || p) of test examples, ``(N,)`` each, nats."""

    def compute() -> tuple[Tensor, Tensor]:
        assert context.model is not None
        device, dtype = placement(context.model)
        model = cast(HasBoundParts, context.model)
        settings = context.settings
        rows = subset(context.examples("test"), settings.likelihood_examples, settings.seed)
        found = [
            model.bound_parts(part.to(device=device, dtype=dtype)) for part in rows.split(settings.batch_size)
        ]
        reconstruction, kl = (torch.cat(list(values)).double().cpu() for values in zip(*found, strict=True))
        return reconstruction, kl

    return context.once(("parts of the bound", "test"), compute)


def mean(values: Tensor) -> Value:
    """Return the mean of values ``(N,)`` with its standard error."""
    error = float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else None
    return Value(float(values.mean()), error, n=len(values))
