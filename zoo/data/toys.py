"""Two-dimensional densities that are known, so that a model's KL divergence from the data is, too.

The definitions are those in common use since FFJORD (Grathwohl et al. 2019), as densities: each example is an
independent draw (moons and circles at random angles, not on a fixed grid).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from zoo.checks import NotNegative, Seed, checked
from zoo.data.densities import log_density
from zoo.data.module import DataModule
from zoo.data.spec import DataSpec
from zoo.errors import unknown

Generator = np.random.Generator


def moons(n: int, rng: Generator) -> np.ndarray:
    """Draw from two half circles with noise of deviation 0.1, scaled by 2 and shifted."""
    upper = rng.integers(0, 2, n).astype(bool)
    angle = rng.uniform(0, math.pi, n)
    x = np.where(upper, np.cos(angle), 1 - np.cos(angle))
    y = np.where(upper, np.sin(angle), 0.5 - np.sin(angle))
    return 2 * (np.stack([x, y], 1) + rng.normal(0, 0.1, (n, 2))) + np.array([-1.0, -0.2])


def eight_gaussians(n: int, rng: Generator) -> np.ndarray:
    """Draw from eight equal Gaussians of deviation 0.5/1.414 on a circle of radius 4/1.414."""
    angle = rng.integers(0, 8, n) * (math.pi / 4)
    centres = 4 * np.stack([np.cos(angle), np.sin(angle)], 1)
    return (centres + rng.normal(0, 0.5, (n, 2))) / 1.414


def checkerboard(n: int, rng: Generator) -> np.ndarray:
    """Draw uniformly from the eight dark cells of a 4x4 board with cells of side 2."""
    x = rng.uniform(-2, 2, n)
    y = rng.uniform(0, 1, n) - 2 * rng.integers(0, 2, n) + np.floor(x) % 2
    return 2 * np.stack([x, y], 1)


def circles(n: int, rng: Generator) -> np.ndarray:
    """Draw from two circles of radii 3 and 1.5 with noise of deviation 0.24."""
    angle, radius = rng.uniform(0, 2 * math.pi, n), np.where(rng.integers(0, 2, n) == 0, 1.0, 0.5)
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return 3 * (points + rng.normal(0, 0.08, (n, 2)))


def rings(n: int, rng: Generator) -> np.ndarray:
    """Draw from four rings of radii 0.75, 1.5, 2.25 and 3 with equal mass and noise of deviation 0.08."""
    angle, radius = rng.uniform(0, 2 * math.pi, n), 0.75 * rng.integers(1, 5, n)
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return points + rng.normal(0, 0.08, (n, 2))


def pinwheel(n: int, rng: Generator) -> np.ndarray:
    """Draw from a pinwheel of five curved arms."""
    arm = rng.integers(0, 5, n)
    radial, tangential = 1 + 0.3 * rng.normal(size=n), 0.1 * rng.normal(size=n)
    angle = 2 * math.pi / 5 * arm + 0.25 * np.exp(radial)
    cos, sin = np.cos(angle), np.sin(angle)
    return 2 * np.stack([radial * cos - tangential * sin, radial * sin + tangential * cos], 1)


def two_spirals(n: int, rng: Generator) -> np.ndarray:
    """Draw from two arms of a spiral, with uniform and Gaussian noise."""
    t = np.sqrt(rng.uniform(0, 1, n)) * 540 * (2 * math.pi) / 360
    arm = np.stack([-np.cos(t) * t, np.sin(t) * t], 1) + 0.5 * rng.uniform(0, 1, (n, 2))
    sign = np.where(rng.integers(0, 2, n) == 0, 1.0, -1.0)
    return sign[:, None] * arm / 3 + rng.normal(0, 0.1, (n, 2))


def swissroll(n: int, rng: Generator) -> np.ndarray:
    """Draw from the planar Swiss roll with noise of deviation 1, divided by 5."""
    t = 1.5 * math.pi * (1 + 2 * rng.uniform(0, 1, n))
    return (np.stack([t * np.cos(t), t * np.sin(t)], 1) + rng.normal(0, 1, (n, 2))) / 5


def maf_figure1(n: int, rng: Generator) -> np.ndarray:
    """Draw x_2 ~ N(0, 4) and x_1 ~ N(x_2^2 / 4, 1) (Papamakarios et al. 2017, figure 1).

    In the order (x_2, x_1) both conditionals are Gaussian, in the order (x_1, x_2) they are not.
    """
    x2 = 2 * rng.normal(size=n)
    return np.stack([x2**2 / 4 + rng.normal(size=n), x2], 1)


# Sampler and differential entropy in nats: in closed form for the checkerboard (ln 32) and MAF's figure, by
# Monte Carlo (+-0.002) for the pinwheel, by quadrature (to 1e-5) for the others.
TOYS: dict[str, tuple[Callable[[int, Generator], np.ndarray], float]] = {
    "moons": (moons, 2.39388),
    "8gaussians": (eight_gaussians, 2.83188),
    "checkerboard": (checkerboard, math.log(32)),
    "circles": (circles, 3.26814),
    "rings": (rings, 2.62318),
    "pinwheel": (pinwheel, 2.318),
    "2spirals": (two_spirals, 2.64545),
    "swissroll": (swissroll, 2.66965),
    "maf_figure1": (maf_figure1, math.log(2 * math.pi * math.e) + math.log(2)),
}

_ANGLES = torch.arange(8) * (math.pi / 4)
MODES = {"8gaussians": (4 / 1.414 * torch.stack([_ANGLES.cos(), _ANGLES.sin()], 1), 0.5 / 1.414)}


class Toy(DataModule):
    """Points drawn from a named 2-D density, whose :attr:`log_density` and :attr:`entropy` (nats) are known.

    A mixture of Gaussians also has :attr:`modes`: centres ``(K, 2)`` and standard deviation.

    Raises:
        ZooError: no density has this name.
    """

    @checked("data")
    def __init__(
        self,
        name: str,
        root: str | Path | None = None,
        train: NotNegative = 10_000,
        val: NotNegative = 2_000,
        test: NotNegative = 10_000,
        data_seed: Seed = 0,
    ) -> None:
        super().__init__(name, root)
        if name not in TOYS:
            raise unknown("toy", name, TOYS)
        self.sizes = {"train": train, "val": val, "test": test}
        self.data_seed = data_seed
        self.split_rule = f"independent draws, data seed {data_seed}"
        self.entropy = TOYS[name][1]
        self.log_density = partial(log_density, name)
        self.modes = MODES.get(name)

    def read(self) -> None:
        self.spec = DataSpec((2,))
        sampler = TOYS[str(self.name)][0]
        for index, (split, n) in enumerate(self.sizes.items()):
            rng = np.random.default_rng([self.data_seed, index])
            self.splits[split] = torch.from_numpy(sampler(n, rng).astype(np.float32))
