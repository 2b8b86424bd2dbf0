"""A MADE of Gaussians: exact on MAF's figure 1 in one order of its dimensions and not in the other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from zoo.data.spec import DataSpec
from zoo.data.toys import TOYS
from zoo.models.families.autoregressive import Order
from zoo.models.made import GaussianMADE


def figure1_log_p(x: Tensor) -> Tensor:
    x1, x2 = x.unbind(1)
    return -math.log(4 * math.pi) - 0.5 * (x2 / 2).square() - 0.5 * (x1 - x2.square() / 4).square()


def figure1_excess_in_the_other_order() -> float:
    """Return the least KL divergence of a Gaussian x_1 and a Gaussian x_2 given x_1, by quadrature.

    x_1 has variance 3 (1, and that of a squared normal, 2), and x_2 given x_1 mean 0 by symmetry.
    """
    x1 = torch.linspace(-8, 60, 3401, dtype=torch.float64)
    x2 = torch.linspace(-16, 16, 1601, dtype=torch.float64)
    p = figure1_log_p(torch.cartesian_prod(x1, x2)).exp().view(len(x1), len(x2))
    p = p / p.sum()
    of_x1 = p.sum(1)
    variance = (p @ x2.square()) / of_x1
    conditional = (of_x1 * variance.log()).sum() / 2
    nll = math.log(2 * math.pi * math.e) + 0.5 * math.log(3) + float(conditional)
    return nll - TOYS["maf_figure1"][1]


def fitted_figure1(order: Order) -> float:
    """Return the KL divergence of a Gaussian MADE that is fitted to fresh samples."""
    rng = np.random.default_rng(0)

    def draw(n: int) -> Tensor:
        return torch.as_tensor(TOYS["maf_figure1"][0](n, rng), dtype=torch.float32)

    model = GaussianMADE(DataSpec((2,)), hidden=(32,), order=order)
    steps = 500
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        loss = -model.log_prob(draw(256)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    x = draw(100_000)
    with torch.no_grad():
        return float((figure1_log_p(x) - model.log_prob(x)).mean())


def test_figure1_has_its_entropy() -> None:
    assert TOYS["maf_figure1"][1] == pytest.approx(3.53102, abs=1e-5)


def test_gaussian_made_is_exact_in_one_order_of_figure1_alone() -> None:
    excess = figure1_excess_in_the_other_order()
    assert excess > 0.2
    assert abs(fitted_figure1("reversed")) < 0.01
    assert fitted_figure1("natural") == pytest.approx(excess, abs=0.01)
