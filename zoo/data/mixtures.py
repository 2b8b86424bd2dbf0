"""The ring and the grid of Gaussians on which mode collapse is measured (Lin et al. 2018, PacGAN)."""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
import torch

from zoo.data.densities import gaussians
from zoo.data.module import DataModule
from zoo.data.spec import DataSpec
from zoo.errors import unknown


def ring_centres() -> np.ndarray:
    """Return 8 points on the unit circle, ``(8, 2)``."""
    angle = np.arange(8) * (2 * math.pi / 8)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def grid_centres() -> np.ndarray:
    """Return the 25 points of {-4, -2, 0, 2, 4} squared, ``(25, 2)``."""
    return np.array([*itertools.product((-4.0, -2.0, 0.0, 2.0, 4.0), repeat=2)])


# Centres and the standard deviation of every Gaussian.
MIXTURES = {"ring_mixture": (ring_centres, 0.01), "grid_mixture": (grid_centres, 0.05)}


class PlanarMixture(DataModule):
    """Points of equally likely Gaussians on a ring or a grid: a fixed set of 100,000, as in PacGAN's program.

    Args:
        name: one of :data:`MIXTURES`.
        root: unused; the points are drawn.
        train, val, test: numbers of points.
        data_seed: seed of the draw.

    Raises:
        ZooError: no mixture has this name.
    """

    def __init__(
        self,
        name: str,
        root: str | None = None,
        train: int = 100_000,
        val: int = 2_500,
        test: int = 2_500,
        data_seed: int = 0,
    ) -> None:
        super().__init__(name, root)
        if name not in MIXTURES:
            raise unknown("mixture", name, MIXTURES)
        self.sizes, self.data_seed = {"train": train, "val": val, "test": test}, data_seed
        self.split_rule = f"independent draws, data seed {data_seed}"
        centres, self.deviation = MIXTURES[name]
        self.centres = centres()
        self.modes = (torch.from_numpy(self.centres.astype(np.float32)), self.deviation)
        self.log_density = partial(
            gaussians, centres=torch.from_numpy(self.centres).double(), deviation=self.deviation
        )
        self.entropy = math.log(len(self.centres)) + math.log(2 * math.pi * math.e * self.deviation**2)

    def read(self) -> None:
        self.spec = DataSpec((2,))
        for index, (split, n) in enumerate(self.sizes.items()):
            rng = np.random.default_rng([self.data_seed, index])
            points = self.centres[rng.integers(len(self.centres), size=n)]
            points = points + rng.normal(0, self.deviation, (n, 2))
            self.splits[split] = torch.from_numpy(points.astype(np.float32))
