"""The papers' optimisers against the formulas of their papers, three steps of one weight by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from zoo.training.optimizers import Optimizer

GRADIENTS = (2.0, -1.0, 0.5)
START = 3.0


def steps(optimizer: Optimizer) -> list[float]:
    """Return the weight after each step, whose loss has the slopes of :data:`GRADIENTS`."""
    weight = nn.Parameter(torch.tensor([START], dtype=torch.float64))
    built, values = optimizer.build([weight]), []
    for gradient in GRADIENTS:
        built.zero_grad()
        (gradient * weight).sum().backward()
        built.step()
        values.append(weight.item())
    return values


def test_adadelta_is_zeilers_algorithm_1_with_rho_from_the_second_beta_and_rate_1():
    rho, eps, rate = 0.95, 1e-5, 1.0
    weight, squares, moves, expected = START, 0.0, 0.0, []
    for gradient in GRADIENTS:
        squares = rho * squares + (1 - rho) * gradient**2
        move = -math.sqrt(moves + eps) / math.sqrt(squares + eps) * gradient  # both eps within the roots
        moves = rho * moves + (1 - rho) * move**2
        weight += move
        expected.append(weight)
    found = steps(Optimizer("adadelta", rate, (0.9, rho), 0.0, eps))
    assert found == pytest.approx(expected, rel=1e-12)
    # the first step: sqrt(1e-5) / sqrt(0.05 * 4 + 1e-5) * 2
    assert found[0] == pytest.approx(3 - 0.0141418, abs=1e-6)


def test_the_rate_of_adadelta_scales_its_steps_and_not_what_it_remembers():
    whole, half = (steps(Optimizer("adadelta", rate, (0.9, 0.95), 0.0, 1e-5)) for rate in (1.0, 0.5))
    assert [value - START for value in half] == pytest.approx([(value - START) / 2 for value in whole])


def test_adagrad_divides_by_the_root_of_all_squared_gradients():
    rate, eps = 0.1, 1e-3
    weight, squares, expected = START, 0.0, []
    for gradient in GRADIENTS:
        squares += gradient**2
        weight -= rate * gradient / (math.sqrt(squares) + eps)  # eps beside the root: Duchi et al.'s delta
        expected.append(weight)
    found = steps(Optimizer("adagrad", rate, (0.9, 0.999), 0.0, eps))
    assert found == pytest.approx(expected, rel=1e-12)
    assert found[0] == pytest.approx(3 - 0.1 * 2 / 2.001)


def test_adamax_divides_the_mean_gradient_by_a_decaying_maximum():
    rate, first, second = 0.1, 0.9, 0.99
    weight, mean, largest, expected = START, 0.0, 0.0, []
    for step, gradient in enumerate(GRADIENTS, 1):
        mean = first * mean + (1 - first) * gradient
        largest = max(second * largest, abs(gradient))
        weight -= rate / (1 - first**step) * mean / largest
        expected.append(weight)
    found = steps(Optimizer("adamax", rate, (first, second), 0.0, 1e-12))
    assert found == pytest.approx(expected, rel=1e-9)
    assert found[0] == pytest.approx(3 - 0.1)  # the first step has the length of the rate


@pytest.mark.parametrize("name", ["adadelta", "adagrad", "adamax"])
def test_weight_decay_is_the_gradient_of_the_papers_penalty(name):
    """With the penalty w/2 theta^2, the first gradient of the weight 3 is 2 + 3 w."""
    decayed = steps(Optimizer(name, 0.1, (0.9, 0.95), 0.5, 1e-5))[0]
    weight = nn.Parameter(torch.tensor([START], dtype=torch.float64))
    built = Optimizer(name, 0.1, (0.9, 0.95), 0.0, 1e-5).build([weight])
    (2.0 * weight + 0.5 / 2 * weight.square()).sum().backward()
    built.step()
    assert decayed == pytest.approx(weight.item(), rel=1e-12)
