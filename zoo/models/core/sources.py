"""Sources of flow matching other than a standard normal."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.models.core import rng
from zoo.models.core.distributions import LOG_2PI, Distribution, StandardNormal

Source = Literal["normal", "moons"]
NOISE = 0.1  # deviation of the noise around the half circles, before scaling
SPREAD = 7.0  # deviation of all numbers after scaling
ANGLES = 512  # points of the density's integral along each half circle


class Moons(Distribution):
    """Two half circles with normal noise of deviation 0.1, centred and scaled to a deviation of 7.

    The "moons" that Tong et al. 2024 transport to eight Gaussians (from De Bortoli et al. 2021): the upper
    half circle (cos a, sin a) and the lower one (1 - cos a, 1/2 - sin a), with a uniform in [0, pi], less the
    mean of all coordinates and divided by their common deviation. Here both are those of the distribution,
    there those of the points drawn. The density is the mean of normals along the half circles, by the
    midpoint rule with 512 angles each.
    """

    centres: Tensor

    def __init__(self) -> None:
        super().__init__()
        angle = (torch.arange(ANGLES, dtype=torch.float64) + 0.5) * (math.pi / ANGLES)
        points = half_circles(torch.cat([angle, angle]), torch.arange(2 * ANGLES) >= ANGLES)
        self.mean = 3 / 8  # of the coordinates: ((0 + 1)/2 + (2/pi + 1/2 - 2/pi)/2) / 2
        self.scale = SPREAD / math.sqrt(float((points - self.mean).square().mean()) + NOISE**2)
        self.register_buffer("centres", ((points - self.mean) * self.scale).float(), persistent=False)

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        deviation = self.scale * NOISE
        squares = torch.cdist(z, self.centres.to(z)).square() / deviation**2
        constant = LOG_2PI + 2 * math.log(deviation) + math.log(2 * ANGLES)
        return (-0.5 * squares).logsumexp(1) - constant

    def sample(self, n: int, temperature: float = 1.0, context: Tensor | None = None) -> Tensor:
        like = self.centres
        uniform = rng.uniform(like.new_empty(n, 2))
        points = half_circles(math.pi * uniform[:, 0], uniform[:, 1] < 0.5)
        noise = temperature * NOISE * rng.normal(like.new_empty(n, 2))
        return (points + noise - self.mean) * self.scale


def half_circles(angle: Tensor, lower: Tensor) -> Tensor:
    """Return points ``(N, 2)`` at angles ``(N,)`` of the upper half circle, or of the lower one."""
    cos, sin = angle.cos(), angle.sin()
    return torch.where(lower[:, None], torch.stack([1 - cos, 0.5 - sin], 1), torch.stack([cos, sin], 1))


def make_source(source: Source, shape: tuple[int, ...]) -> Distribution:
    """Return a source by name, for events of the given shape.

    Raises:
        ZooError: ``moons`` for data that are not points of the plane.
    """
    if source == "normal":
        return StandardNormal(shape)
    if tuple(shape) != (2,):
        raise ZooError(f"model.source=moons is a distribution of the plane; the data have the shape {shape}.")
    return Moons()
