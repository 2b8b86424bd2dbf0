"""A masked affine layer as one operation has the values and gradients of autograd's operations in a row."""

from __future__ import annotations

import copy
from collections import Counter
from itertools import product

import pytest
import torch
from contract import roughen
from torch import nn
from torch.func import functional_call, jvp, vmap
from torch.nn.utils import parametrizations

import zoo
from zoo.models.bijections import by_hand
from zoo.models.bijections.autoregressive import MaskedAffineAutoregressive
from zoo.models.core.flops import count_flops
from zoo.models.core.nfe import count_nfe

USED = Counter({"masked layers as one operation": 1})
SHORT = [
    *({"hidden": (6, 7, 8)[:depth]} for depth in (1, 2, 3)),
    {"dim": 1},
    {"activation": "tanh"},
    {"scale": "log_precision"},
    {"log_scale_bound": 0.7},
    {"log_scale_bound": None},
    {"log_scale_bound": None, "scale": "log_precision"},
    {"input_bound": 0.9},
    {"input_bound": 0.9, "activation": "tanh", "scale": "log_precision"},
    {"degrees": "cyclic", "start": "normal"},
    {"degrees": "random", "hidden": (40, 40)},
]
LONG = [{"residual": True, "hidden": (7, 7)}, {"context": 2}]


def layer(dim=5, hidden=(6, 7), **settings):
    torch.manual_seed(0)
    return roughen(MaskedAffineAutoregressive(dim, hidden, **settings).double())


def plain(ours):
    """Return a copy that computes by autograd: its f counts as changed."""
    other = copy.deepcopy(ours)
    other.apply_to = other.apply_to
    return other


def results(each, x, context=None):
    """Return values, log-determinants and the gradients of a loss of both, with respect to x and weights."""
    z, log_det = each(x, context)
    weights = torch.linspace(-1, 1, z.numel(), dtype=z.dtype).view_as(z)
    loss = (z.sin() * weights).sum() + (log_det * weights[:, 0]).sum()
    inputs = [value for value in (x, context, *each.parameters()) if value is not None]
    inputs = [value for value in inputs if value.requires_grad]
    return [z, log_det, *torch.autograd.grad(loss, inputs, allow_unused=True)]


def agree(ours, theirs, rtol=1e-12, atol=1e-12):
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=rtol, atol=atol)


@pytest.fixture
def used():
    """Return a function that tells how often formulas were used since it was called last."""
    before = by_hand.uses.copy()

    def since():
        nonlocal before
        found, before = by_hand.uses - before, by_hand.uses.copy()
        return found

    return since


@pytest.mark.parametrize("settings", SHORT + LONG, ids=str)
@pytest.mark.parametrize(("batch", "wanted"), product([0, 1, 7], [True, False]))
def test_values_and_gradients_are_those_of_autograd(settings, batch, wanted, used):
    ours = layer(**settings)
    x = 2 * torch.randn(batch, settings.get("dim", 5), dtype=torch.float64)
    x.requires_grad_(wanted)
    context = torch.randn(batch, 2, dtype=torch.float64) if "context" in settings else None
    mine = results(ours, x, context)
    assert used() == (USED if settings in SHORT else Counter())
    agree(mine, results(plain(ours), x, context))
    assert used() == Counter()
    with torch.no_grad():
        agree(mine[:2], ours(x, context))
    assert used() == Counter(), "without gradients the network's own short way is faster"


def test_gradients_are_those_of_finite_differences():
    ours = layer(activation="tanh", input_bound=2.0, scale="log_precision")
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ours, (x,), nondet_tol=1e-12)  # a second pass is autograd's


def test_float32_agrees_to_its_rounding(used):
    ours = layer(43, (100, 100)).float()
    x = torch.randn(64, 43, requires_grad=True)
    for mine, other in zip(results(ours, x), results(plain(ours), x), strict=True):
        assert (mine - other).abs().max() <= 1e-5 * other.abs().max()
    assert used() == USED


@pytest.mark.parametrize("columns", [True, False])
def test_the_memory_format_of_events_and_gradients_does_not_matter(columns):
    ours = layer()
    x = torch.randn(7, 5, dtype=torch.float64)
    x = (x.t().contiguous().t() if columns else x).requires_grad_()
    found = []
    for each in (ours, plain(ours)):
        z, log_det = each(x)
        both = (torch.ones(5, 7, dtype=torch.float64).t(), torch.ones(1, dtype=torch.float64).expand(7))
        found.append(torch.autograd.grad((z, log_det), [x, *each.parameters()], both))
    agree(*found)


@pytest.mark.parametrize("frozen", [(0,), (1,), (4, 5), (0, 2, 4), (0, 1, 2, 3, 4, 5)])
def test_frozen_weights_get_no_gradient_and_the_others_theirs(frozen, used):
    ours = layer()
    for index, weight in enumerate(ours.parameters()):
        weight.requires_grad_(index not in frozen)
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    agree(results(ours, x), results(plain(ours), x))
    ours(x)[0].sum().backward()  # the log-determinant has no gradient
    for index, weight in enumerate(ours.parameters()):
        assert (weight.grad is None) == (index in frozen)
    assert used() == Counter({name: 2 * count for name, count in USED.items()})


def test_weights_that_the_mask_hides_get_a_gradient_of_zero(used):
    ours = layer()
    ours(torch.randn(7, 5, dtype=torch.float64))[0].square().sum().backward()
    assert used() == USED
    for masked in [*ours.network.layers, ours.network.output]:
        assert masked.weight.grad[masked.mask == 0].abs().max() == 0
        assert masked.weight.grad[masked.mask == 1].abs().max() > 0


def test_a_second_pass_and_derivatives_of_gradients_are_those_of_autograd(used):
    ours = layer(activation="tanh", input_bound=2.0)
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    found = []
    for each in (ours, plain(ours)):
        z, log_det = each(x)
        loss = z.sin().sum() + log_det.square().sum()
        weights = [x, *each.parameters()]
        eye = torch.eye(5, dtype=torch.float64)[:, None].expand(5, 7, 5)
        batched = torch.autograd.grad(z, x, eye, is_grads_batched=True, retain_graph=True)
        once = torch.autograd.grad(loss, weights, retain_graph=True)
        again = torch.autograd.grad(loss, weights, retain_graph=True)
        z, log_det = each(x)
        first = torch.autograd.grad(z.sin().sum() + log_det.square().sum(), weights, create_graph=True)
        second = torch.autograd.grad(sum(value.square().sum() for value in first), weights)
        found.append([*batched, *once, *again, *first, *second])
    agree(*found, atol=1e-11)
    assert used() == Counter({name: 2 * count for name, count in USED.items()})


def test_weights_changed_before_the_backward_pass_are_refused():
    ours = layer()
    loss = ours(torch.randn(7, 5, dtype=torch.float64))[0].sum()
    with torch.no_grad():
        next(ours.parameters()).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("wanted", [True, False])
def test_operations_and_evaluations_are_counted_as_by_autograd(wanted, used):
    counts, ours = [], layer()
    for each in (ours, plain(ours)):
        x = torch.randn(7, 5, dtype=torch.float64, requires_grad=wanted)
        with count_nfe() as nfe:
            flops = count_flops(lambda each=each, x=x: results(each, x))
        counts.append((flops, nfe.count))
    assert counts[0] == counts[1]
    assert counts[0][0][0] > 0
    assert counts[0][1] == 1
    assert used() == USED


def hooked(ours):
    ours.network.layers[0].register_forward_hook(lambda module, given, out: 2 * out)


def hooked_network(ours):
    ours.network.register_forward_hook(lambda module, given, out: 2 * out)


def normalised(ours):
    parametrizations.spectral_norm(ours.network.layers[1])
    ours.eval()


def replaced(ours):
    ours.network.forward = lambda x, context: x.new_ones(len(x), 5, 2)


def changed(ours):
    ours.apply_to = lambda x, parameters: (2 * x, torch.zeros_like(x))


@pytest.mark.parametrize("change", [hooked, hooked_network, normalised, replaced, changed])
def test_layers_that_were_changed_compute_themselves(change, used):
    ours = layer()
    x = torch.randn(7, 5, dtype=torch.float64)
    before = ours(x)[0]
    change(ours)
    used()
    after = ours(x)[0]
    assert used() == Counter()
    assert not torch.allclose(after, before)


def test_a_subclass_keeps_its_own_map(used):
    class Doubled(MaskedAffineAutoregressive):
        def apply_to(self, x, parameters):
            z, log_slope = super().apply_to(x, parameters)
            return 2 * z, log_slope

    torch.manual_seed(0)
    other = Doubled(5, (6, 7)).double()
    x = torch.randn(7, 5, dtype=torch.float64)
    torch.manual_seed(0)
    agree([other(x)[0]], [2 * MaskedAffineAutoregressive(5, (6, 7)).double()(x)[0]])
    assert used() == USED, "of the second one alone"


def test_a_hook_on_all_modules_is_called(used):
    ours, seen = layer(), []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(module))
    try:
        ours(torch.randn(7, 5, dtype=torch.float64))
    finally:
        handle.remove()
    assert {*seen} == {ours, *ours.network.layers, ours.network.output, ours.network}
    assert used() == Counter()


def test_transforms_and_other_precisions_get_autograd(used):
    ours = layer()
    other = plain(ours)
    x, tangent = torch.randn(2, 7, 5, dtype=torch.float64)
    weights = {name: value.detach() * 1.1 for name, value in ours.named_parameters()}
    agree(vmap(lambda row: ours(row[None])[1])(x), other(x)[1][:, None])
    for mine, theirs in zip(jvp(ours, (x,), (tangent,)), jvp(other, (x,), (tangent,)), strict=True):
        agree(mine, theirs)
    agree(functional_call(ours, weights, (x,)), functional_call(other, weights, (x,)))
    ours.float(), other.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        agree(ours(x.float()), other(x.float()))
    assert used() == Counter()


def test_wide_layers_are_computed_in_pieces(used, monkeypatch):
    ours = layer(dim=4, hidden=(16, 16))
    monkeypatch.setattr("zoo.models.networks.masked.LARGE", 7 * 16 * 16)
    ours(torch.randn(6, 4, dtype=torch.float64))
    assert used() == USED
    ours(torch.randn(7, 4, dtype=torch.float64))
    assert used() == Counter()


@pytest.mark.parametrize("settings", [{}, {"batch_norm": False, "input_bound": None}], ids=str)
def test_a_maf_trains_as_by_autograd(settings, used, monkeypatch):
    torch.manual_seed(0)
    ours = zoo.build("maf", zoo.DataSpec((4,)), layers=3, hidden=(16, 16), **settings).double()
    other = copy.deepcopy(ours)
    for module in other.modules():
        if isinstance(module, MaskedAffineAutoregressive):
            module.apply_to = module.apply_to
    data = torch.randn(64, 4, dtype=torch.float64).cumsum(1)
    for each, count in ((ours, 3), (other, 0)):
        optimizer = torch.optim.SGD(each.parameters(), lr=1e-2)
        for _ in range(20):
            optimizer.zero_grad()
            (-each.log_prob(data).mean()).backward()
            optimizer.step()
        assert used().total() == 20 * count
    agree(ours.parameters(), other.parameters(), rtol=1e-7, atol=1e-8)
