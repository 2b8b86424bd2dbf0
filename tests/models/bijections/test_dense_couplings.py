"""A run of dense affine couplings in few operations has the values and gradients of its layers in a row."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from contract import roughen
from torch import nn
from torch.func import functional_call, jvp, vmap
from torch.nn.utils import parametrizations, parametrize, spectral_norm

from zoo.models.bijections import dense_couplings
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Chain
from zoo.models.bijections.coupling import AffineCoupling, Halves, bounded
from zoo.models.bijections.halves import HalvesChain
from zoo.models.core.flops import count_flops
from zoo.models.core.nfe import count_nfe
from zoo.models.networks.mlp import MLP

ALTERNATING = (False, True, False)


NORMALISED = (0, 1, 2)  # before each coupling, as in Real NVP


def pair(
    dim=5, flips=ALTERNATING, norms=(), hidden=(6, 7), bound=3.0, activation=nn.SiLU, context=0, **settings
):
    """Return a chain that may take the short way, and the plain chain of the same layers.

    ``norms`` are the couplings that a normalisation stands before, as often as they are named; the number of
    couplings stands for the end. They have had their first batch.
    """
    torch.manual_seed(0)
    layers = []
    for index in range(len(flips) + 1):
        layers += [ActNorm(dim) for place in norms if place == index]
        if index < len(flips):
            half = Halves(dim, flips[index])
            net = MLP(half.given, 2 * half.changed, hidden, activation, context=context)
            layers.append(AffineCoupling(half, net, bounded(bound), **settings))
    plain = Chain(layers).double()
    plain(torch.randn(16, dim).double(), torch.randn(16, context).double() if context else None)
    return roughen(HalvesChain(layers)), plain


@pytest.fixture
def taken(monkeypatch):
    """Return a list that grows with each run of couplings that takes the short way."""
    runs = []
    for name in ("transform", "invert"):
        original = getattr(dense_couplings, name)
        monkeypatch.setattr(
            dense_couplings, name, lambda *given, of=original, name=name: runs.append(name) or of(*given)
        )
    return runs


def results(chain, x, context=None):
    """Return values, log-determinants and the gradients of a loss of both, with respect to x and weights."""
    z, log_det = chain(x, context)
    weights = torch.linspace(-1, 1, z.numel(), dtype=z.dtype).view_as(z)
    loss = (z.sin() * weights).sum() + (log_det * weights[:, 0]).sum()
    inputs = [
        value for value in (x, context, *chain.parameters()) if value is not None and value.requires_grad
    ]
    return [z, log_det, *torch.autograd.grad(loss, inputs, allow_unused=True)]


def agree(ours, theirs, rtol=0.0, atol=1e-12):
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=rtol, atol=atol)


@pytest.mark.parametrize(
    "settings",
    [
        *({"hidden": (6, 7, 8)[:depth]} for depth in range(4)),
        {"dim": 2},
        {"flips": (True, False)},
        {"flips": (True, True)},
        {"flips": (False, False, True, True)},
        {"norms": NORMALISED},
        {"norms": (0, 1, 2, 3), "dim": 2},
        {"norms": (0, 0, 2, 3, 3)},
        {"norms": (3,)},
        {"norms": (0,), "flips": (True,)},
        {"norms": (0, 0), "flips": ()},
        {"norms": NORMALISED, "activation": nn.ReLU},
        {"bound": 0.7},
        {"bound": None},
        {"bound": "sigmoid"},
        {"shift_first": True},
        {"activation": nn.Tanh},
        {"activation": nn.ReLU},
        {"context": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("batch", [0, 1, 7])
@pytest.mark.parametrize("wanted", [True, False])
def test_values_and_gradients_are_those_of_the_layers(settings, batch, wanted, taken):
    chain, plain = pair(**settings)
    x = torch.randn(batch, settings.get("dim", 5), dtype=torch.float64, requires_grad=wanted)
    context = None
    if "context" in settings:
        context = torch.randn(batch, settings["context"], dtype=torch.float64, requires_grad=wanted)
    agree(results(chain, x, context), results(plain, x, context))
    with torch.no_grad():
        agree(chain(x, context), plain(x, context))
        agree([chain.invert(x, context)], [plain.invert(x, context)])
    agree(chain.inverse(x, context), plain.inverse(x, context))
    short = not {"activation", "context", "shift_first"} & {*settings} and settings.get("bound", 3.0) in (
        3.0,
        0.7,
    )
    assert taken == (["transform", "transform", "invert"] if short else [])


@pytest.mark.parametrize("norms", [(), NORMALISED])
def test_float32_agrees_to_its_rounding(norms, taken):
    chain, plain = pair(dim=43, hidden=(100, 100), norms=norms)
    chain.float()
    x = torch.randn(64, 43, requires_grad=True)
    for mine, other in zip(results(chain, x), results(plain, x), strict=True):
        assert (mine - other).abs().max() <= 3e-6 * other.abs().max()
    assert taken == ["transform"]


@pytest.mark.parametrize("norms", [(), NORMALISED])
@pytest.mark.parametrize(
    "frozen", [(0,), (1,), (2, 5, 6), (12, 13), (0, 1, 2, 3, 4, 5), (0, 1, 8, 9, 16, 17)]
)
def test_frozen_weights_get_no_gradient_and_the_others_theirs(norms, frozen, taken):
    chain, plain = pair(norms=norms)
    for index, weight in enumerate(chain.parameters()):
        weight.requires_grad_(index not in frozen)
    x = torch.randn(7, 5, dtype=torch.float64)
    agree(results(chain, x), results(plain, x))
    (chain(x)[0].sum()).backward()  # the log-determinant has no gradient
    for index, weight in enumerate(chain.parameters()):
        assert (weight.grad is None) == (index in frozen)
    assert set(taken) == {"transform"}


@pytest.mark.parametrize("norms", [(), NORMALISED])
def test_a_second_pass_and_derivatives_of_gradients_are_those_of_the_layers(norms, taken):
    chain, plain = pair(norms=norms)
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    found = []
    for each in (chain, plain):
        z, log_det = each(x)
        loss = z.sin().sum() + log_det.square().sum()
        weights = [x, *each.parameters()]
        eye = torch.eye(5, dtype=torch.float64)[:, None].expand(5, 7, 5)
        batched = torch.autograd.grad(z, x, eye, is_grads_batched=True, retain_graph=True)
        once = torch.autograd.grad(loss, weights, retain_graph=True)
        again = torch.autograd.grad(loss, weights, retain_graph=True)
        third = torch.autograd.grad(loss, weights, create_graph=True)
        z, log_det = each(x)
        first = torch.autograd.grad(z.sin().sum() + log_det.square().sum(), weights, create_graph=True)
        second = torch.autograd.grad(sum(value.square().sum() for value in first), weights)
        found.append([*once, *again, *third, *first, *second, *batched])
    agree(*found, atol=1e-11)
    assert taken == ["transform"] * 2


@pytest.mark.parametrize("norms", [(), NORMALISED])
def test_weights_changed_before_the_backward_pass_are_refused(norms, taken):
    chain, _ = pair(norms=norms)
    loss = chain(torch.randn(7, 5, dtype=torch.float64))[0].sum()
    with torch.no_grad():
        next(chain.parameters()).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    assert taken == ["transform"]


@pytest.mark.parametrize("norms", [(), NORMALISED])
def test_operations_and_evaluations_are_counted_as_in_the_layers(norms, taken):
    counts, chains = [], pair(norms=norms)
    next(chains[0].parameters()).requires_grad_(False)
    for each in chains:
        x = torch.randn(7, 5, dtype=torch.float64)
        with count_nfe() as nfe:
            flops = count_flops(lambda each=each, x=x: results(each, x))
        counts.append((flops, nfe.count))
    assert counts[0] == counts[1]
    assert counts[0][0][0] > 0
    assert taken == ["transform"]


def test_normalisations_start_from_their_first_batch_and_then_take_the_short_way(taken):
    trained, plain = pair(norms=(0, 1, 2, 3))
    chain = HalvesChain(copy.deepcopy([*plain.layers]))
    unset = {name: value * (not name.endswith("initialised")) for name, value in plain.state_dict().items()}
    chain.load_state_dict(unset)
    x = 3 + 2 * torch.randn(64, 5, dtype=torch.float64)
    z = chain(x)[0]
    agree([z.mean(0), z.std(0, correction=0)], [torch.zeros(5).double(), torch.ones(5).double()])
    assert taken == []
    agree([chain(x)[0]], [z])
    assert taken == ["transform"]
    assert [*chain.state_dict()] == [*plain.state_dict()]
    chain.load_state_dict(trained.state_dict())
    agree(chain(x), plain(x))
    assert taken == ["transform"] * 2, "the loaded ones do not start again"


def hooked(chain):
    for module in chain.modules():
        if isinstance(module, nn.SiLU):
            module.register_forward_hook(lambda module, given, out: 2 * out)


def normalised(chain):
    for module in [*chain.modules()]:
        if isinstance(module, nn.Linear):
            parametrizations.spectral_norm(module)
    chain.eval()


def normalised_by_hooks(chain):
    for module in [*chain.modules()]:
        if isinstance(module, nn.Linear):
            spectral_norm(module)
    chain.eval()


def replaced(chain):
    chain.layers[1].network.forward = lambda x: x.new_ones(len(x), 6)


def dropped(chain):
    chain.layers[0].network.layers[1] = nn.ReLU()


def rescaled(chain):
    chain.layers[1].log_scale = partial(lambda raw, bound: raw / bound, bound=3.0)


def hooked_coupling(chain):
    chain.layers[1].register_forward_hook(lambda module, given, out: (2 * out[0], out[1]))


def replaced_coupling(chain):
    chain.layers[1].forward = lambda x, context: (2 * x, x.sum(1))


def hooked_norm(chain):
    chain.layers[0].register_forward_hook(lambda module, given, out: (2 * out[0], out[1]))


def parametrised_norm(chain):
    parametrize.register_parametrization(chain.layers[2], "bias", nn.ReLU())


def replaced_norm(chain):
    chain.layers[4].forward = lambda x, context: (2 * x, x.sum(1))


@pytest.mark.parametrize(
    ("change", "norms"),
    [
        *((change, ()) for change in (rescaled, hooked, normalised, normalised_by_hooks, replaced, dropped)),
        *((change, ()) for change in (hooked_coupling, replaced_coupling)),
        *((change, NORMALISED) for change in (hooked, hooked_norm, parametrised_norm, replaced_norm)),
    ],
)
def test_layers_that_were_changed_compute_themselves(change, norms, taken):
    chain, plain = pair(norms=norms)
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    before = chain(x)[0]
    change(chain)
    taken.clear()
    agree(results(chain, x), results(plain, x))
    assert not torch.allclose(chain(x)[0], before)
    assert taken == []


def test_a_hook_on_all_modules_is_called(taken):
    chain, _ = pair()
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(type(module)))
    try:
        chain(torch.randn(7, 5, dtype=torch.float64))
    finally:
        handle.remove()
    assert seen.count(MLP) == seen.count(AffineCoupling) == len(ALTERNATING)
    assert taken == []


@pytest.mark.parametrize("norms", [(), NORMALISED])
def test_transforms_and_other_precisions_get_the_layers(norms, taken):
    chain, plain = pair(norms=norms)
    x, tangent = torch.randn(2, 7, 5, dtype=torch.float64)
    weights = {name: value.detach() * 1.1 for name, value in chain.named_parameters()}
    agree(vmap(lambda row: chain(row[None])[1])(x), plain(x)[1][:, None])
    for mine, other in zip(jvp(chain, (x,), (tangent,)), jvp(plain, (x,), (tangent,)), strict=True):
        agree(mine, other)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, tangent)
        slope = torch.autograd.forward_ad.unpack_dual(chain(dual)[0]).tangent
    agree([slope], [jvp(plain, (x,), (tangent,))[1][0]])
    of_norms = {name: value for name, value in weights.items() if "network" not in name}
    for given in (weights, of_norms) if norms else (weights,):
        agree(functional_call(chain, given, (x,)), functional_call(plain, given, (x,)))
    chain.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        agree(chain(x.float()), plain(x.float()))
    chain.bfloat16()
    agree(chain(x.bfloat16()), plain(x.bfloat16()))
    assert taken == []
