"""The Fréchet distance between Gaussians fitted to two sets of features."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.evaluation.halves import half_samples


def moments(features: Tensor) -> tuple[int, Tensor, Tensor]:
    """Return the moments of features ``(N, D)``: N, their sum ``(D,)`` and sum of outer products ``(D, D)``.

    The sums are float64. The moments of batches or processes add up to the moments of all examples.
    """
    features = features.detach().to(torch.float64)
    return len(features), features.sum(0), features.T @ features


def statistics(
    n: int, total: Tensor, outer: Tensor, remedy: str = "Raise evaluation.samples, or compare on more data."
) -> tuple[Tensor, Tensor]:
    """Return the mean ``(D,)`` and the unbiased covariance ``(D, D)`` from :func:`moments`.

    Raises:
        ZooError: the features are not finite, not more than their dimensions, or all equal.
    """
    dim = len(total)
    if not bool(torch.isfinite(outer).all() and torch.isfinite(total).all()):
        raise ZooError("A Fréchet distance needs finite features; some are NaN or infinite.")
    if n <= dim:
        raise ZooError(
            f"A Fréchet distance of {dim}-dimensional features needs more than {dim} examples in each "
            f"set; got {n}. {remedy}"
        )
    mean = total / n
    covariance = (outer - n * torch.outer(mean, mean)) / (n - 1)
    if covariance.trace() <= 1e-12 * (outer.trace() / n):
        raise ZooError(f"All {n} examples have the same features; a constant set has no Fréchet distance.")
    return mean, (covariance + covariance.T) / 2


def frechet_distance(mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor) -> float:
    r"""Return the squared 2-Wasserstein distance of two Gaussians (Dowson & Landau 1982).

    .. math:: |m_1 - m_2|^2 + \operatorname{tr}\big(C_1 + C_2 - 2 (C_1^{1/2} C_2 C_1^{1/2})^{1/2}\big)

    Heusel et al. (2017, eq. 6) take it on Inception's features. Both roots come from symmetric
    eigendecompositions in float64, which unlike the root of C1 C2 have no imaginary parts and allow a
    singular covariance.

    Args:
        mean1, mean2: ``(D,)``.
        covariance1, covariance2: symmetric, positive semidefinite, ``(D, D)``.

    Raises:
        ZooError: some values are not finite, or the shapes do not match.
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
    """Return the Fréchet distance of two sets of features ``(N, D)`` and ``(M, D)``, float64."""
    a, b = (statistics(*moments(features)) for features in (first, second))
    return frechet_distance(*a, *b)


def by_halves(features: Tensor, reference: Tensor, *, seed: int, rounds: int) -> tuple[float, float]:
    """Return the standard error of the distance, and its mean, over half-samples of both sets.

    The distance of infinitely many examples is about twice the distance less this mean: its bias is
    proportional to 1/n (Chong & Forsyth 2020), hence twice as large for half as many.

    Args:
        features, reference: ``(N, D)`` and ``(M, D)``.
        seed: seed of the half-samples.
        rounds: number of half-samples. One costs two covariances of N/2 and M/2 rows and two
            eigendecompositions.

    Raises:
        ZooError: half of a set is not more examples than features.
    """
    features, reference = _ordered(features), _ordered(reference)
    values = []
    for rows, others in half_samples(len(features), len(reference), rounds, seed):
        values.append(between(features[rows], reference[others]))
    distances = torch.tensor(values, dtype=torch.float64)
    return distances.std().item(), distances.mean().item()


def _ordered(features: Tensor) -> Tensor:
    """Return the rows in an order that depends on their contents alone: that of a fixed random projection.

    Which rows are a half-sample then depends neither on the order of the examples nor on the number of
    processes.
    """
    direction = torch.randn(
        features.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    return features[(features.double() @ direction.to(features.device)).argsort()]
