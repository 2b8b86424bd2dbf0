"""Tests of recomputed activations: the gradients of the plain chain, with less memory."""

from __future__ import annotations

import copy

import pytest
import torch
from contract import check_bijection, roughen
from torch import nn

from zoo.errors import ZooError
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Bijection, Chain
from zoo.models.bijections.invertible_conv import InvertibleConv1x1
from zoo.models.bijections.reversible import Reversible
from zoo.models.core import rng
from zoo.models.core.functional import sum_event


class Conditioned(Bijection):
    """A coupling z2 = x2 exp(s) + t with (s, t) from x1 and the context, with dropout and keyed noise."""

    def __init__(self, dim, context=0, dropout=0.0, noisy=False):
        super().__init__()
        self.half, self.noisy = dim // 2, noisy
        self.net = nn.Sequential(
            nn.Linear(self.half + context, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 2 * self.half)
        )

    def affine(self, first, context):
        first = first if context is None else torch.cat([first, context], 1)
        s, t = self.net(first).chunk(2, 1)
        return s + (0.1 * rng.normal(s) if self.noisy else 0), t

    def forward(self, x, context=None):
        first, second = x.chunk(2, 1)
        s, t = self.affine(first, context)
        return torch.cat([second * s.exp() + t, first], 1), sum_event(s)

    def inverse(self, z, context=None):
        second, first = z.chunk(2, 1)
        s, t = self.affine(first, context)
        return torch.cat([first, (second - t) * (-s).exp()], 1), -sum_event(s)


def steps(depth, **settings):
    made = [Chain([ActNorm(4), InvertibleConv1x1(4), Conditioned(4, **settings)]) for _ in range(depth)]
    return roughen(nn.ModuleList(made).double())


def gradients(chain, loss, x, context):
    """Return the gradients of a loss of (z, log_det) with respect to inputs, contexts and parameters."""
    x = x.clone().requires_grad_()
    given = None if context is None else context.clone().requires_grad_()
    chain.zero_grad()
    loss(*chain(x, given)).backward()
    reached = [x, *([] if given is None else [given]), *(p for p in chain.parameters() if p.requires_grad)]
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in reached]


LOSSES = {
    "likelihood": lambda z, log_det: (0.5 * z.square().sum(1) - log_det).mean(),
    "weights": lambda z, log_det: (
        (0.5 * z.square().sum(1) - log_det) * torch.tensor([0.0, 3, 1, 0.2])
    ).sum(),
    "value only": lambda z, log_det: z.pow(3).sum(),
    "log-det only": lambda z, log_det: log_det.square().sum(),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_gradients_are_those_of_the_plain_chain(name, direction):
    layers = steps(6, context=3)
    plain, lean = Chain(layers).eval(), Reversible(copy.deepcopy(layers)).eval()
    x, context = torch.randn(4, 4, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)

    def run(chain):
        return chain if direction == "forward" else Turned(chain)

    expected = gradients(run(plain), LOSSES[name], x, context)
    actual = gradients(run(lean), LOSSES[name], x, context)
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


class Turned(nn.Module):
    def __init__(self, chain):
        super().__init__()
        self.chain = chain

    def forward(self, x, context):
        return self.chain.inverse(x, context)


@pytest.mark.parametrize(("size", "error"), [(0.1, 1e-5), (1.0, 1e-3)])
def test_gradients_of_a_deep_chain_in_float32(size, error):
    """What the inverses round away is not carried past a kept input: over all 64 steps of the second chain,
    whose gradient in float32 is itself no better than 1e-2, it would grow to several times the gradient."""
    layers = steps(64).float()
    with torch.no_grad():
        for layer in layers:
            layer.layers[2].net[-1].weight.mul_(size)
            layer.layers[2].net[-1].bias.mul_(size)
    x, result = torch.randn(32, 4), []
    for chain in (Reversible(copy.deepcopy(layers)), Chain(layers)):
        parts = gradients(chain.eval(), LOSSES["likelihood"], x, None)
        result.append(torch.cat([part.flatten() for part in parts]))
    assert (result[0] - result[1]).norm() <= error * result[1].norm()


@pytest.mark.parametrize("nested", [False, True])
def test_nested_chains_add_their_log_dets_once(nested):
    layers = steps(4)
    inner = Reversible(copy.deepcopy(layers[:2])) if nested else Chain(copy.deepcopy(layers[:2]))
    lean, plain = Reversible([inner, *copy.deepcopy(layers[2:])]).eval(), Chain(layers).eval()
    x = torch.randn(4, 4, dtype=torch.float64)
    torch.testing.assert_close(lean(x), plain(x))
    pairs = zip(
        gradients(lean, LOSSES["weights"], x, None), gradients(plain, LOSSES["weights"], x, None), strict=True
    )
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("keyed", [False, True])
def test_dropout_and_noise_repeat(keyed):
    """With other random numbers the recomputed point, and so the gradient, would differ."""
    layers = steps(5, dropout=0.5, noisy=True)
    plain, lean = Chain(layers).train(), Reversible(copy.deepcopy(layers)).train()
    data, results = torch.randn(4, 4, dtype=torch.float64), []
    for chain in (plain, lean):
        torch.manual_seed(3)
        chain(data)  # actnorm sets itself
        x = data.clone().requires_grad_()
        if keyed:
            with rng.keyed(rng.keys(5, count=4)):
                loss = LOSSES["likelihood"](*chain(x))
        else:
            loss = LOSSES["likelihood"](*chain(x))
        torch.rand(7)  # other code draws before the backward pass
        loss.backward()
        results.append([x.grad, *(p.grad for p in chain.parameters()), torch.rand(3)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


def test_shared_and_frozen_parameters_have_the_plain_gradients():
    shared = steps(1)[0]
    lean, plain = Reversible([shared] * 3).eval(), Chain(copy.deepcopy(nn.ModuleList([shared] * 3))).eval()
    for chain in (lean, plain):
        chain.layers[0].layers[0].bias.requires_grad_(False)
    assert list(lean.state_dict()) == list(plain.state_dict()), (
        "a checkpoint of one can be loaded into the other"
    )
    x = torch.randn(4, 4, dtype=torch.float64)
    actual, expected = (gradients(chain, LOSSES["likelihood"], x, None) for chain in (lean, plain))
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


class Forgetful(Conditioned):
    reversible = False


def test_reversible_is_a_bijection_and_an_irreversible_layer_is_an_error():
    check_bijection(Reversible(steps(3, context=2)), torch.randn(3, 4), torch.randn(3, 2))
    with pytest.raises(ZooError, match="Forgetful"):
        Reversible([Chain([Forgetful(4)])])
    x = torch.randn(2, 4, requires_grad=True)
    z, log_det = Reversible([])(x)
    (z.sum() + log_det.sum()).backward()
    assert torch.equal(x.grad, torch.ones(2, 4))


def saved_bytes(chain, x):
    """Return the number of bytes that the graph of a forward pass holds, without parameters."""
    own = {p.data_ptr() for p in chain.parameters()}
    held = {}

    def pack(tensor):
        if tensor.data_ptr() not in own:
            held[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        chain(x)
    return sum(held.values())


def test_saved_memory_grows_by_one_input_in_eight_layers():
    x = torch.randn(64, 4, dtype=torch.float64)
    shallow, deep = (saved_bytes(Reversible(steps(depth)), x) for depth in (2, 32))
    assert deep - shallow == 3 * x.nbytes
    assert saved_bytes(Chain(steps(32)), x) > 10 * saved_bytes(Chain(steps(2)), x)
