"""The bare arithmetic of an architecture: its matrix products and convolutions, and nothing else.

Every product has operands of its own, as the layers of a model have. Training is three products for one:
the output, the gradient of the weight and that of the input.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import torch
from suite import Job
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

Shape = tuple[int, int]  # outputs and inputs of a matrix
Convolution = tuple[int, int, int, int]  # outputs, inputs, side of the kernel, side of the image


def mlp(given: int, hidden: Iterable[int], out: int) -> list[Shape]:
    """Return the matrices of a dense network."""
    widths = [given, *hidden, out]
    return [(after, before) for before, after in itertools.pairwise(widths)]


def products(shapes: list[Shape], batch: int) -> dict[str, Job]:
    """Return the jobs of matrices applied to a batch, one after another."""
    operands = [
        (torch.randn(batch, inputs), torch.randn(outputs, inputs), torch.randn(batch, outputs))
        for outputs, inputs in shapes
    ]

    @torch.no_grad()
    def forward() -> None:
        for x, weight, _ in operands:
            x @ weight.T

    @torch.no_grad()
    def train() -> None:
        for x, weight, grad in operands:
            x @ weight.T
            grad @ weight
            grad.T @ x

    return {"density": Job(forward), "train": Job(train), "sample": Job(forward)}


def convolutions(layers: list[Convolution], batch: int) -> dict[str, Job]:
    """Return the jobs of convolutions with zero padding, one after another."""
    operands: list[tuple[Tensor, Tensor, Tensor, int]] = [
        (torch.randn(batch, i, s, s), torch.randn(o, i, k, k), torch.randn(batch, o, s, s), k // 2)
        for o, i, k, s in layers
    ]

    @torch.no_grad()
    def forward() -> None:
        for x, weight, _, padding in operands:
            torch.conv2d(x, weight, padding=padding)

    @torch.no_grad()
    def train() -> None:
        for x, weight, grad, padding in operands:
            torch.conv2d(x, weight, padding=padding)
            conv2d_input(x.shape, weight, grad, padding=padding)
            conv2d_weight(x, weight.shape, grad, padding=padding)

    return {"density": Job(forward), "train": Job(train), "sample": Job(forward)}


def multiplications(layers: list[Convolution], batch: int) -> int:
    """Return the number of multiplications of convolutions of a batch."""
    return sum(batch * o * i * k * k * s * s for o, i, k, s in layers)


def square_product(work: float, size: int = 1024) -> Job:
    """Return ``work`` multiplications at the rate of a large matrix product, the processor's best."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return Job(lambda: a @ b, size**3 / work, multiplications=work)
