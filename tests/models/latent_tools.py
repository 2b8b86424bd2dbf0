"""Tools for tests of latent variable models: all tiny images, averaged bounds, quadrature."""

from __future__ import annotations

import itertools
import math
from typing import TypeVar

import torch
from torch import Tensor, nn

from zoo.models.core import rng
from zoo.models.families.latent import LatentVariableModel

M = TypeVar("M", bound=nn.Module)


def all_images() -> Tensor:
    return torch.tensor(list(itertools.product(range(4), repeat=4)), dtype=torch.float64).view(-1, 1, 2, 2)


@torch.no_grad()
def drawn(model: LatentVariableModel, x: Tensor, draws: int) -> Tensor:
    """Return log_prob under independent noise, ``(draws, B)``."""
    with rng.keyed(rng.keys(1, count=draws * len(x))):
        return model.log_prob(torch.cat([x] * draws)).view(draws, len(x))


def averaged(model: LatentVariableModel, x: Tensor, draws: int) -> Tensor:
    """Return the mean of log_prob over independent noise for each example, ``(B,)``."""
    return drawn(model, x, draws).mean(0)


def moved(model: M, scale: float = 0.3) -> M:
    """Return the model in float64 with random numbers added to all parameters, in evaluation mode."""
    model = model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model


def plane(reach: float, steps: int) -> tuple[Tensor, float]:
    """Return the points of a square grid ``(steps^2, 2)`` and the log of the area of one cell."""
    axis = torch.linspace(-reach, reach, steps, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), 2 * math.log(float(axis[1] - axis[0]))


def bounds(model: LatentVariableModel, x: Tensor) -> list[tuple[float, float]]:
    """Return the mean bound over ``x`` and its standard error for K = 1, 8 and 64 importance samples."""
    values_by_k = []
    for copies, draws in ((1, 200), (8, 50), (64, 12)):
        model.importance_samples = copies
        values = drawn(model, x, draws).mean(1)
        values_by_k.append((float(values.mean()), float(values.std()) / math.sqrt(draws)))
    return values_by_k


def assert_ordered(means: list[tuple[float, float]], evidence: float) -> None:
    (elbo, e1), (iwae, e8), (tight, e64) = means
    assert elbo + 3 * (e1 + e8) < iwae + 1e-3
    assert iwae < tight + 3 * (e8 + e64)
    assert tight <= evidence + 4 * e64 + 1e-6
    assert evidence - tight < 0.25 * (evidence - elbo) + 4 * e64
