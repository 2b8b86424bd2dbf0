"""The likelihood p(x | z) of a latent variable model, independent over the dimensions of x."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.data.spec import DataSpec
from zoo.models.core import rng
from zoo.models.core.distributions import gaussian_log_prob
from zoo.models.core.functional import from_symmetric, soft_bound, sum_event, to_symmetric
from zoo.models.families.binary import bernoulli_log_prob, sample_bits

SMALLEST_BIN_SCALE = 0.1  # smallest logistic scale, in bins; the mean's bin then has 98.7 % of the mass
SMALLEST_STD, LARGEST_STD = 1e-3, 1e3  # range of the Gaussian's deviation, in the data's units


class DecoderLikelihood:
    """A decoder's distribution p(x | z), with a location and a scale for each dimension of an example.

    - integer data: a discretised logistic, the mass that a logistic of this location and scale puts on the
      bin [k - 1/2, k + 1/2). The first and the last level include the tails, so the masses sum to one
      (Salimans et al. 2017, arXiv:1701.05517, section 2.1). The scale lies between 0.1 bins and ``levels``.
    - continuous data: a Gaussian with a standard deviation within [1e-3, 1e3] in the data's units. Without
      this lower bound, the likelihood of degenerate data would be unbounded.

    Inputs and outputs of networks lie in [-1, 1] for integer data, and in the data's units otherwise.
    """

    outputs: ClassVar[int] = 2  # of a network, for each dimension

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec

    def to_network(self, x: Tensor) -> Tensor:
        """Map data to the input of a network: integers to [-1, 1], continuous values unchanged."""
        return to_symmetric(x, self.spec.levels)

    def parameters(self, output: Tensor) -> tuple[Tensor, ...]:
        """Return location and log scale ``(B, *shape)`` in data space.

        Args:
            output: a network's output ``(B, outputs * shape[0], *shape[1:])``.
        """
        location, raw = output.chunk(2, 1)
        levels = self.spec.levels
        if levels is None:
            return location, soft_bound(raw, math.log(SMALLEST_STD), math.log(LARGEST_STD))
        location = from_symmetric(location, levels)
        return location, soft_bound(raw, math.log(SMALLEST_BIN_SCALE), math.log(levels))

    def log_prob(self, x: Tensor, *parameters: Tensor) -> Tensor:
        """Return log p(x | z), ``(B,)``, in nats."""
        location, log_scale = parameters
        if self.spec.levels is None:
            return gaussian_log_prob(x, location, log_scale)
        return sum_event(discretised_logistic_log_prob(x, location, log_scale, self.spec.levels))

    def sample(self, *parameters: Tensor, sample_pixels: bool) -> Tensor:
        """Sample x given z; for integer data without ``sample_pixels``, return the rounded location."""
        location, log_scale = parameters
        if self.spec.levels is None:
            return location + log_scale.exp() * rng.normal(location)
        if sample_pixels:  # the inverse of the logistic's distribution function
            location = location + log_scale.exp() * torch.logit(rng.uniform(location))
        return self.spec.quantise(location)


class BernoulliLikelihood(DecoderLikelihood):
    """A decoder's distribution of binary data: independent Bernoullis, parametrised by their log-odds.

    The input of a network is the data, 0 or 1; its output are the log-odds. Without ``sample_pixels`` a
    sample is the more likely value of each dimension.
    """

    outputs = 1

    def to_network(self, x: Tensor) -> Tensor:
        return x

    def parameters(self, output: Tensor) -> tuple[Tensor, ...]:
        return (output,)

    def log_prob(self, x: Tensor, *parameters: Tensor) -> Tensor:
        (logits,) = parameters
        return bernoulli_log_prob(x, logits)

    def sample(self, *parameters: Tensor, sample_pixels: bool) -> Tensor:
        (logits,) = parameters
        return sample_bits(logits, 1.0 if sample_pixels else 0.0)


def discretised_logistic_log_prob(x: Tensor, mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """Return the log mass of the level ``x`` under a discretised logistic, elementwise, in nats.

    With a = (x + 1/2 - mean)/s, b = (x - 1/2 - mean)/s and the logistic function S,

        log(S(a) - S(b)) = log S(a) + log S(-b) + log(1 - e^{-1/s}),

    a sum without cancellation, even far in the tails. Level 0 includes the lower tail (S(b) = 0) and level
    ``levels - 1`` the upper one (S(a) = 1).

    Args:
        x: integers ``0..levels-1`` in a floating dtype.
        mean: location, in levels.
        log_scale: log of the scale, in levels.
        levels: number of levels, at least 2.

    >>> x = torch.arange(4.0)
    >>> mass = discretised_logistic_log_prob(x, torch.tensor(1.3), torch.tensor(0.5), levels=4).exp()
    >>> float(mass.sum().round(decimals=6))
    1.0
    """
    precision = (-log_scale).exp()
    below = F.logsigmoid((x + 0.5 - mean) * precision)
    above = F.logsigmoid((mean - x + 0.5) * precision)
    inside = below + above + torch.log(-torch.expm1(-precision))
    return torch.where(x <= 0, below, torch.where(x >= levels - 1, above, inside))
