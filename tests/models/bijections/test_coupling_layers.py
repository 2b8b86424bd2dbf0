"""Coupling layers against hand calculation and autograd."""

from __future__ import annotations

import math

import pytest
import torch
from contract import check_bijection, roughen
from torch import nn

from zoo.models.bijections.coupling import AdditiveCoupling, AffineCoupling, Halves, bounded, make_partition
from zoo.models.bijections.spline_coupling import SplineCoupling
from zoo.models.networks.convnet import ConvNet
from zoo.models.networks.mlp import MLP


class Exercise(nn.Module):
    """A conditioner with s = x1/2 - 1 and t = 2 x1 + 1 for the second dimension."""

    def forward(self, first):
        return torch.cat([0.5 * first - 1, 2 * first + 1], 1)


def test_the_coupling_of_the_lectures_exercise_has_its_solution():
    coupling = AffineCoupling(Halves(2), Exercise(), bounded(None))
    z, log_det = coupling(torch.tensor([[2.0, 3.0], [0.0, 1.0]]))
    torch.testing.assert_close(z, torch.tensor([[2.0, 8.0], [0.0, 1 + math.exp(-1)]]))
    torch.testing.assert_close(log_det, torch.tensor([0.0, -1.0]))
    x, log_det = coupling.inverse(torch.tensor([[2.0, 8.0], [0.0, 1.0]]))
    torch.testing.assert_close(x, torch.tensor([[2.0, 3.0], [0.0, 0.0]]))
    torch.testing.assert_close(log_det, torch.tensor([0.0, 1.0]))


CASES = [
    ("half", (5,)),
    ("half", (2,)),
    ("channel", (3, 2, 3)),
    ("checkerboard", (1, 3, 3)),
    ("checkerboard", (2, 1, 2)),
]


def make_coupling(kind, partition, image, context):
    """Return a coupling with a small conditioner that is not the identity."""
    outputs = {"affine": 2, "shift first": 2, "sigmoid": 2, "additive": 1, "spline": 3 * 4 - 1}[kind]
    sizes = partition.given, outputs * partition.changed
    net = ConvNet(*sizes, 8, 1, context) if image else MLP(*sizes, [16], context=context)
    made = {
        "affine": lambda: AffineCoupling(partition, net),
        "shift first": lambda: AffineCoupling(partition, net, bounded(None), shift_first=True),
        "sigmoid": lambda: AffineCoupling(partition, net, bounded("sigmoid")),
        "additive": lambda: AdditiveCoupling(partition, net),
        "spline": lambda: SplineCoupling(partition, net, bins=4, bound=2.0),
    }[kind]()
    return roughen(made, 0.2)


@pytest.mark.parametrize(("flip", "context"), [(False, 0), (True, 2)])
@pytest.mark.parametrize(("mask", "shape"), CASES)
@pytest.mark.parametrize("kind", ["affine", "shift first", "sigmoid", "additive", "spline"])
def test_couplings_meet_the_contract(kind, mask, shape, flip, context):
    coupling = make_coupling(kind, make_partition(mask, shape, flip), len(shape) == 3, context)
    check_bijection(coupling, torch.randn(3, *shape), torch.randn(3, context) if context else None)


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_joining_the_parts_of_a_partition_restores_the_event(kind, shape):
    x = torch.randn(4, *shape)
    kept = []
    for flip in (False, True):
        partition = make_partition(kind, shape, flip)
        given, changed = partition.split(x)
        assert (given.shape[1], changed.shape[1]) == (partition.given, partition.changed)
        assert torch.equal(partition.join(given, changed), x)
        kept.append(partition.join(given, torch.full_like(changed, math.nan)).isnan())
    assert torch.equal(kept[0], ~kept[1]), "the flipped partition exchanges the parts"


def test_the_bound_holds_and_none_lifts_it():
    def network(x):
        return torch.cat([100 * torch.ones_like(x), torch.zeros_like(x)], 1)

    x = torch.ones(1, 2)
    for bound, expected in ((2.0, 2.0), (None, 100.0), ("sigmoid", 0.0)):
        net = nn.Identity()
        net.forward = network
        _, log_det = AffineCoupling(Halves(2), net, bounded(bound))(x)
        torch.testing.assert_close(log_det, torch.tensor([expected]))


@pytest.mark.parametrize("value", [-50.0, 50.0])
@pytest.mark.parametrize("kind", ["affine", "sigmoid", "spline", "shift first"])
def test_scale_outputs_of_fifty_are_clamped(kind, value):
    coupling = make_coupling(kind, Halves(4), False, 0)
    last = coupling.network.layers[-1]
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, value)
    x = torch.randn(5, 4).requires_grad_()
    for z, log_det in (coupling(x), coupling.inverse(x)):
        assert z.isfinite().all()
        assert log_det.isfinite().all()
    (z.sum() + log_det.sum()).backward()
    assert all(p.grad.isfinite().all() for p in [x, *coupling.parameters()])
