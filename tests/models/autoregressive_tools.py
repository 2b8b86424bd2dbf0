"""Tools for tests of autoregressive models: perturbed weights, quadrature, shapes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

from zoo.data.spec import DataSpec


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Use one thread: for many tiny operations a second one costs more than it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


M = TypeVar("M", bound=nn.Module)


def perturbed(module: M, scale: float = 0.2, seed: int = 0) -> M:
    """Return the model in float64 with all parameters perturbed, since initial zeros may hide errors."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def every_image(spec: DataSpec) -> Tensor:
    assert spec.levels is not None
    values = itertools.product(range(spec.levels), repeat=spec.dim)
    return torch.tensor(list(values), dtype=torch.float64).view(-1, *spec.shape)


def integral_2d(log_prob, low: float, high: float, steps: int = 400) -> float:
    edge = torch.linspace(low, high, steps + 1, dtype=torch.float64)
    centre = (edge[1:] + edge[:-1]) / 2
    with torch.no_grad():
        log_p = log_prob(torch.cartesian_prod(centre, centre))
    return float(log_p.exp().sum() * (edge[1] - edge[0]) ** 2)


SPECS = [
    DataSpec((1,)),
    DataSpec((2,)),
    DataSpec((3,)),
    DataSpec((43,)),
    DataSpec((1, 2, 2), 4),
    DataSpec((2, 2, 3), 4),
    DataSpec((1, 8, 8), 17),
    DataSpec((5,), 4),
]
