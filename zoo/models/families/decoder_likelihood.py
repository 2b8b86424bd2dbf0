"""The last step of a latent variable model: p(x | z), independently for each dimension."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.data.spec import DataSpec
from zoo.models.core import rng
from zoo.models.core.distributions import gaussian_log_prob
from zoo.models.core.functional import from_symmetric, soft_bound, sum_event, to_symmetric

SMALLEST_BIN_SCALE = 0.1  # logistic scale, in bins: its own bin then holds 98.7 % of a pixel's mass
SMALLEST_STD, LARGEST_STD = 1e-3, 1e3  # Gaussian, in the data's units


class Observation:
    """A location and a scale for each dimension of an example.

    - integer data: the mass that a logistic of this location and scale puts on the cell [k - 1/2, k + 1/2);
      the first and the last level take the tails too, so the masses sum to one (Salimans et al. 2017,
      section 2.1). The scale lies between 0.1 cells and ``levels`` cells.
    - continuous data: a Gaussian of this mean and standard deviation, the latter within [1e-3, 1e3] in the
      data's units; without the floor the likelihood of degenerate data has no upper bound.

    Networks speak and hear in [-1, 1] where the data are integers, and in the data's units elsewhere.
    """

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    def centre(self, x: Tensor) -> Tensor:
        """What a network is shown: integers to [-1, 1], continuous values as they are."""
        return to_symmetric(x, self.spec.levels)

    def parameters(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Location and log scale in data space ``(B, *shape)`` from a network's ``(B, 2 shape[0], ...)``."""
        location, raw = output.chunk(2, 1)
        levels = self.spec.levels
        if levels is None:
            return location, soft_bound(raw, math.log(SMALLEST_STD), math.log(LARGEST_STD))
        location = from_symmetric(location, levels)
        return location, soft_bound(raw, math.log(SMALLEST_BIN_SCALE), math.log(levels))

    def log_prob(self, x: Tensor, location: Tensor, log_scale: Tensor) -> Tensor:
        """log p(x | z), ``(B,)`` nats."""
        if self.spec.levels is None:
            return gaussian_log_prob(x, location, log_scale)
        return sum_event(discretised_logistic_log_prob(x, location, log_scale, self.spec.levels))

    def sample(self, location: Tensor, log_scale: Tensor, sample_pixels: bool) -> Tensor:
        """A draw; of integer data its location, rounded, unless ``sample_pixels``."""
        if self.spec.levels is None:
            return location + log_scale.exp() * rng.normal(location)
        if sample_pixels:  # the inverse of the logistic's distribution function
            location = location + log_scale.exp() * torch.logit(rng.uniform(location))
        return self.spec.quantise(location)


def discretised_logistic_log_prob(x: Tensor, mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """Log mass of the level ``x`` under a logistic cut into unit cells, elementwise, in nats.

    With a = (x + 1/2 - mean)/s and b = (x - 1/2 - mean)/s, and S the logistic function,

        log(S(a) - S(b)) = log S(a) + log S(-b) + log(1 - e^{-1/s}),

    a sum in which nothing cancels, however far the tail. Level 0 has the lower tail (S(b) = 0) and level
    ``levels - 1`` the upper one (S(a) = 1).

    Args:
        x: integers ``0..levels-1`` in a floating dtype.
        mean: location, in levels.
        log_scale: log of the scale, in levels.
        levels: number of levels, at least 2.
    """
    precision = (-log_scale).exp()
    below = F.logsigmoid((x + 0.5 - mean) * precision)
    above = F.logsigmoid((mean - x + 0.5) * precision)
    inside = below + above + torch.log(-torch.expm1(-precision))
    return torch.where(x <= 0, below, torch.where(x >= levels - 1, above, inside))
