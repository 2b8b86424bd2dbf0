"""The Fréchet distance between Gaussians fitted to two sets of features."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from zoo.errors import ZooError


class FrechetAccumulator:
    """Mean and covariance of features, gathered batch by batch in float64.

    The state is three sums, so that parts gathered apart (batches, devices, processes) merge into exactly
    the statistics of the whole.

    Attributes:
        n: number of features seen.
        sum: their sum, ``(D,)``.
        outer: the sum of their outer products, ``(D, D)``.
    """

    def __init__(self, dim: int) -> None:
        self.n = 0
        self.sum = torch.zeros(dim, dtype=torch.float64)
        self.outer = torch.zeros(dim, dim, dtype=torch.float64)

    def update(self, features: Tensor) -> FrechetAccumulator:
        """Add features ``(B, D)``."""
        if features.ndim != 2 or features.shape[1] != len(self.sum):
            raise ZooError(f"Statistics of {len(self.sum)} features were given {tuple(features.shape)}.")
        features = features.detach().to(device="cpu", dtype=torch.float64)
        self.n += len(features)
        self.sum += features.sum(0)
        self.outer += features.T @ features
        return self

    def merge(self, other: FrechetAccumulator) -> FrechetAccumulator:
        """Add what another accumulator has seen, which may be nothing."""
        if len(other.sum) != len(self.sum):
            raise ZooError(f"Statistics of {len(self.sum)} and {len(other.sum)} features cannot be merged.")
        self.n += other.n
        self.sum += other.sum
        self.outer += other.outer
        return self

    def state_dict(self) -> dict[str, Tensor]:
        """The three sums, for saving or for sending to another process."""
        return {"n": torch.tensor(self.n), "sum": self.sum.clone(), "outer": self.outer.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up a saved state."""
        self.n, self.sum, self.outer = int(state["n"]), state["sum"].clone(), state["outer"].clone()

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean ``(D,)`` and unbiased covariance ``(D, D)``.

        Raises:
            ZooError: features that are not finite, at most as many as dimensions, or all the same.
        """
        dim = len(self.sum)
        if not bool(torch.isfinite(self.outer).all() and torch.isfinite(self.sum).all()):
            raise ZooError("A Fréchet distance needs finite features; some are NaN or infinite.")
        if self.n <= dim:
            raise ZooError(
                f"A Fréchet distance of {dim}-dimensional features needs more than {dim} examples in each "
                f"set; got {self.n}. Raise evaluation.samples, or compare on more data."
            )
        mean = self.sum / self.n
        covariance = (self.outer - self.n * torch.outer(mean, mean)) / (self.n - 1)
        if covariance.trace() <= 1e-12 * (self.outer.trace() / self.n):
            raise ZooError(
                f"All {self.n} examples have the same features; a constant set has no Fréchet distance."
            )
        return mean, (covariance + covariance.T) / 2


def frechet_distance(mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor) -> float:
    r"""|m1 - m2|^2 + tr(C1 + C2 - 2 (C1^{1/2} C2 C1^{1/2})^{1/2}), the squared 2-Wasserstein distance of two
    Gaussians (Dowson & Landau 1982), as Heusel et al. (2017, eq. 6) use it on Inception's features.

    Both roots come from symmetric eigendecompositions in float64, which unlike the root of C1 C2 have no
    imaginary parts and suffer no singular covariance.

    Args:
        mean1, mean2: ``(D,)``.
        covariance1, covariance2: symmetric, positive semidefinite, ``(D, D)``.

    Raises:
        ZooError: values that are not finite, or shapes that do not fit.
    """
    m1, c1, m2, c2 = (
        t.detach().to(device="cpu", dtype=torch.float64) for t in (mean1, covariance1, mean2, covariance2)
    )
    if m1.shape != m2.shape or c1.shape != c2.shape or c1.shape != (len(m1), len(m1)):
        raise ZooError(
            f"Fréchet statistics of unlike shapes: means {tuple(m1.shape)} and {tuple(m2.shape)}, "
            f"covariances {tuple(c1.shape)} and {tuple(c2.shape)}."
        )
    if not all(bool(torch.isfinite(t).all()) for t in (m1, c1, m2, c2)):
        raise ZooError("A Fréchet distance needs finite statistics; some are NaN or infinite.")
    values, vectors = torch.linalg.eigh((c1 + c1.T) / 2)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    inner = root @ c2 @ root
    trace_of_root = torch.linalg.eigvalsh((inner + inner.T) / 2).clamp(min=0).sqrt().sum()
    distance = (m1 - m2).square().sum() + c1.trace() + c2.trace() - 2 * trace_of_root
    return max(distance.item(), 0.0)


def between(first: Tensor, second: Tensor) -> float:
    """Fréchet distance of two sets of features ``(N, D)`` and ``(M, D)``."""
    a, b = (FrechetAccumulator(f.shape[1]).update(f).statistics() for f in (first, second))
    return frechet_distance(*a, *b)


def bootstrap_error(features: Tensor, reference: Tensor, *, seed: int, rounds: int = 20) -> float:
    """Standard error of the distance over the draw of ``features`` ``(N, D)``, by resampling them.

    NaN where a draw has no distance, as of nearly constant samples whose few others were not drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    target = FrechetAccumulator(reference.shape[1]).update(reference).statistics()
    values = []
    for _ in range(rounds):
        rows = torch.randint(len(features), (len(features),), generator=generator)
        try:
            drawn = FrechetAccumulator(features.shape[1]).update(features[rows]).statistics()
        except ZooError:
            return math.nan
        values.append(frechet_distance(*drawn, *target))
    return torch.tensor(values, dtype=torch.float64).std().item()
