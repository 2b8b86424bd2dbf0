"""What weights determine is computed once in evaluation, and anew after every change of the weights."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from zoo.models.bijections.invertible_conv import FullConv1x1, InvertibleConv1x1
from zoo.models.bijections.linear import LULinear
from zoo.models.core.memo import Memo
from zoo.models.networks.made import MADE
from zoo.models.networks.spectral_norm import SpectralNorm

LAYERS = {
    "made": lambda: MADE(3, hidden=(4, 4)),
    "lu": lambda: LULinear(3),
    "plu": lambda: InvertibleConv1x1(3),
    "full": lambda: FullConv1x1(3),
    "spectral": lambda: SpectralNorm(nn.Linear(3, 3), (3,), coefficient=0.5),
}


def outputs(layer, x):
    """Return what the layer computes without gradients, where it remembers, in both directions."""
    with torch.no_grad():
        out = layer(x)
        back = [layer.invert(x)] if hasattr(layer, "invert") else []
    return torch.cat([out[0] if isinstance(out, tuple) else out, *back])


def exact(layer, x):
    """Return the same with gradients, where nothing is remembered."""
    with torch.enable_grad():
        out = layer(x)
        back = [layer.invert(x)] if hasattr(layer, "invert") else []
    return torch.cat([out[0] if isinstance(out, tuple) else out, *back]).detach()


@pytest.mark.parametrize("name", LAYERS)
def test_no_change_of_the_weights_is_missed(name):
    torch.manual_seed(0)
    layer, x = LAYERS[name]().eval(), torch.randn(4, 3)
    weights = list(layer.parameters())
    seen = [outputs(layer, x)]

    def changed():
        seen.append(outputs(layer, x))
        assert not torch.equal(seen[-1], seen[-2])
        torch.testing.assert_close(seen[-1], exact(layer, x), rtol=1e-5, atol=1e-6)

    with torch.no_grad():
        for weight in weights:
            weight.add_(0.3)
    changed()
    layer.load_state_dict({key: value * 1.1 for key, value in layer.state_dict().items()})
    changed()
    sum(weight.square().sum() for weight in weights).backward()
    torch.optim.Adam(weights, lr=0.1).step()
    changed()
    layer.train()
    torch.optim.Adam(weights, lr=0.1, fused=True).step()  # not counted as a change by torch
    layer.eval()
    changed()
    for weight in weights:
        weight.data.mul_(0.8)
    layer.eval()
    changed()
    assert outputs(layer.double(), x.double()).dtype == torch.float64
    torch.testing.assert_close(outputs(layer, x.double()), exact(layer, x.double()))


@pytest.mark.parametrize("name", LAYERS)
def test_a_copy_has_weights_of_its_own(name):
    layer, x = LAYERS[name]().eval(), torch.randn(4, 3)
    before = outputs(layer, x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        with torch.no_grad():
            for weight in twin.parameters():
                weight.mul_(0.5).add_(0.1)
        torch.testing.assert_close(outputs(twin, x), exact(twin, x), rtol=1e-5, atol=1e-6)
        assert torch.equal(outputs(layer, x), before)


def test_a_value_is_computed_once_in_evaluation_without_gradients():
    layer, calls = nn.Linear(2, 2), []
    memo = Memo()

    def compute():
        calls.append(1)
        return 2 * layer.weight

    def ask():
        return memo.of(layer, (layer.weight,), compute)

    ask()
    layer.eval()
    ask()
    assert len(calls) == 2  # in training, then with gradients
    with torch.inference_mode():
        remembered = ask()
    with torch.no_grad():
        assert ask() is remembered
    assert len(calls) == 3
    assert not remembered.is_inference()
    with torch.no_grad():
        layer.weight += 1
        assert ask() is not remembered


def test_a_functional_call_uses_its_own_weights():
    layer, x = LAYERS["made"]().eval(), torch.randn(4, 3)
    with torch.no_grad():
        layer.output.weight.normal_()
        before = layer(x)
        given = {"output.weight": 2 * layer.output.weight}
        torch.testing.assert_close(torch.func.functional_call(layer, given, (x,)), 2 * before)
        assert torch.equal(layer(x), before)
