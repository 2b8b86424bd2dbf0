"""Data of every kind and shape, for tests of models that accept all of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoo.data.spec import DataSpec

SPECS = [
    DataSpec((1, 2, 2), 4),
    DataSpec((1, 5, 7), 2),
    DataSpec((1, 8, 8), 17),
    DataSpec((1, 28, 28), 256),
    DataSpec((3, 32, 32), 256),
    DataSpec((2, 9, 1), None),
    DataSpec((6,), 5),
    DataSpec((1,)),
    DataSpec((2,)),
    DataSpec((43,)),
]
every_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{'x'.join(map(str, s.shape))}-{s.levels}")


def data(spec: DataSpec, n: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    if spec.levels is None:
        return torch.randn(n, *spec.shape, generator=generator, dtype=dtype)
    return torch.randint(spec.levels, (n, *spec.shape), generator=generator).to(dtype)
