"""The plane's data sets of Tong et al. 2024, table 2: sources and targets of flow matching.

They are drawn as in the authors' program (atong01/conditional-flow-matching, ``runner/``), which seeds them
anew in each run; here a run's data depend on ``data_seed``. These are not the densities of
:mod:`zoo.data.toys`, though two of the names agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from zoo.data.module import DataModule
from zoo.data.spec import DataSpec
from zoo.errors import unknown

Generator = np.random.Generator


def normal(n: int, rng: Generator) -> np.ndarray:
    """Draw from the standard normal, the source of three of the four pairs."""
    return rng.normal(size=(n, 2))


def wide_gaussians(n: int, rng: Generator) -> np.ndarray:
    """Draw from eight Gaussians of deviation 1 on a circle of radius 5, as many points from each.

    As in torchdyn, each centre is off its place by normal noise of deviation 1e-4. If ``n`` is not a multiple
    of 8, the first centres have a point more.
    """
    centre = np.arange(n) % 8
    angle = (centre + 1) * (math.pi / 4)
    offsets = 1e-4 * rng.normal(size=(8, 2))
    return 5 * np.stack([np.cos(angle), np.sin(angle)], 1) + rng.normal(size=(n, 2)) + offsets[centre]


def thin_moons(n: int, rng: Generator) -> np.ndarray:
    """Draw scikit-learn's moons with noise of deviation 0.05, times 2, the first coordinate less 1."""
    return 2 * _moons(n, rng, 0.05) - np.array([1.0, 0.0])


def s_curve(n: int, rng: Generator) -> np.ndarray:
    """Draw coordinates 0 and 2 of scikit-learn's S curve with noise of deviation 0.05, times 1.5."""
    t = 3 * math.pi * (rng.uniform(0, 1, n) - 0.5)
    curve = np.stack([np.sin(t), np.sign(t) * (np.cos(t) - 1)], 1)
    return 1.5 * (curve + rng.normal(0, 0.05, (n, 2)))


def bridge_moons(n: int, rng: Generator) -> np.ndarray:
    """Draw moons with noise of deviation 0.1, scaled to 7 by one mean and deviation of all numbers."""
    x = _moons(n, rng, 0.1)
    return (x - x.mean()) / x.std(ddof=1) * 7


def bridge_gaussians(n: int, rng: Generator) -> np.ndarray:
    """Draw from eight Gaussians of deviation 1.5 on a circle of radius 12 (three times 0.5 and 4)."""
    angle = rng.integers(0, 8, n) * (math.pi / 4)
    return 3 * (4 * np.stack([np.cos(angle), np.sin(angle)], 1) + rng.normal(0, 0.5, (n, 2)))


def _moons(n: int, rng: Generator, noise: float) -> np.ndarray:
    """Draw scikit-learn's moons: points at equal angles on two half circles, then noise."""
    upper, lower = n // 2, n - n // 2
    a, b = np.linspace(0, math.pi, upper), np.linspace(0, math.pi, lower)
    points = np.concatenate(
        [np.stack([np.cos(a), np.sin(a)], 1), np.stack([1 - np.cos(b), 0.5 - np.sin(b)], 1)]
    )
    return points + rng.normal(0, noise, (n, 2))


# Source and target of each pair.
PAIRS: dict[str, tuple[Callable[[int, Generator], np.ndarray], Callable[[int, Generator], np.ndarray]]] = {
    "normal_8gaussians": (normal, wide_gaussians),
    "normal_moons": (normal, thin_moons),
    "normal_scurve": (normal, s_curve),
    "moons_8gaussians": (bridge_moons, bridge_gaussians),
}


class PlanarPair(DataModule):
    """A target distribution of the plane, with a source that flow matching transports to it.

    Source and target are each drawn once, shuffled and cut into the splits.

    Args:
        name: one of :data:`PAIRS`.
        root: unused; the points are drawn.
        train, val, test: numbers of points.
        data_seed: seed of the draw.

    Attributes:
        sources: points of the source, of the same number, by split.

    Raises:
        ZooError: no pair has this name.
    """

    def __init__(
        self,
        name: str,
        root: str | None = None,
        train: int = 10_000,
        val: int = 1_000,
        test: int = 1_000,
        data_seed: int = 0,
    ) -> None:
        super().__init__(name, root)
        if name not in PAIRS:
            raise unknown("pair of distributions", name, PAIRS)
        self.sizes = {"train": train, "val": val, "test": test}
        self.data_seed = data_seed
        self.split_rule = f"drawn once and shuffled, data seed {data_seed}"
        self.sources: dict[str, torch.Tensor] = {}

    def read(self) -> None:
        self.spec = DataSpec((2,))
        for index, (sampler, splits) in enumerate(
            zip(PAIRS[self.name], (self.sources, self.splits), strict=True)
        ):
            rng = np.random.default_rng([self.data_seed, index])
            points = rng.permutation(sampler(sum(self.sizes.values()), rng)).astype(np.float32)
            cuts = np.cumsum([*self.sizes.values()])[:-1]
            for split, part in zip(self.sizes, np.split(points, cuts), strict=True):
                splits[split] = torch.from_numpy(np.ascontiguousarray(part))
