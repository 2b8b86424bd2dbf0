"""Tests of the critic: its head, and the norms that bound its slope."""

from __future__ import annotations

import math

import pytest
import torch
from gan_tools import ARCHITECTURES, every_architecture, layers, operator, steepest, trained
from torch import nn

from zoo.data.spec import DataSpec
from zoo.models.gan import GAN
from zoo.models.networks.critic import Critic
from zoo.models.networks.spectral_norm import SpectralNorm


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_the_critic_adds_the_projection_of_the_label() -> None:
    features = nn.Linear(5, 6)
    critic = Critic(features, 6, context=3)
    x, y = torch.randn(4, 5), torch.tensor([0, 2, 1, 2])
    f = features(x)
    expected = f @ critic.head.weight[0] + critic.head.bias + (critic.projection.weight.T[y] * f).sum(1)
    torch.testing.assert_close(critic(x, nn.functional.one_hot(y, 3).float()), expected)


def test_the_head_and_the_label_share_a_lipschitz_bound_of_1() -> None:
    critic = Critic(nn.Identity(), 4, norm="lipschitz", context=3).eval()
    for layer in (critic.head.layer, critic.projection.layer):  # aligned, so that their slopes add up
        nn.init.zeros_(layer.weight)
    with torch.no_grad():
        critic.head.layer.weight[0, 0] = 10.0
        critic.projection.layer.weight[0, 0] = 10.0
    x = torch.randn(5, 4, requires_grad=True)
    (slope,) = torch.autograd.grad(critic(x, torch.eye(3)[torch.zeros(5, dtype=torch.long)]).sum(), x)
    torch.testing.assert_close(slope.norm(dim=1), torch.ones(5), atol=2e-3, rtol=0)


def test_spectral_normalisation_makes_a_dense_critic_1_lipschitz() -> None:
    free, bounded = (trained(GAN(DataSpec((3,)), critic_norm=norm), 1e-2) for norm in ("none", "spectral"))
    assert max(torch.linalg.matrix_norm(layer.weight, 2) for layer in layers(free)) > 2
    assert all(torch.linalg.matrix_norm(layer.weight, 2) <= 1.01 for layer in layers(bounded))
    assert max(steepest(free)) > 3
    assert 0.1 < max(steepest(bounded)) <= 1.02


def test_a_normalised_kernel_bounds_its_convolution_by_the_root_of_its_taps() -> None:
    """The paper divides by the norm of the kernel as a matrix (out, in x 9).

    The norm of the convolution may be larger, by up to sqrt(9), since a pixel is in up to nine outputs. The
    critic's slope is at most the product of the layers' operator norms.
    """
    model = trained(GAN(DataSpec((1, 8, 8), 17), width=8, hidden=32, critic_norm="spectral"), 1e-3)
    shape: tuple[int, ...] = (1, 8, 8)
    product = 1.0
    for layer in layers(model):
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2) <= 1.03
        if isinstance(layer, nn.Linear):
            product *= torch.linalg.matrix_norm(layer.weight, 2).item()
        else:
            own, shape = operator(layer, shape)
            assert own <= 3 * 1.03
            product *= own
    assert 0 < max(steepest(model, 500)) <= product * 1.001


def test_spectral_normalisation_bounds_every_layer_of_the_residual_critic() -> None:
    """A layer's norm is at most the square root of its taps: 1 if dense or 1x1, 3 for a 3x3 kernel."""
    spec = DataSpec((1, 8, 8), 17, classes=3)
    model = GAN(spec, architecture="residual", width=6, critic_norm="spectral", conditional=True)
    input_shapes: dict[nn.Module, tuple[int, ...]] = {}
    for layer in model.critic.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.normal_(layer.parametrizations.weight.original)
            layer.register_forward_hook(
                lambda m, args, out: input_shapes.update({m: tuple(args[0].shape[1:])})
            )
    with torch.no_grad():
        for _ in range(50):  # power iterations converge
            model.critic(torch.randn(2, 1, 8, 8), torch.eye(3)[:2])
        model.eval()
        for layer, shape in input_shapes.items():
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)
            taps = math.prod(layer.kernel_size) if isinstance(layer, nn.Conv2d) else 1
            assert operator(layer, shape)[0] <= 1.02 * math.sqrt(taps)
    assert any(
        operator(layer, shape)[0] > 1.2 for layer, shape in input_shapes.items()
    )  # so these norms do not bound the critic by 1
    assert len(input_shapes) > 8


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 5, 7), (1, 1, 2)], ids=str)
@every_architecture
def test_lipschitz_norms_bound_every_layer_and_the_whole_critic_by_1(
    architecture: str, shape: tuple[int, ...], training: bool
) -> None:
    """With large weights, each layer's matrix has norm 1 (or 1/2), in training as in evaluation."""
    spec = DataSpec(shape, 17, classes=3)
    model = ARCHITECTURES[architecture](spec, critic_norm="lipschitz", conditional=True, width=6)
    input_shapes: dict[nn.Module, tuple[int, ...]] = {}
    bounded = [layer for layer in model.critic.modules() if isinstance(layer, SpectralNorm)]
    assert {id(layer.layer) for layer in bounded} == {id(layer) for layer in layers(model)}
    for layer in bounded:
        nn.init.normal_(layer.layer.weight)
        layer.register_forward_hook(lambda m, args, out: input_shapes.update({m: tuple(args[0].shape[1:])}))
    model.train(training)
    x, y = 3 * torch.rand(40, *shape) - 1, torch.eye(3)[torch.arange(40) % 3]
    for _ in range(2):
        x = x.detach().requires_grad_()
        logits = model.critic(x, y)
        (slope,) = torch.autograd.grad(logits.sum(), x)
    assert 0 < slope.flatten(1).norm(dim=1).max() <= 1.02
    change = (logits[3:] - logits[:-3]).abs() / (x[3:] - x[:-3]).flatten(1).norm(dim=1)  # of equal labels
    assert change.max() <= 1.02
    for layer, size in input_shapes.items():
        if isinstance(layer.layer, nn.Conv2d) and layer.layer.kernel_size == (1, 1):
            size = (size[0], 1, 1)
        assert 0.97 <= operator(layer, size)[0] / layer.coefficient <= 1.02
    assert len(input_shapes) == len(bounded) > 3


def test_lipschitz_norms_bound_a_trained_critic_by_1() -> None:
    """A critic trained to be as steep as possible has a slope above 0 and at most 1."""
    flat = trained(GAN(DataSpec((3,)), critic_norm="lipschitz"), 1e-2)
    assert 0.1 < max(steepest(flat)) <= 1.02
    image = trained(GAN(DataSpec((1, 4, 4), 17), width=8, hidden=16, critic_norm="lipschitz"), 1e-2, 20)
    assert 0.01 < max(steepest(image, 200)) <= 1.02
