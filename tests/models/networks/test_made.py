"""Tests of MADE: its dependencies are all the allowed ones, with spread and with drawn degrees."""

from __future__ import annotations

import pytest
import torch
from autoregressive_tools import normal, perturbed
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import zoo
from zoo.models.networks import masked
from zoo.models.networks.made import MADE
from zoo.models.networks.masked import Degrees, MaskedLinear, cyclic_degrees, drawn_degrees, spread_degrees


@pytest.mark.parametrize(
    ("dim", "hidden"), [(2, (1,)), (3, (2, 5)), (6, (5, 5)), (7, (20, 6, 9)), (43, (64, 42))]
)
def test_made_has_every_dependency_and_no_other(dim: int, hidden: tuple[int, ...]) -> None:
    network = MADE(dim, 2, hidden)
    assert network.coverage() == 1
    with torch.no_grad():  # positive weights: no dependency cancels, no unit is off
        for parameter in network.double().parameters():
            parameter.copy_(torch.rand(parameter.shape, dtype=torch.float64) / 10 + 0.01)
    slope = torch.autograd.functional.jacobian(
        lambda v: network(v[None])[0], torch.rand(dim, dtype=torch.float64)
    )
    allowed = torch.ones(dim, dim).tril(-1).bool()
    for parameter_slope in slope.unbind(1):
        assert torch.equal(parameter_slope != 0, allowed)


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize(("dim", "hidden"), [(9, (3, 5)), (30, (7, 4, 7)), (6, (40, 2)), (2, (1,))])
@pytest.mark.filterwarnings("ignore:MADE with")
def test_coverage_counts_what_the_masks_connect(dim: int, hidden: tuple[int, ...], context: int) -> None:
    network = MADE(dim, 3, hidden, context=context)
    paths = torch.eye(dim, dtype=torch.float64)
    for layer in [*network.layers, network.output]:
        paths = layer.mask.double() @ paths  # type: ignore[operator, union-attr]
    connected = int((paths[::3] > 0).sum())
    assert network.coverage() == pytest.approx(connected / (dim * (dim - 1) / 2))


def test_made_that_is_too_narrow_loses_little() -> None:
    assert MADE(784, 1, (100,)).coverage() > 0.99  # degrees 1..100 would keep 24 %
    degrees = spread_degrees(100, 784)
    assert degrees.min() >= 1
    assert degrees.max() <= 783
    assert len(degrees.unique()) == 100


@pytest.mark.parametrize("context", [0, 2])
def test_made_of_one_dimension_depends_on_the_context_alone(context: int) -> None:
    network = perturbed(MADE(1, 2, (8,), context=context))
    c = normal(1, context).expand(5, -1) if context else None
    out = network(normal(5, 1), c)
    assert torch.equal(out, out[:1].expand_as(out))
    if context:
        assert not torch.allclose(out, network(normal(5, 1), c + 1))


def test_made_warns_where_a_narrow_layer_loses_dependencies() -> None:
    with pytest.warns(UserWarning, match="wider"):
        assert MADE(50, 1, (8,)).coverage() < 0.99


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": ()}, "at least 1"),
        ({"hidden": (8,), "residual": True}, "equal"),
        ({"hidden": (8, 9), "residual": True}, "equal"),
        ({"hidden": (8, 8), "activation": "gelu"}, "relu or tanh"),
        ({"hidden": (8, 8), "dropout": 0.1}, "residual"),
    ],
)
def test_invalid_settings_of_made_are_an_error(settings: dict[str, object], message: str) -> None:
    with pytest.raises(zoo.ZooError, match=message):
        MADE(3, 2, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize(
    "settings", [{"activation": "tanh"}, {"hidden": (9, 9, 9), "residual": True}], ids=str
)
def test_made_in_other_forms_has_every_dependency(settings: dict[str, object], context: int) -> None:
    network = perturbed(MADE(7, 2, **{"hidden": (9, 12), "context": context} | settings))  # type: ignore[arg-type]
    assert network.coverage() == 1
    slope = torch.zeros(7, 2, 7, dtype=torch.float64)
    for x in normal(5, 7):  # at a single point a ReLU may hide a dependency
        c = normal(1, context, seed=2) if context else None
        slope += torch.autograd.functional.jacobian(lambda v, c=c: network(v[None], c)[0], x).abs()
    for parameter_slope in slope.unbind(1):
        assert torch.equal(parameter_slope != 0, torch.ones(7, 7).tril(-1).bool())


def test_dropout_is_for_training_only() -> None:
    network = perturbed(MADE(5, 2, (16, 16), residual=True, dropout=0.5))
    x = normal(3, 5)
    assert torch.equal(network(x), network(x))
    network.train()
    assert not torch.equal(network(x), network(x))


@pytest.mark.parametrize("degrees", ["cyclic", "random"])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("context", [0, 2])
def test_other_degrees_make_an_autoregressive_network_too(
    context: int, residual: bool, degrees: Degrees
) -> None:
    network = perturbed(MADE(7, 3, (40, 40), context=context, residual=residual, degrees=degrees, draw=1))
    x, c = normal(7), normal(1, context, seed=2) if context else None
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x[None], c)[0], x)
    depends = jacobian.abs().sum(1) > 0
    assert torch.equal(depends, torch.ones(7, 7, dtype=torch.bool).tril(-1)), (
        "all allowed dependencies and no others"
    )
    rows, own = normal(4, 7), c.expand(4, -1) if c is not None else None
    with torch.no_grad():
        filled, parameters = network.generate(4, lambda i, _: rows[:, i], own)
        torch.testing.assert_close(parameters, network(rows, own), rtol=1e-12, atol=1e-12)
    assert torch.equal(filled, rows)


def test_degrees_are_drawn_uniformly_from_those_below_and_not_spread() -> None:
    drawn = drawn_degrees(20000, 11, 3, seed=5)
    counts = torch.bincount(drawn, minlength=11)
    assert not counts[:3].any()
    expected = 20000 / 8
    assert float((counts[3:] - expected).square().sum() / expected) < 24.3, "chi-square of 7, 0.1 %"
    first, second = MADE(300, hidden=(16, 2000), degrees="random").degrees
    assert int(second[0]) >= int(first[0]) > 1, "from the least degree of the layer below"
    assert not torch.equal(first, MADE(300, hidden=(16, 2000), degrees="random", draw=1).degrees[0])


@pytest.mark.filterwarnings("ignore:MADE with")
def test_cyclic_degrees_count_from_the_first_input_and_begin_again() -> None:
    for network in (MADE(784, 1, (1024, 1024), degrees="cyclic"), MADE(5, 1, (9, 3), degrees="cyclic")):
        choices = network.dim - 1
        for layer in network.degrees:
            assert layer.tolist() == sorted(unit % choices + 1 for unit in range(len(layer)))
    assert cyclic_degrees(100, 784).tolist() == [*range(1, 101)]
    assert cyclic_degrees(5, 3, 0).tolist() == [0, 0, 1, 1, 2], "from 0 with a context"
    assert cyclic_degrees(3, 1).tolist() == [0, 0, 0], "one dimension has no dimensions before it"


@pytest.mark.parametrize("residual", [False, True])
def test_a_normal_start_counts_all_inputs_of_a_layer(residual: bool) -> None:
    """The standard deviations are those of gpapamak/maf, ml/models/mades.py."""
    torch.manual_seed(0)
    network = MADE(5, 50, (800, 800), context=5, residual=residual, start="normal")
    layers = [*network.layers, network.output, network.context]
    assert [layer.in_features for layer in layers] == [5, *[800] * (2 if not residual else 3), 5]
    for layer in layers:
        standardised = layer.weight.detach() * (layer.in_features + 1) ** 0.5
        assert standardised.std() == pytest.approx(1, abs=0.02)
        assert standardised.abs().max() > 3.5, "normal, not uniform"
        assert layer.bias is None or not layer.bias.any()
    default = MADE(5, 50, (800, 800), context=5)
    assert not default.output.weight.any()
    with pytest.raises(zoo.ZooError, match=r"model\.start must be he or normal; got 'xavier'"):
        MADE(30, start="xavier")


@pytest.mark.parametrize("parameters", [1, 2, 3, 5])
def test_a_large_product_in_pieces_is_the_whole_product(monkeypatch, parameters):
    torch.manual_seed(0)
    network, x = MADE(7, parameters, (60, 60), context=3).double(), torch.randn(5, 7, dtype=torch.float64)
    context = torch.randn(5, 3, dtype=torch.float64)
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.3)
    results, operations = [], []
    for large in (2**62, 0):
        monkeypatch.setattr(masked, "LARGE", large)
        network.zero_grad()
        with FlopCounterMode(display=False) as training:
            out = network(x.requires_grad_(), context)
            out.square().sum().backward()
        results.append([out.detach(), *(value.grad.clone() for value in (x, *network.parameters()))])
        x.grad = None
        with torch.no_grad(), FlopCounterMode(display=False) as evaluation:
            torch.testing.assert_close(network.eval()(x, context), out)
        operations.append([counter.get_total_flops() for counter in (training, evaluation)])
    torch.testing.assert_close(*results)
    for whole, pieces in zip(*operations, strict=True):
        assert pieces < 0.7 * whole


def test_a_product_in_pieces_has_all_derivatives(monkeypatch):
    monkeypatch.setattr(masked, "LARGE", 0)
    torch.manual_seed(0)
    layer, x = MaskedLinear(torch.ones(9, 6).tril(-2)).double(), torch.randn(4, 6, dtype=torch.float64)
    weights = tuple(weight.detach().requires_grad_() for weight in layer.parameters())

    def product(x, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    inputs = (x.requires_grad_(), *weights)
    assert torch.autograd.gradcheck(product, inputs)
    assert torch.autograd.gradgradcheck(product, inputs)
    loss = product(*inputs).square().sum()
    gradients = [
        torch.autograd.grad(loss, inputs, create_graph=again, retain_graph=True) for again in (True, False)
    ]
    torch.testing.assert_close(*gradients)
    whole = layer.weight * layer.mask
    by_rows = torch.func.vmap(torch.func.jacrev(lambda row: layer(row[None])[0]))(x)
    torch.testing.assert_close(by_rows, whole.expand(4, -1, -1))
    tangent = torch.randn_like(x)
    torch.testing.assert_close(torch.func.jvp(layer, (x,), (tangent,))[1], tangent @ whole.t())
    with torch.autograd.forward_ad.dual_level():
        dual = layer(torch.autograd.forward_ad.make_dual(x.detach(), tangent))
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(dual).tangent, tangent @ whole.t())


@pytest.mark.parametrize("needed", [(True, False, False), (False, True, False), (False, False, True)])
def test_a_product_in_pieces_computes_the_gradients_that_are_needed(monkeypatch, needed):
    monkeypatch.setattr(masked, "LARGE", 0)
    layer, x = MaskedLinear(torch.ones(8, 8).tril()), torch.randn(3, 8)
    inputs = [x, layer.weight, layer.bias]
    for value, need in zip(inputs, needed, strict=True):
        value.requires_grad_(need)
    layer(x).sum().backward()
    assert [value.grad is not None for value in inputs] == [*needed]
