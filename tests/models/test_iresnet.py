"""i-ResNet: Lipschitz constants, inverses and log-determinants against brute force, in float64."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import normflows
import pytest
import torch
from torch import nn

import zoo
from zoo.data.spec import DataSpec
from zoo.errors import Unsound, ZooError
from zoo.models.bijections.residual import InvertibleResidual, Series
from zoo.models.core import rng
from zoo.models.core.nfe import count_nfe
from zoo.models.iresnet import IResNet
from zoo.models.networks.lipschitz import LipschitzNetwork, Spectral, SpectralNorm

COEFFICIENT = 0.9
SHAPES = [(1,), (2,), (3,), (43,), (4, 1, 1), (4, 4, 4), (1, 5, 7)]


def enlarge(module, factor=3.0):
    """Weights far above the bound, so that normalisation is at work in every layer."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(factor).add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return module.double().eval()


def network(shape, hidden=(16, 16), coefficient=COEFFICIENT, factor=3.0):
    return enlarge(LipschitzNetwork(shape, hidden, Spectral(coefficient=coefficient)), factor)


def block(shape, factor=3.0, most=500, **series):
    return InvertibleResidual(network(shape, factor=factor), Series(**series), most=most).double().eval()


def model(shape, levels=None, **settings):
    return enlarge(IResNet(DataSpec(shape, levels), hidden=(16, 16), width=16, **settings), 2.0)


def points(n, shape):
    return torch.randn(n, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


def jacobians(f, x):
    """df/dx of each row, ``(B, D, D)``, by torch.func."""
    dim = x[0].numel()
    return torch.func.vmap(torch.func.jacrev(lambda v: f(v[None])[0]))(x).reshape(len(x), dim, dim)


def matrix(layer: SpectralNorm):
    """The normalised map as a matrix."""
    basis = torch.eye(math.prod(layer.shape), dtype=torch.float64).view(-1, *layer.shape)
    return (layer(basis) - layer(torch.zeros_like(basis))).flatten(1).T


@pytest.mark.parametrize("shape", SHAPES)
def test_lipschitz_constants_stay_below_the_coefficient(shape):
    g = network(shape)
    assert g.lipschitz == pytest.approx(COEFFICIENT**3)
    for layer in g.layers:
        sigma = torch.linalg.matrix_norm(matrix(layer), 2).item()
        assert COEFFICIENT * (1 - layer.tolerance) <= sigma <= COEFFICIENT * (1 + 1e-9)
    x, y = points(64, shape), 3 * points(128, shape)[64:]
    with torch.no_grad():
        ratio = (g(x) - g(y)).flatten(1).norm(dim=1) / (x - y).flatten(1).norm(dim=1)
    assert ratio.max() <= g.lipschitz
    assert torch.linalg.matrix_norm(jacobians(g, x[:8]), 2).max() <= g.lipschitz


def test_a_map_below_the_coefficient_is_left_alone():
    layer = SpectralNorm(nn.Linear(3, 3), (3,), COEFFICIENT).double().eval()
    with torch.no_grad():
        layer.layer.weight.copy_(0.5 * torch.eye(3))
    torch.testing.assert_close(matrix(layer), 0.5 * torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-15)
    with torch.no_grad():
        layer.layer.weight.zero_()
    layer.train()(points(2, (3,))).sum().backward()
    assert layer.layer.weight.grad.isfinite().all()


def test_sigma_belongs_to_the_convolution_not_to_its_kernel():
    layer = SpectralNorm(nn.Conv2d(3, 5, 3, padding=1), (3, 6, 6), COEFFICIENT).double().eval()
    sigma = layer.upper_bound().item()
    kernel = torch.linalg.matrix_norm(layer.layer.weight.flatten(1), 2).item()
    with torch.no_grad():
        layer.layer.weight.mul_(0.8 / sigma)  # below the bound: the map is the convolution itself
    assert torch.linalg.matrix_norm(matrix(layer), 2).item() == pytest.approx(0.8, rel=1e-3)
    assert abs(kernel / sigma - 1) > 0.1


def test_sigma_is_found_where_two_singular_values_change_places():
    layer = SpectralNorm(nn.Linear(20, 20), (20,), COEFFICIENT).double()
    values = torch.ones(20)
    for largest in (3, 11):  # what was found for the first must not hide the second
        with torch.no_grad():
            layer.layer.weight.copy_(torch.diag(values))
            layer.layer.weight[largest, largest] = 2.0
        layer.train()
        for _ in range(30):
            layer(points(1, (20,)))
        layer.eval()
        assert torch.linalg.matrix_norm(matrix(layer), 2).item() == pytest.approx(COEFFICIENT, rel=1e-3)


def test_evaluation_follows_the_weights_and_leaves_training_be():
    g = network((4, 4, 4))
    x = points(3, (4, 4, 4))
    vectors = [b.clone() for b in g.buffers()]
    with torch.no_grad():
        first = g(x)
        assert torch.equal(first, g(x))
        assert all(torch.equal(a, b) for a, b in zip(vectors, g.buffers(), strict=True))
        other = network((4, 4, 4), factor=1.0)
        other.load_state_dict(g.state_dict())  # while in evaluation mode
        assert torch.equal(other(x), first)
        for layer in g.layers:
            layer.layer.weight.mul_(10)
            assert torch.linalg.matrix_norm(matrix(layer), 2) <= COEFFICIENT
        g.load_state_dict(other.state_dict())
        assert torch.equal(copy.deepcopy(g)(x), first)


def test_training_iterations_reach_the_bound_and_only_with_gradients():
    g = network((4, 4, 4)).train()
    x = points(3, (4, 4, 4))
    with torch.no_grad():
        assert torch.equal(g(x), g(x))
    before = [layer.right.clone() for layer in g.layers]
    trained = g(x)
    assert torch.equal(trained, g(x)), "the same weights are the same map"
    assert not any(torch.equal(a, layer.right) for a, layer in zip(before, g.layers, strict=True))
    for _ in range(200):
        with torch.no_grad():
            for layer in g.layers:
                layer.layer.weight.mul_(1.0)  # as an optimiser touches it
        trained = g(x)
    torch.testing.assert_close(trained, g.eval()(x), rtol=0, atol=5e-3)


def test_iterations_are_those_asked_for():
    model = IResNet(DataSpec((2,)), blocks=1, hidden=(8,), spectral={"iterations": 7})
    assert {m.iterations for m in model.modules() if isinstance(m, SpectralNorm)} == {7}
    with pytest.raises(ZooError, match="iterations"):
        IResNet(DataSpec((2,)), spectral={"iterations": 0})


def test_a_change_through_data_counts_after_eval():
    layer, x = SpectralNorm(torch.nn.Linear(3, 3), (3,)).eval(), torch.eye(3)
    layer(x)
    layer.layer.weight.data = 5 * torch.eye(3)
    layer.eval()
    assert torch.linalg.matrix_norm(layer(x) - layer(0 * x), 2) <= 0.9 + 1e-6


def test_inference_mode_is_no_place_to_build():
    with torch.inference_mode(), pytest.raises(ZooError, match="outside"):
        IResNet(DataSpec((2,)), blocks=1)


def test_two_training_passes_share_one_backward():
    g = network((2,)).train()
    (g(points(3, (2,))).sum() + g(points(3, (2,))).sum()).backward()


@pytest.mark.parametrize("shape", SHAPES)
def test_inverse_is_within_its_tolerance(shape):
    bijection, x = block(shape), 3 * points(32, shape)
    with torch.no_grad():
        z, _ = bijection(x)
        assert torch.linalg.vector_norm(z - x) > 0.1, "the block does something"
        back = bijection.invert(z)
    scale = x.abs().flatten(1).amax(1).clamp(min=1)
    error = ((back - x).abs().flatten(1).amax(1) / scale).max().item()
    tolerance = bijection.tolerance * torch.finfo(torch.float64).eps / torch.finfo(torch.float32).eps
    assert error <= 10 * tolerance
    assert 1 < bijection.last_iterations < bijection.most
    assert bijection.last_residual <= tolerance
    single = copy.deepcopy(bijection).float()
    with torch.no_grad():
        error = ((single.invert(single(x.float())[0]) - x).abs().flatten(1).amax(1) / scale).max().item()
    assert error <= 10 * single.tolerance
    assert single.last_iterations < bijection.last_iterations


def test_inverse_raises_where_it_does_not_arrive():
    bijection = block((2,), most=3)
    with pytest.raises(Unsound, match=r"did not converge in 3 iterations"), torch.no_grad():
        bijection.inverse(points(5, (2,)))
    with pytest.raises(Unsound, match="did not converge in 1 iteration"), torch.no_grad():
        bijection.invert(points(5, (2,)) * math.nan)


@pytest.mark.parametrize(
    ("name", "value"),
    [("spectral", {"coefficient": 1.0}), ("spectral", {"coefficient": 0.0}), ("series", {"terms": 0})],
)
def test_settings_without_an_inverse_are_refused(name, value):
    with pytest.raises(ZooError):
        IResNet(DataSpec((2,)), **{name: value})


def test_inverse_has_the_gradient_of_the_inverse_function():
    bijection = block((3,))
    z = points(4, (3,)).requires_grad_()
    weights = points(4, (3,))
    with count_nfe() as counter:
        x, log_det = bijection.inverse(z)
    assert counter.count == bijection.last_iterations + 2  # its gradient and its log-determinant: one each
    loss = (weights * x).sum() + log_det.sum()
    found = torch.autograd.grad(loss, [z, *bijection.parameters()])

    def unrolled(z):
        x = z
        for _ in range(200):
            x = z - bijection.g(x)
        return (weights * x).sum() - bijection(x)[1].sum()

    expected = torch.autograd.grad(unrolled(z), [z, *bijection.parameters()])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("shape", [(1,), (2,), (3,), (4, 1, 1)])
def test_exact_log_det_is_autograds(shape):
    bijection, x = block(shape), points(6, shape)
    with torch.no_grad():
        z, log_det = bijection(x)
        _, back_log_det = bijection.inverse(z)
    expected = torch.linalg.slogdet(jacobians(lambda v: v + bijection.g(v), x))[1]
    assert log_det.abs().max() > 0.01
    torch.testing.assert_close(log_det, expected, rtol=0, atol=1e-8)
    torch.testing.assert_close(back_log_det, -log_det, rtol=0, atol=1e-8)
    assert not log_det.requires_grad


@pytest.mark.parametrize("dim", [2, 3])
def test_the_whole_model_in_data_space(dim):
    flow, x = model((dim,)), points(6, (dim,))
    assert flow.likelihood == "exact"
    assert flow.likelihood_details() == {"log_det": "exact"}
    with torch.no_grad():
        z, log_det = flow.transform(x)
        back, back_log_det = flow.transform.inverse(z)
        log_prob = flow.log_prob(x)
    expected = torch.linalg.slogdet(jacobians(lambda v: flow.transform(v)[0], x))[1]
    torch.testing.assert_close(log_det, expected, rtol=0, atol=1e-8)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-10)
    torch.testing.assert_close(back_log_det, -log_det, rtol=0, atol=1e-8)
    torch.testing.assert_close(log_prob, flow.base.log_prob(z) + expected, rtol=0, atol=1e-8)


def test_gradients_equal_those_through_the_exact_log_det():
    bijection, x = block((3,)).train(), points(5, (3,))
    for layer in bijection.g.layers:
        layer.iterations = 0  # the same sigma in both passes
    weights = torch.arange(1.0, 6.0, dtype=torch.float64)  # per-row gradients, not their sum alone
    z, log_det = bijection(x)
    found = torch.autograd.grad((weights * (log_det + z.sum(1))).sum(), list(bijection.parameters()))
    rows = [torch.autograd.functional.jacobian(lambda v: v + bijection.g(v[None])[0], r, True) for r in x]
    loss = (weights * (torch.linalg.slogdet(torch.stack(rows))[1] + (x + bijection.g(x)).sum(1))).sum()
    expected = torch.autograd.grad(loss, list(bijection.parameters()))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def truncated(jacobian, terms):
    power, total = torch.eye(jacobian.shape[-1]).to(jacobian).expand_as(jacobian), 0.0
    for k in range(1, terms + 1):
        power = power @ jacobian
        total = total + (-1) ** (k + 1) / k * power.diagonal(dim1=1, dim2=2).sum(1)
    return total


@pytest.mark.parametrize("shape", [(5,), (4, 2, 2)])
def test_series_is_unbiased_for_its_truncation_which_nears_the_exact(shape):
    bijection, x = block(shape, exact_dim=0, eval_exact_dim=0), points(1, shape)
    jacobian = jacobians(bijection.g, x)
    exact = torch.linalg.slogdet(torch.eye(x[0].numel()).to(x) + jacobian)[1].item()
    n, errors = 4000, []
    for terms in (1, 2, 4, 8, 16, 32):
        bijection.series = replace(bijection.series, eval_terms=terms)
        target = truncated(jacobian, terms).item()
        errors.append(abs(target - exact))
        assert errors[-1] <= bijection.bias_bound(x[0].numel()) + 1e-12
        if terms in (1, 4, 16):
            with torch.no_grad():
                values = bijection(x.expand(n, *shape))[1]
            assert values.std() > 0
            assert abs(values.mean().item() - target) < 4 * values.std().item() / math.sqrt(n)
    assert errors[-1] < 1e-4 < errors[0]
    assert errors[2] < errors[0]
    assert errors[4] < errors[2]


def test_series_gradient_is_unbiased():
    bijection, x = block((3,), exact_dim=0, terms=12).train(), points(1, (3,))
    for layer in bijection.g.layers:
        layer.iterations = 0
    first = bijection.g.layers[0].layer.weight
    parts = []
    for _ in range(40):
        (gradient,) = torch.autograd.grad(bijection(x.expand(200, 3))[1].mean(), first)
        parts.append(gradient)
    jacobian = torch.autograd.functional.jacobian(lambda v: bijection.g(v[None])[0], x[0], True)
    (expected,) = torch.autograd.grad(truncated(jacobian[None], 12).sum(), first)
    parts = torch.stack(parts)
    error = parts.std(0) / math.sqrt(len(parts))
    assert expected.abs().max() > 1e-3
    assert ((parts.mean(0) - expected).abs() <= 5 * error + 1e-12).all()  # 48 entries: 5 errors, not 4


@pytest.mark.parametrize(("shape", "levels"), [((2,), None), ((9,), None), ((1, 2, 2), 4), ((1, 8, 8), 17)])
def test_training_reaches_every_parameter(shape, levels):
    flow = model(shape, levels).train()
    x = torch.randint(levels, (4, *shape)) if levels else points(4, shape)
    flow.log_prob(x).mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in flow.parameters())
    silent = [n for n, p in flow.named_parameters() if not p.grad.any()]
    assert not silent


def test_density_on_the_plane_integrates_to_one():
    flow = model((2,), blocks=4)
    axis = torch.linspace(-14, 14, 221, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        mass = torch.cat([flow.log_prob(part).exp() for part in grid.split(8192)]).sum().item()
    assert mass * float(axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("preprocessing", ["logit", "centre"])
def test_mass_of_small_images(preprocessing):
    """All 256 images of 2x2 pixels and 4 levels: the dequantised masses sum to 1 on average."""
    flow = model((1, 2, 2), 4, blocks=3, pixels={"preprocessing": preprocessing})
    assert flow.likelihood == "exact"
    assert flow.likelihood_details() == {"dequantisation": "uniform", "log_det": "exact"}
    x = torch.cartesian_prod(*[torch.arange(4)] * 4).view(-1, 1, 2, 2)
    masses = []
    with torch.no_grad():
        for salt in range(100):
            with rng.keyed(rng.content_keys(x, salt)):
                masses.append(flow.log_prob(x).exp().sum())
    masses = torch.stack(masses)
    error = masses.std().item() / 10
    if preprocessing == "centre":  # a part of the latent normal lies outside the cube of pixel values
        assert masses.mean().item() <= 1 + 4 * error
    else:
        assert abs(masses.mean().item() - 1) < 4 * error
        assert error < 0.05


@pytest.mark.parametrize(
    ("shape", "levels"),
    [((1, 8, 8), 17), ((1, 5, 7), 3), ((3, 6, 4), 256), ((1,), None), ((43,), None)],
)
def test_every_shape(shape, levels):
    flow = zoo.build("iresnet", DataSpec(shape, levels)).eval()
    x = flow.sample(2, seed=0)
    assert x.shape == (2, *shape)
    flow.spec.check(x)
    assert torch.isfinite(flow.log_prob(x)).all()
    details = flow.likelihood_details()
    assert flow.likelihood == ("estimate" if flow.spec.dim > 64 else "exact")
    if flow.likelihood == "estimate":
        assert details["terms"] == 20
        tail = sum((0.9**3) ** k / k for k in range(21, 400))
        assert details["bias_bound_nats"] == pytest.approx(6 * flow.spec.dim * tail, rel=1e-6)


def test_sampling_walks_the_chain_without_log_determinants():
    flow = model((1, 4, 4), 5)
    with count_nfe() as counter:
        x = flow.sample(3, seed=0)
    blocks = [m for m in flow.modules() if isinstance(m, InvertibleResidual)]
    assert counter.count == sum(b.last_iterations for b in blocks)
    with rng.keyed(rng.keys(0, count=3)), torch.no_grad():
        y, _ = flow.transform.inverse(flow.base.sample(3))
    assert torch.equal(x, flow.dequantise.inverse(y).clamp(0, 4))


def test_normflows_agrees_on_a_residual_block():
    """Its block in two dimensions sums the whole determinant; the same branch gives the same numbers."""
    branch = normflows.nets.LipschitzMLP([2, 16, 2], init_zeros=False, lipschitz_const=0.9)
    theirs = normflows.flows.Residual(branch, reverse=False).double().eval()
    branch.lipschitz = 0.9**2
    ours = InvertibleResidual(branch).double().eval()
    x = points(5, (2,))
    z, log_det = theirs.forward(x)
    back, back_log_det = ours(x)
    if (z - back).abs().max() > 1e-9:  # their forward is the other direction
        z, log_det = theirs.inverse(x)
    torch.testing.assert_close(back, z, rtol=0, atol=1e-10)
    torch.testing.assert_close(back_log_det, log_det.to(torch.float64), rtol=0, atol=1e-6)


class Rounded(nn.Module):
    """A contraction whose every evaluation is off by some rounding, never the same way twice."""

    lipschitz = 0.94

    def __init__(self, error: float) -> None:
        super().__init__()
        self.error, self.calls = error, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return 0.9 * x + self.error * (-1) ** self.calls


def test_rounding_may_leave_ten_times_the_tolerance_and_no_more():
    x = torch.linspace(-1, 1, 20).view(10, 2)
    block = InvertibleResidual(Rounded(2e-7))
    with torch.no_grad():
        assert (block.invert(1.9 * x) - x).abs().max() < 10 * block.tolerance
        assert block.last_residual > 10 * torch.finfo(torch.float32).eps
        with pytest.raises(Unsound, match="did not converge in 500 iterations"):
            InvertibleResidual(Rounded(1e-6)).invert(1.9 * x)
