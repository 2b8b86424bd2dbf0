"""Masked autoregressive layers: exact inverses and log-determinants, no dependency on later dimensions."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from autoregressive_tools import normal, perturbed
from contract import check_bijection
from torch import Tensor

import zoo
from zoo.models.bijections.autoregressive import MaskedAffineAutoregressive, MaskedAutoregressive
from zoo.models.bijections.spline_autoregressive import MaskedSplineAutoregressive
from zoo.models.core.flops import count_flops
from zoo.models.core.nfe import count_nfe
from zoo.models.networks.made import MADE


def affine(
    dim: int, hidden: tuple[int, ...], context: int = 0, **settings: Any
) -> MaskedAffineAutoregressive:
    return MaskedAffineAutoregressive(dim, hidden, context=context)


def unbounded(dim: int, hidden: tuple[int, ...], context: int = 0) -> MaskedAffineAutoregressive:
    return MaskedAffineAutoregressive(dim, hidden, context=context, log_scale_bound=None)


def residual(dim: int, hidden: tuple[int, ...], context: int = 0) -> MaskedAffineAutoregressive:
    widths = (max(hidden),) * 3
    return MaskedAffineAutoregressive(dim, widths, context=context, activation="tanh", residual=True)


def spline(dim: int, hidden: tuple[int, ...], context: int = 0) -> MaskedSplineAutoregressive:
    network = MADE(dim, 14, (max(hidden),) * 2, context=context, activation="tanh", residual=True)
    return MaskedSplineAutoregressive(network, bins=5)


def clamped(dim: int, hidden: tuple[int, ...], context: int = 0) -> MaskedAffineAutoregressive:
    return MaskedAffineAutoregressive(dim, hidden, context=context, input_bound=2.0)


def precision(dim: int, hidden: tuple[int, ...], context: int = 0) -> MaskedAffineAutoregressive:
    return MaskedAffineAutoregressive(dim, hidden, context=context, scale="log_precision")


def unbounded_precision(dim: int, hidden: tuple[int, ...], context: int = 0) -> MaskedAffineAutoregressive:
    return MaskedAffineAutoregressive(
        dim, hidden, context=context, scale="log_precision", start="normal", log_scale_bound=None
    )


LAYERS = [affine, unbounded, residual, clamped, precision, unbounded_precision, spline]


every_layer = pytest.mark.parametrize("make", LAYERS, ids=lambda make: make.__name__)


def naive_inverse(layer: MaskedAutoregressive, z: Tensor, context: Tensor | None) -> Tensor:
    """Return the inverse by D full passes, of which pass i computes dimension i."""
    x = torch.zeros_like(z)
    for i in range(z.shape[1]):
        x[:, i] = layer.undo_on(z, layer.network(x, context))[0][:, i]
    return x


@every_layer
@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize(("dim", "hidden"), [(1, (4,)), (2, (3,)), (5, (16, 7)), (20, (8, 30, 5))])
@pytest.mark.filterwarnings("ignore:MADE with")
def test_autoregressive_layers_meet_the_contract(
    make: Any, dim: int, hidden: tuple[int, ...], context: int
) -> None:
    # with larger weights a spline is nearly flat in places, where rounding of z moves x far: see the
    # bisection below
    layer = perturbed(make(dim, hidden, context), scale=0.03 if make is spline else 0.2)
    x, c = normal(4, dim), normal(4, context, seed=2) if context else None
    if dim == 1:  # its network does not depend on x, so some weights have gradient zero
        for parameter in layer.parameters():
            parameter.requires_grad_(False)
        layer.network.output.bias.requires_grad_()
    check_bijection(layer, x, c)
    jac = torch.autograd.functional.jacobian(
        lambda v: layer(v[None], None if c is None else c[:1])[0][0], x[0]
    )
    assert torch.equal(jac.triu(1), torch.zeros_like(jac))


@pytest.mark.parametrize(("scale", "error"), [(0.05, 1e-14), (0.2, 1e-14), (0.5, 1e-12)])
def test_spline_inverse_is_that_of_bisection(scale: float, error: float) -> None:
    """In steep and in flat places the error is the rounding of x plus the rounding of z over the slope."""
    layer = perturbed(spline(20, (30,)), scale)
    z = 1.5 * normal(50, 20)
    with torch.no_grad():
        parameters = layer.network(normal(50, 20, seed=2))
        x, log_slope = layer.undo_on(z, parameters)
        low, high = torch.full_like(z, -9), torch.full_like(z, 9)
        for _ in range(60):
            middle = (low + high) / 2
            below = layer.apply_to(middle, parameters)[0] < z
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        assert ((x - low).abs() <= error * (1 + log_slope.exp())).all()


@every_layer
@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize(("dim", "hidden"), [(1, (4,)), (2, (3,)), (5, (16, 7)), (20, (8, 30, 5))])
@pytest.mark.filterwarnings("ignore:MADE with")
def test_incremental_inverse_is_the_naive_one(
    make: Any, dim: int, hidden: tuple[int, ...], context: int
) -> None:
    layer = perturbed(make(dim, hidden, context))
    for batch in (1, 33, 1, 33, 2):  # the next sweep reuses the buffers
        z, c = normal(batch, dim, seed=batch), normal(batch, context, seed=2) if context else None
        with torch.no_grad():
            with count_nfe() as counter:
                x, log_det = layer.inverse(z, c)
            assert counter.count == dim
            assert (x - naive_inverse(layer, z, c)).abs().max() <= 1e-10
            assert (log_det + layer(x, c)[1]).abs().max() <= 1e-10
            counted: list[Tensor] = []  # torch computes what it is to count
            operations, _ = count_flops(lambda z=z, c=c, to=counted: to.append(layer.inverse(z, c)[0]))
            assert (counted[0] - x).abs().max() <= 1e-12
            assert operations or dim == 1
        recorded, recorded_log_det = layer.inverse(z, c)
        assert recorded.requires_grad
        assert (recorded - x).abs().max() <= 1e-12
        assert (recorded_log_det - log_det).abs().max() <= 1e-12


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("bound", [None, 600.0, 800.0])
@pytest.mark.filterwarnings("error")
def test_an_inverse_that_overflows_is_not_finite(batch: int, bound: float | None) -> None:
    layer = MaskedAffineAutoregressive(3, (4,), log_scale_bound=bound).eval()
    with torch.no_grad():
        layer.network.output.bias[1::2] = 5000.0
        assert not layer.invert(torch.ones(batch, 3)).isfinite().any()


def test_the_inverse_uses_the_current_weights() -> None:
    """The buffers hold views of the weights; after training, moving, loading or copying they are updated."""
    layer, z = perturbed(affine(4, (8, 8))), normal(3, 4)

    def check(layer: MaskedAutoregressive, z: Tensor) -> None:
        with torch.no_grad():
            torch.testing.assert_close(layer.inverse(z)[0], naive_inverse(layer, z, None))

    check(layer, z)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(1.5)
    check(layer, z)
    other = copy.deepcopy(layer)
    check(perturbed(other), z)
    check(layer, z)
    layer.load_state_dict(other.state_dict(), assign=True)
    check(layer, z)
    check(layer.float(), z.float())
    check(pickle.loads(pickle.dumps(layer)), z.float())
    with torch.inference_mode():
        layer.double().inverse(z)
    check(layer, z)
    with torch.no_grad():
        first = layer.inverse(z)[0]
        kept = first.clone()
        layer.inverse(-z)
    assert torch.equal(first, kept), "a result must not share the reused buffers"


@every_layer
def test_inverse_has_the_gradient_of_the_naive_one(make: Any) -> None:
    layer = perturbed(make(4, (8, 8)))
    assert torch.autograd.gradcheck(lambda z: layer.inverse(z), normal(2, 4).requires_grad_())
    z = normal(3, 4)
    parameters = dict(layer.named_parameters())
    x, log_det = layer.inverse(z)
    ours = torch.autograd.grad(x.square().sum() + log_det.sum(), list(parameters.values()))
    known: list[Tensor] = []
    for i in range(4):
        padded = torch.stack([*known, *[z.new_zeros(3)] * (4 - i)], 1)
        x, _ = layer.undo_on(z, layer.network(padded))
        known.append(x[:, i])
    x = torch.stack(known, 1)
    loss = x.square().sum() + layer.undo_on(z, layer.network(x))[1].sum()
    for name, a, b in zip(
        parameters, ours, torch.autograd.grad(loss, list(parameters.values())), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8, msg=name)


@pytest.mark.parametrize("make", [affine, residual, spline])  # without a bound: the test after the next
def test_layers_are_finite_far_out_and_with_extreme_parameters(make: Any) -> None:
    layer = perturbed(make(6, (12, 12)))
    x = torch.cat([1e6 * normal(4, 6), 1e3 * normal(4, 6), torch.zeros(1, 6, dtype=torch.float64)])
    for push in (0.0, 50.0, -50.0):
        with torch.no_grad():
            layer.network.output.bias += push
            z, log_det = layer(x)
            back, _ = layer.inverse(z)
            assert torch.isfinite(z).all()
            assert torch.isfinite(log_det).all()
            assert torch.isfinite(back).all()
            single = copy.deepcopy(layer).float()
            for value in (*single(x.float()), *single.inverse(x.float())):
                assert not value.isnan().any()
            layer.network.output.bias -= push


@pytest.mark.parametrize("bound", [None, 2.0])
def test_a_log_precision_is_minus_twice_the_log_deviation(bound: float | None) -> None:
    layer, x = perturbed(MaskedAffineAutoregressive(3, (8,), log_scale_bound=bound)), normal(10, 3)
    other = MaskedAffineAutoregressive(3, (8,), log_scale_bound=bound, scale="log_precision").double().eval()
    other.load_state_dict(layer.state_dict())
    with torch.no_grad():
        for values in (other.network.output.weight, other.network.output.bias):
            values[1::2] *= -2
        for a, b in zip(other(x), layer(x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-14, atol=1e-14)
    with pytest.raises(zoo.ZooError, match=r"model\.scale must be log_deviation or log_precision"):
        MaskedAffineAutoregressive(3, (8,), scale="precision")


def test_scale_is_bounded_far_from_the_data() -> None:
    layer = perturbed(MaskedAffineAutoregressive(3, (8,), log_scale_bound=2.0))
    _, log_det = layer(1e6 * normal(10, 3))
    assert log_det.abs().max() <= 3 * 2.0
    with pytest.raises(zoo.ZooError, match="above 0"):
        MaskedAffineAutoregressive(3, (8,), log_scale_bound=0.0)


@every_layer
def test_compiled_density_has_the_eager_gradient(make: Any) -> None:
    layer = perturbed(make(5, (8, 8), 2))
    x, c = normal(3, 5).requires_grad_(), normal(3, 2, seed=2)
    inputs = [x, *layer.parameters()]

    def gradients(run: Any) -> tuple[Tensor, ...]:
        z, log_det = run(x, c)
        return torch.autograd.grad(z.square().sum() - log_det.sum(), inputs)

    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for a, b in zip(gradients(compiled), gradients(layer), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@every_layer
def test_under_autocast_log_dets_are_float32(make: Any) -> None:
    """The error is at most a few times that of rounding the weights to bfloat16; sums are in float32."""
    layer = perturbed(make(5, (32, 32)), 0.05).float()
    rounded = copy.deepcopy(layer)
    x = normal(64, 5).float()
    with torch.no_grad():
        for parameter in rounded.parameters():
            parameter.copy_(parameter.bfloat16())
        z, exact = layer(x)
        of_rounding = (rounded(x)[1] - exact).abs().mean()
        with torch.autocast("cpu", torch.bfloat16):
            _, log_det = layer(x)
            back, back_log_det = layer.inverse(z)
    assert log_det.dtype == back_log_det.dtype == torch.float32
    assert 0 < (log_det - exact).abs().mean() <= 4 * of_rounding
    assert (log_det.bfloat16() != log_det).any(), "the sum was rounded to bfloat16"
    # the incremental inverse multiplies in the weights' dtype
    torch.testing.assert_close(back, x, rtol=0, atol=1e-3)
    torch.testing.assert_close(back_log_det, -exact, rtol=0, atol=1e-3)


@every_layer
def test_under_autocast_the_log_det_is_that_of_the_map_applied(make: Any) -> None:
    """No parameter depends on the only input: the slope is a quotient."""
    layer = perturbed(make(1, (32, 32)), 0.3).float()
    low, high = torch.full((1, 1), -1e-2), torch.full((1, 1), 1e-2)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        (below, _), (above, _), (_, log_det) = layer(low), layer(high), layer(torch.zeros(1, 1))
    assert above.dtype == torch.float32
    torch.testing.assert_close(((above - below) / 2e-2).log().view(1), log_det, rtol=0, atol=6e-4)


@every_layer
def test_a_fixed_point_of_all_dimensions_at_once_is_the_sequential_inverse(make):
    layer = perturbed(make(12, (24, 24)).double())
    z = normal(50, 12)
    x, passes = layer.fixed_point(z, tolerance=1e-12)
    assert 2 < passes <= 12
    assert torch.allclose(x, layer.invert(z), atol=1e-9)
    rough, fewer = layer.fixed_point(z, tolerance=1e-2)
    assert fewer < passes
    assert not torch.equal(rough, x)


def test_dimensions_that_depend_on_none_take_two_passes():
    layer = affine(12, (24,)).double()  # the identity, as it is initialised
    z = normal(50, 12)
    x, passes = layer.fixed_point(z)
    assert passes == 2
    assert torch.equal(x, z)


def test_no_fixed_point_takes_more_passes_than_dimensions():
    layer = perturbed(affine(6, (24,), context=2).double())
    context = normal(50, 2)
    x, passes = layer.fixed_point(normal(50, 6), context, tolerance=0.0)
    assert passes <= 6
    assert torch.allclose(layer(x, context)[0], normal(50, 6), atol=1e-9)
