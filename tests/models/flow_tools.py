"""Flows with weights off their start, and quadrature of their densities on the plane."""

from __future__ import annotations

import math

import torch

import zoo
from zoo.data.spec import DataSpec

COUPLINGS = ["realnvp", "glow", "nsf_coupling"]


def perturbed(name, spec, amount=0.1, **settings):
    """Return a float64 model in evaluation mode with all weights perturbed."""
    model = zoo.build(name, spec, **settings).double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(amount * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def smooth(name):
    """Return a model on the plane whose density is far from normal and can be integrated on a grid."""
    if name == "nsf_coupling":
        return perturbed(name, DataSpec((2,)), amount=0.15, hidden=12, blocks=1, steps=3, bins=5)
    return perturbed(name, DataSpec((2,)), amount=0.2, hidden=[16, 16], bound=1.0)


def on_a_grid(model, points=500):
    """Return the log-density of a model on a grid over nearly all of its mass, and the area of a cell."""
    with torch.no_grad():
        samples = model.sample(4000, seed=0)
        low, high = samples.min(0).values, samples.max(0).values
        edges = zip(low - 0.3 * (high - low), high + 0.3 * (high - low), strict=True)
        axes = [torch.linspace(a.item(), b.item(), points, dtype=torch.float64) for a, b in edges]
        return model.log_prob(torch.cartesian_prod(*axes)), math.prod((a[1] - a[0]).item() for a in axes)


def mean_log_prob_gaps(model, factors=(1.0, 1.05), n=10000, points=300):
    """Return the gaps, in standard errors, of E log p over samples times each factor to minus the entropy."""
    log_p, cell = on_a_grid(model, points)
    entropy = -(log_p.exp() * log_p).sum().item() * cell
    with torch.no_grad():
        samples = model.sample(n, seed=5)
        values = [model.log_prob(samples * factor) for factor in factors]
    return [abs(v.mean().item() + entropy) / (v.std().item() / math.sqrt(n)) for v in values]
