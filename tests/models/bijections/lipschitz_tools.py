"""Residual branches and blocks for tests, in which every layer is at its spectral bound."""

from __future__ import annotations

import torch

from zoo.models.bijections.residual import InvertibleResidual, Series
from zoo.models.networks.lipschitz import LipschitzNetwork
from zoo.models.networks.spectral_norm import Spectral

COEFFICIENT = 0.9


SHAPES = [(1,), (2,), (3,), (43,), (4, 1, 1), (4, 4, 4), (1, 5, 7)]


def enlarge(module, factor=3.0):
    """Set weights far above the bound, so that every layer is normalised."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(factor).add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return module.double().eval()


def network(shape, hidden=(16, 16), coefficient=COEFFICIENT, factor=3.0):
    return enlarge(LipschitzNetwork(shape, hidden, Spectral(coefficient=coefficient)), factor)


def block(shape, factor=3.0, most=500, **series):
    return InvertibleResidual(network(shape, factor=factor), Series(**series), most=most).double().eval()


def points(n, shape):
    return torch.randn(n, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


def jacobians(f, x):
    """Return df/dx of each row, ``(B, D, D)``, by torch.func."""
    dim = x[0].numel()
    return torch.func.vmap(torch.func.jacrev(lambda v: f(v[None])[0]))(x).reshape(len(x), dim, dim)
