"""Densities that are fitted in closed form: fingerprints of a data set, known before anything is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.special import logsumexp


def gaussian(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return log-densities ``(N,)`` of the test points in nats, of the Gaussian of largest likelihood.

    Args:
        train: ``(M, D)``; its mean and covariance (divided by M) are the Gaussian's.
        test: ``(N, D)``.
    """
    mean = train.mean(0)
    factor = cholesky(np.cov(train.T, bias=True).reshape(len(mean), -1), lower=True)
    z = solve_triangular(factor, (test - mean).T, lower=True)
    constant = np.log(np.diag(factor)).sum() + len(mean) / 2 * math.log(2 * math.pi)
    result: np.ndarray = -0.5 * np.square(z).sum(0) - constant
    return result


def class_gaussians(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return log-densities ``(N,)`` in nats of the uniform mixture of one Gaussian for each class."""
    classes = np.unique(labels)
    each = np.stack([gaussian(train[labels == label], test) for label in classes])
    result: np.ndarray = logsumexp(each, axis=0) - math.log(len(classes))
    return result


def bernoulli(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return log-probabilities ``(N,)`` in nats of binary vectors, of independent coordinates.

    The probability of a 1 is (k + 1) / (n + 2), of k ones in n training examples.
    """
    p = (train.sum(0, dtype=np.float64) + 1) / (len(train) + 2)
    result: np.ndarray = test @ np.log(p) + (1.0 - test) @ np.log1p(-p)
    return result


@dataclass(frozen=True)
class Fingerprint:
    """A fit in closed form, on the data of this machine.

    Attributes:
        value: mean negative log-likelihood in nats.
        standard_error: over the test points.
        n: number of test points.
        expected: what it must be.
        holds: whether it is.
    """

    value: float
    standard_error: float
    n: int
    expected: float
    holds: bool
