"""Tests of spectral normalisation: operator norms of the layers, in float64."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from lipschitz_tools import COEFFICIENT, SHAPES, jacobians, network, points
from recipe_tools import recipe_model
from torch import nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

import zoo
from zoo.models.networks.lipschitz import LipschitzNetwork
from zoo.models.networks.spectral_norm import Spectral, SpectralNorm, iterate_together


def matrix(layer: SpectralNorm):
    """Return the normalised map as a matrix."""
    basis = torch.eye(math.prod(layer.shape), dtype=torch.float64).view(-1, *layer.shape)
    return (layer(basis) - layer(torch.zeros_like(basis))).flatten(1).T


@pytest.mark.parametrize("shape", SHAPES)
def test_lipschitz_constants_stay_below_the_coefficient(shape):
    g = network(shape)
    assert g.lipschitz == pytest.approx(COEFFICIENT**3)
    for layer in g.layers:
        sigma = torch.linalg.matrix_norm(matrix(layer), 2).item()
        assert COEFFICIENT * (1 - layer.tolerance) <= sigma <= COEFFICIENT * (1 + 1e-9)
    x, y = points(64, shape), 3 * points(128, shape)[64:]
    with torch.no_grad():
        ratio = (g(x) - g(y)).flatten(1).norm(dim=1) / (x - y).flatten(1).norm(dim=1)
    assert ratio.max() <= g.lipschitz
    assert torch.linalg.matrix_norm(jacobians(g, x[:8]), 2).max() <= g.lipschitz


def test_a_map_below_the_coefficient_is_unchanged():
    layer = SpectralNorm(nn.Linear(3, 3), (3,), COEFFICIENT).double().eval()
    with torch.no_grad():
        layer.layer.weight.copy_(0.5 * torch.eye(3))
    torch.testing.assert_close(matrix(layer), 0.5 * torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-15)
    with torch.no_grad():
        layer.layer.weight.zero_()
    layer.train()(points(2, (3,))).sum().backward()
    assert layer.layer.weight.grad.isfinite().all()


def test_sigma_belongs_to_the_convolution_not_to_its_kernel():
    layer = SpectralNorm(nn.Conv2d(3, 5, 3, padding=1), (3, 6, 6), COEFFICIENT).double().eval()
    sigma = layer.upper_bound().item()
    kernel = torch.linalg.matrix_norm(layer.layer.weight.flatten(1), 2).item()
    with torch.no_grad():
        layer.layer.weight.mul_(0.8 / sigma)  # below the bound: the map is the convolution itself
    assert torch.linalg.matrix_norm(matrix(layer), 2).item() == pytest.approx(0.8, rel=1e-3)
    assert abs(kernel / sigma - 1) > 0.1


def test_sigma_is_found_where_two_singular_values_change_places():
    layer = SpectralNorm(nn.Linear(20, 20), (20,), COEFFICIENT).double()
    values = torch.ones(20)
    for largest in (3, 11):  # the first singular vector must not hide the second
        with torch.no_grad():
            layer.layer.weight.copy_(torch.diag(values))
            layer.layer.weight[largest, largest] = 2.0
        layer.train()
        for _ in range(30):
            layer(points(1, (20,)))
        layer.eval()
        assert torch.linalg.matrix_norm(matrix(layer), 2).item() == pytest.approx(COEFFICIENT, rel=1e-3)


def test_evaluation_follows_the_weights_and_leaves_the_training_vectors():
    g = network((4, 4, 4))
    x = points(3, (4, 4, 4))
    vectors = [b.clone() for b in g.buffers()]
    with torch.no_grad():
        first = g(x)
        assert torch.equal(first, g(x))
        assert all(torch.equal(a, b) for a, b in zip(vectors, g.buffers(), strict=True))
        other = network((4, 4, 4), factor=1.0)
        other.load_state_dict(g.state_dict())  # while in evaluation mode
        assert torch.equal(other(x), first)
        for layer in g.layers:
            layer.layer.weight.mul_(10)
            assert torch.linalg.matrix_norm(matrix(layer), 2) <= COEFFICIENT
        g.load_state_dict(other.state_dict())
        assert torch.equal(copy.deepcopy(g)(x), first)


def test_training_iterations_reach_the_bound_and_only_with_gradients():
    g = network((4, 4, 4)).train()
    x = points(3, (4, 4, 4))
    with torch.no_grad():
        assert torch.equal(g(x), g(x))
    before = [layer.right.clone() for layer in g.layers]
    trained = g(x)
    assert torch.equal(trained, g(x)), "with the same weights the map is the same"
    assert not any(torch.equal(a, layer.right) for a, layer in zip(before, g.layers, strict=True))
    for _ in range(200):
        with torch.no_grad():
            for layer in g.layers:
                layer.layer.weight.mul_(1.0)  # in place, as by an optimiser
        trained = g(x)
    torch.testing.assert_close(trained, g.eval()(x), rtol=0, atol=5e-3)


@pytest.mark.parametrize(("tolerance", "bounded"), [(1e-3, True), (None, False)])
def test_norms_in_training_stay_at_the_bound_if_iterated_to_a_tolerance(tolerance, bounded):
    """A loss that makes slopes grow drives every norm; two iterations an update lag far behind it.

    A tolerance leaves less than a percent, where another singular value overtakes the first one.
    """
    shape = (2, 4, 4)
    spectral = Spectral(coefficient=COEFFICIENT, iterations=2, train_tolerance=tolerance)
    g = LipschitzNetwork(shape, (8, 8), spectral).double().train()
    optimizer = torch.optim.Adam(g.parameters(), lr=5e-3)
    largest = 0.0
    for update in range(60):
        loss = -(g(points(8, shape)) - g(points(9, shape)[1:])).square().mean()
        if update % 3 == 0:
            with torch.no_grad():
                largest = max(largest, *(torch.linalg.matrix_norm(matrix(a), 2).item() for a in g.layers))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert largest > 0.99 * COEFFICIENT, "the loss reaches the bound"
    assert (largest <= 1.01 * COEFFICIENT) is bounded


def test_iresnet_iterates_to_a_tolerance_but_not_in_the_papers_recipes():
    model = zoo.build("iresnet", zoo.DataSpec((2,)))
    assert {m.train_tolerance for m in model.modules() if isinstance(m, SpectralNorm)} == {1e-3}
    paper = recipe_model("iresnet_mnist")
    assert {m.train_tolerance for m in paper.modules() if isinstance(m, SpectralNorm)} == {None}


def test_a_change_through_data_counts_after_eval():
    layer, x = SpectralNorm(torch.nn.Linear(3, 3), (3,)).eval(), torch.eye(3)
    layer(x)
    layer.layer.weight.data = 5 * torch.eye(3)
    layer.eval()
    assert torch.linalg.matrix_norm(layer(x) - layer(0 * x), 2) <= 0.9 + 1e-6


def test_two_training_passes_share_one_backward():
    g = network((2,)).train()
    (g(points(3, (2,))).sum() + g(points(3, (2,))).sum()).backward()


def test_training_makes_the_set_number_of_power_iterations_and_at_first_ten():
    layer = SpectralNorm(nn.Linear(6, 6), (6,), COEFFICIENT, iterations=3).double().train()
    right = layer.right.clone()
    for count in (10, 3):
        with torch.no_grad():
            layer.layer.weight.mul_(2.0).add_(0.1 * torch.eye(6))
        layer(points(1, (6,)))
        weight = layer.layer.weight.detach()
        for _ in range(count):
            right = right @ weight.T @ weight
            right = right / right.norm()
        torch.testing.assert_close(layer.right, right)


def one_at_a_time(layer):
    """Make the power iterations of one layer alone, and check after each whether it has converged.

    Returns the vector, its bound on the norm, and the number of checks.
    """
    right, weight = layer.right.clone(), layer.layer.weight
    for step in range(1000):
        if weight.ndim == 2:
            image = right @ weight.T
            back = image @ weight
        else:
            image = F.conv2d(right, weight, padding=layer.layer.padding)
            back = conv2d_input((1, *layer.shape), weight, image, padding=layer.layer.padding)
        square = image.square().sum()
        residual = (back - square * right).norm()
        if step >= 5 and residual <= layer.train_tolerance * square:
            return right, (square + residual).sqrt(), step - 4
        right = back / back.norm()
    raise AssertionError("no convergence")


def disturb(network):
    with torch.no_grad():
        for layer in network.layers:
            layer.layer.weight += 0.1 * torch.randn_like(layer.layer.weight)


def test_layers_that_iterate_together_find_the_vectors_that_each_finds_alone():
    spectral = Spectral(coefficient=COEFFICIENT, train_tolerance=1e-4)
    g = LipschitzNetwork((2, 4, 4), (8, 8), spectral).double().train()
    iterate_together(g)
    looks = set()
    for _ in range(4):
        disturb(g)
        with torch.no_grad():
            expected = [one_at_a_time(layer) for layer in g.layers]
        g.layers[0](points(1, (2, 4, 4)))
        for layer, (right, bound, count) in zip(g.layers, expected, strict=True):
            assert torch.equal(layer.right, right)
            normalised = layer.layer.weight * (COEFFICIENT / bound.clamp(min=COEFFICIENT))
            torch.testing.assert_close(layer.weight(), normalised, rtol=1e-12, atol=0)
            looks.add(count)
    assert len(looks) > 3, "layers converge after different numbers of iterations"


def test_dense_layers_of_one_shape_are_iterated_as_a_batch_and_each_finds_its_own_vector():
    g = LipschitzNetwork((6,), (9, 9, 9, 9), Spectral(train_tolerance=1e-4)).double().train()
    iterate_together(g)
    looks = set()
    for _ in range(4):
        disturb(g)
        with torch.no_grad():
            expected = [one_at_a_time(layer) for layer in g.layers]
        g.layers[0](points(1, (6,)))
        for layer, (right, bound, count) in zip(g.layers, expected, strict=True):
            torch.testing.assert_close(layer.right, right, rtol=0, atol=1e-12)
            normalised = layer.layer.weight * (COEFFICIENT / bound.clamp(min=COEFFICIENT))
            torch.testing.assert_close(layer.weight(), normalised, rtol=1e-12, atol=0)
            looks.add(count)
    assert len(looks) > 3, "layers converge after different numbers of iterations"


@pytest.mark.parametrize("size", [0.1, 5.0], ids=["below the bound", "above"])
def test_the_gradient_through_a_dense_layers_norm_is_that_of_autograd_and_can_be_differentiated(size):
    layer = SpectralNorm(nn.Linear(4, 3), (4,), COEFFICIENT, train_tolerance=1e-3).double().train()
    with torch.no_grad():
        layer.layer.weight.mul_(size / layer.layer.weight.norm())
    weight, pull = layer.layer.weight, points(3, (4,))
    out = layer.weight()
    v = layer.right[0].clone()
    with torch.no_grad():  # of an eigenvalue of W^T W, which lies within r of |W v|^2
        image = weight @ v
        margin = (1 + (weight.T @ image - image @ image * v).norm() / (image @ image)).sqrt()

    def plain(weight):
        return weight * (COEFFICIENT / (margin * (weight @ v).norm()).clamp(min=COEFFICIENT))

    expected = plain(weight)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=0)
    assert torch.equal(out, weight) == (size < 1)

    def gradients(out, **graph):
        return torch.autograd.grad((out.square() * pull).sum(), weight, **graph)[0]

    torch.testing.assert_close(gradients(layer.weight()), gradients(plain(weight)), rtol=1e-10, atol=1e-12)
    twice = [
        torch.autograd.grad(gradients(made, create_graph=True).square().sum(), weight)[0]
        for made in (layer.weight(), plain(weight))
    ]
    torch.testing.assert_close(*twice, rtol=1e-10, atol=1e-12)
    assert type(layer.weight().grad_fn).__name__ == "_ScaledBackward", "the gradient by hand was tested"


def test_a_weight_that_has_changed_without_iterations_is_not_scaled_as_the_one_before():
    layer = SpectralNorm(nn.Linear(4, 4), (4,), COEFFICIENT).double().train()
    layer(points(1, (4,)))
    with torch.no_grad():  # no iterations: only the vector is that of the weight before
        layer.layer.weight.mul_(7)
        sigma = (layer.right @ layer.layer.weight.T).norm()
        torch.testing.assert_close(layer.weight(), layer.layer.weight * COEFFICIENT / sigma)


def test_the_layers_of_a_copy_iterate_together_and_leave_the_others():
    g = LipschitzNetwork((2, 4, 4), (8, 8), Spectral(train_tolerance=1e-3)).double().train()
    iterate_together(g)
    g(points(1, (2, 4, 4)))
    before, twin = [layer.right.clone() for layer in g.layers], copy.deepcopy(g)
    disturb(twin)
    twin.layers[0](points(1, (2, 4, 4)))
    for old, mine, its in zip(before, g.layers, twin.layers, strict=True):
        assert torch.equal(mine.right, old)
        assert not torch.equal(its.right, old)
