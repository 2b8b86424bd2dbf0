"""The parts of a latent variable model's bound over the whole test set."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from zoo.evaluation.context import Context, subset
from zoo.evaluation.device import placement
from zoo.models.core.capabilities import HasBoundParts


def parts(context: Context) -> tuple[Tensor, Tensor]:
    """Return E_q log p(x | z), by one sample of z, and KL(q || p) of test examples, ``(N,)`` each, nats."""

    def compute() -> tuple[Tensor, Tensor]:
        assert context.model is not None
        device, dtype = placement(context.model)
        model = cast(HasBoundParts, context.model)
        settings = context.settings
        rows = subset(context.examples("test"), settings.likelihood_examples, settings.seed)
        batches = [
            model.bound_parts(part.to(device=device, dtype=dtype)) for part in rows.split(settings.batch_size)
        ]
        reconstruction, kl = (torch.cat(list(values)).double().cpu() for values in zip(*batches, strict=True))
        return reconstruction, kl

    return context.once(("parts of the bound", "test"), compute)
