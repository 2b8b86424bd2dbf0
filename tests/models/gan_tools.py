"""Tools for tests of adversarial models: every architecture, a steep critic, norms of layers."""

from __future__ import annotations

import math

import pytest
import torch
from shapes import data
from torch import nn

from zoo.models.gan import GAN
from zoo.models.stylegan import StyleGAN

ARCHITECTURES = {
    "dcgan": lambda spec, **settings: GAN(spec, **settings),
    "residual": lambda spec, **settings: GAN(spec, **{"architecture": "residual", "width": 16} | settings),
    "style": lambda spec, **settings: StyleGAN(spec, **{"width": 8} | settings),
}


every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


def trained(model: GAN, lr: float, steps: int = 60) -> GAN:
    """Return the model after training steps that make an unbounded critic steep."""
    x = model.to_network(data(model.spec, 64))
    optimizer = torch.optim.Adam(model.critic.parameters(), lr)
    for _ in range(steps):
        with torch.no_grad():
            fake = model.generate(64)
        loss = model.critic(fake).mean() - model.critic(x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def layers(model: GAN) -> list[nn.Module]:
    return [layer for layer in model.critic.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


def steepest(model: GAN, n: int = 2000) -> tuple[float, float]:
    """Return the largest measured slope of the critic: over pairs of examples, and as a gradient's norm."""
    x = torch.rand(n, *model.spec.shape) * 4 - 2
    near = x + 1e-2 * torch.randn_like(x)
    with torch.no_grad():
        rise = (model.critic(x) - model.critic(near)).abs() / (x - near).flatten(1).norm(dim=1)
        far = (model.critic(x) - model.critic(x.flip(0))).abs() / (x - x.flip(0)).flatten(1).norm(dim=1)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(model.critic(x).sum(), x)
    return max(rise.max().item(), far[: n // 2].max().item()), slope.flatten(1).norm(dim=1).max().item()


def operator(layer: nn.Module, shape: tuple[int, ...]) -> tuple[float, tuple[int, ...]]:
    """Return the largest singular value of a layer for inputs of this shape, and the shape of its output."""
    size = math.prod(shape)
    with torch.no_grad():
        columns = layer(torch.eye(size).view(size, *shape)) - layer(torch.zeros(1, *shape))
    return torch.linalg.matrix_norm(columns.flatten(1), 2).item(), tuple(columns.shape[1:])
