"""A chain that keeps halves apart is the plain chain of the same layers."""

from __future__ import annotations

import copy

import pytest
import torch
from contract import check_bijection, roughen
from torch import nn

from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Bijection, Chain
from zoo.models.bijections.coupling import AdditiveCoupling, AffineCoupling, make_partition
from zoo.models.bijections.halves import HalvesChain
from zoo.models.bijections.permutation import Permutation
from zoo.models.core.functional import concatenate, divide, for_products
from zoo.models.networks.mlp import MLP, run_dense


def coupling(dim: int, flip: bool, additive: bool = False, context: int = 0) -> Bijection:
    partition = make_partition("half", (dim,), flip=flip)
    if additive:
        return AdditiveCoupling(partition, MLP(partition.given, partition.changed, (8,), context=context))
    return AffineCoupling(partition, MLP(partition.given, 2 * partition.changed, (8,), context=context))


def layers(dim: int, context: int = 0) -> list[Bijection]:
    """Return couplings of alternating and of equal halves, in chains and not, other layers between them."""
    order = torch.arange(dim).flip(0)
    return [
        coupling(dim, False, context=context),
        Chain([coupling(dim, True, context=context)]),
        coupling(dim, True, additive=True, context=context),
        Chain([ActNorm(dim), coupling(dim, False, context=context), Chain([Permutation(order)])]),
        Permutation(order),
        coupling(dim, True, context=context),
    ]


@pytest.mark.parametrize("dim", [2, 5])
@pytest.mark.parametrize("context", [0, 3])
def test_it_is_the_chain_of_its_layers(dim, context):
    torch.manual_seed(0)
    plain = roughen(Chain(layers(dim, context))).double().eval()
    halves = HalvesChain(layers(dim, context)).double().eval()
    halves.load_state_dict(plain.state_dict())
    x = torch.randn(7, dim, dtype=torch.float64)
    given = torch.randn(7, context, dtype=torch.float64) if context else None
    for name in ("forward", "inverse"):
        for ours, theirs in zip(getattr(halves, name)(x, given), getattr(plain, name)(x, given), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    torch.testing.assert_close(halves.invert(x, given), plain.invert(x, given), rtol=0, atol=1e-12)
    for chain in (halves, plain):
        z, log_det = chain(x, given)
        (z.square().sum() - (log_det * torch.arange(7)).sum()).backward()
    for ours, theirs in zip(halves.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dim", [2, 5])
def test_it_meets_the_contract(dim):
    check_bijection(roughen(HalvesChain(layers(dim))), torch.randn(4, dim))


def test_an_empty_chain_changes_nothing():
    x = torch.randn(3, 2)
    for z, log_det in (HalvesChain([])(x), HalvesChain([]).inverse(x)):
        assert z is x
        assert log_det.tolist() == [0, 0, 0]
    assert HalvesChain([]).invert(x) is x


def test_features_first_keeps_values_and_format():
    x = torch.arange(12.0).view(4, 3)
    first = for_products(x)
    assert torch.equal(first, x)
    assert first.stride() == (1, 4)
    with_gradient = first.clone().requires_grad_()
    for y in (first, with_gradient):
        parts = divide(y, (1, 2))
        assert [tuple(part.shape) for part in parts] == [(4, 1), (4, 2)]
        joined = concatenate(parts)
        assert torch.equal(joined, x)
        assert joined.stride() == (1, 4)
    assert torch.equal(concatenate(divide(x, (1, 2))), x)
    assert concatenate(divide(x, (1, 2))).is_contiguous()


@pytest.mark.parametrize("activation", [nn.SiLU, nn.Tanh, nn.ReLU])
@pytest.mark.parametrize("batch", [1, 6])
def test_a_dense_network_is_its_layers_in_a_row(activation, batch):
    torch.manual_seed(0)
    net = roughen(MLP(3, 4, (5, 6), activation)).double()
    x = torch.randn(batch, 3, dtype=torch.float64)
    before, expected = x.clone(), net.layers(x)
    with torch.no_grad():  # in place where nothing is kept for a gradient, but never on the input
        torch.testing.assert_close(run_dense(net.layers, x), expected, rtol=0, atol=1e-12)
    assert torch.equal(x, before)
    x.requires_grad_()
    out = net(x)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    weights = torch.randn_like(expected)
    ours = torch.autograd.grad((out * weights).sum(), [x, *net.parameters()])
    theirs = torch.autograd.grad((net.layers(x) * weights).sum(), [x, *net.parameters()])
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)


def test_every_layer_and_nested_chain_calls_its_hooks_and_they_may_change_the_result():
    torch.manual_seed(0)
    plain = Chain(layers(5)).double().eval()
    halves = HalvesChain(copy.deepcopy([*plain.layers])).double().eval()
    x = torch.randn(7, 5, dtype=torch.float64)
    unchanged, count = halves(x)[0], len([m for m in plain.modules() if isinstance(m, Bijection)]) - 1
    for place in range(1, count + 1):
        results = []
        for chain in (plain, halves):
            layer = [m for m in chain.modules() if isinstance(m, Bijection)][place]
            handle = layer.register_forward_hook(lambda module, given, out: (2 * out[0], out[1]))
            results.append(chain(x)[0])
            handle.remove()
        if type(layer) is Permutation:  # every chain asks it to move values, which calls no hooks
            continue
        torch.testing.assert_close(*results, rtol=0, atol=1e-12)
        assert not torch.allclose(results[1], unchanged), f"layer {place} was not called"


class Doubling(AffineCoupling):
    """An affine coupling that doubles z."""

    def forward(self, x, context=None):
        z, log_det = super().forward(x, context)
        return 2 * z, log_det


def test_a_coupling_of_ones_own_is_called():
    half = make_partition("half", (4,), flip=False)
    series = [Doubling(half, MLP(half.given, 2 * half.changed, (8,))), coupling(4, True)]
    x = torch.randn(3, 4)
    for ours, theirs in zip(HalvesChain(series)(x), Chain(series)(x), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", ["inverse", "invert"])
@pytest.mark.parametrize("place", [0, 1])
def test_an_inverse_that_was_replaced_on_a_coupling_or_a_nested_chain_is_called(name, place):
    plain = Chain(layers(5)).eval()
    halves = HalvesChain([*plain.layers]).eval()
    z = torch.randn(3, 5)
    replaced = (torch.zeros(3, 5), torch.zeros(3)) if name == "inverse" else torch.zeros(3, 5)
    setattr(halves.layers[place], name, lambda z, context=None: replaced)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            torch.testing.assert_close(getattr(halves, name)(z), getattr(plain, name)(z))
