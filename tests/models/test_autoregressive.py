"""MADE and MAF: exact inverses, exact densities, all that is before and nothing after."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from autoregressive_tools import SPECS, integral_2d, normal, perturbed
from torch import Tensor

from zoo.data.spec import DataSpec
from zoo.models.bijections.autoregressive import MaskedAffineAutoregressive
from zoo.models.bijections.base import Bijection
from zoo.models.bijections.reverse import Reverse
from zoo.models.maf import MAF
from zoo.models.networks.evaluations import count_evaluations
from zoo.models.networks.made import MADE, spread_degrees


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Many tiny operations: a second thread costs more than it gives, and much more on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def jacobian(layer: Bijection, x: Tensor) -> Tensor:
    return torch.autograd.functional.jacobian(lambda v: layer(v[None])[0].flatten(), x)


# MADE


@pytest.mark.parametrize(
    ("dim", "hidden"), [(2, (1,)), (3, (2, 5)), (6, (5, 5)), (7, (20, 6, 9)), (43, (64, 42))]
)
def test_made_has_every_dependency_and_no_other(dim: int, hidden: tuple[int, ...]) -> None:
    made = MADE(dim, 2, hidden)
    assert made.coverage() == 1
    with torch.no_grad():  # positive weights: no dependency cancels, no unit is off
        for parameter in made.double().parameters():
            parameter.copy_(torch.rand(parameter.shape, dtype=torch.float64) / 10 + 0.01)
    slope = torch.autograd.functional.jacobian(
        lambda v: made(v[None])[0], torch.rand(dim, dtype=torch.float64)
    )
    allowed = torch.ones(dim, dim).tril(-1).bool()
    for parameter_slope in slope.unbind(1):
        assert torch.equal(parameter_slope != 0, allowed)


def test_made_that_is_too_narrow_loses_little() -> None:
    assert MADE(784, 1, (100,)).coverage() > 0.99  # degrees 1..100 would keep 24 %
    degrees = spread_degrees(100, 784)
    assert degrees.min() >= 1
    assert degrees.max() <= 783
    assert len(degrees.unique()) == 100


@pytest.mark.parametrize("context", [0, 2])
def test_made_of_one_dimension_depends_on_the_context_alone(context: int) -> None:
    made = perturbed(MADE(1, 2, (8,), context=context))
    c = normal(1, context).expand(5, -1) if context else None
    out = made(normal(5, 1), c)
    assert torch.equal(out, out[:1].expand_as(out))
    if context:
        assert not torch.allclose(out, made(normal(5, 1), c + 1))


# The masked affine layer and MAF


def naive_inverse(layer: MaskedAffineAutoregressive, z: Tensor, context: Tensor | None) -> Tensor:
    """D full passes: pass i makes dimension i right."""
    x = torch.zeros_like(z)
    for i in range(z.shape[1]):
        mean, raw = layer.network(x, context).unbind(2)
        log_scale = layer.log_scale_bound * torch.tanh(raw / layer.log_scale_bound)
        x[:, i] = (z * log_scale.exp() + mean)[:, i]
    return x


@pytest.mark.parametrize("batch", [1, 33])
@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize(("dim", "hidden"), [(1, (4,)), (2, (3,)), (5, (16, 7)), (20, (8, 30, 5))])
def test_masked_affine_layer(dim: int, hidden: tuple[int, ...], context: int, batch: int) -> None:
    layer = perturbed(MaskedAffineAutoregressive(dim, hidden, context=context))
    x, c = normal(batch, dim), normal(batch, context, seed=2) if context else None
    with torch.no_grad():
        z, log_det = layer(x, c)
        with count_evaluations() as counter:
            back, back_log_det = layer.inverse(z, c)
        assert counter.count == dim
        assert (back - x).abs().max() <= 1e-10
        assert (log_det + back_log_det).abs().max() <= 1e-10
        assert (back - naive_inverse(layer, z, c)).abs().max() <= 1e-10
    for row in range(min(batch, 3)):
        one = None if c is None else c[row : row + 1]
        jac = torch.autograd.functional.jacobian(lambda v, one=one: layer(v[None], one)[0][0], x[row])
        assert abs(torch.linalg.slogdet(jac)[1] - log_det[row]) <= 1e-8
        assert torch.equal(jac.triu(1), torch.zeros_like(jac))


def test_inverse_has_the_gradient_of_the_naive_one() -> None:
    layer = perturbed(MaskedAffineAutoregressive(4, (8, 8)))
    assert torch.autograd.gradcheck(lambda z: layer.inverse(z), normal(2, 4).requires_grad_())
    z = normal(3, 4)
    (layer.inverse(z)[0].square().sum() + layer.inverse(z)[1].sum()).backward()
    ours = {name: p.grad.clone() for name, p in layer.named_parameters() if p.grad is not None}
    assert len(ours) == len(list(layer.parameters()))
    # the implicit function theorem, by finite differences on one weight
    weight, step = layer.network.output.weight, 1e-6
    values = []
    with torch.no_grad():
        for sign in (1, -1):
            weight[-1, 0] += sign * step
            x, log_det = layer.inverse(z)
            values.append(float(x.square().sum() + log_det.sum()))
            weight[-1, 0] -= sign * step
    assert abs((values[0] - values[1]) / (2 * step) - float(ours["network.output.weight"][-1, 0])) < 1e-6


def test_scale_is_bounded_far_from_the_data() -> None:
    layer = perturbed(MaskedAffineAutoregressive(3, (8,), log_scale_bound=2.0))
    _, log_det = layer(1e6 * normal(10, 3))
    assert log_det.abs().max() <= 3 * 2.0


def test_reverse() -> None:
    x = normal(2, 2, 3)
    z, log_det = Reverse()(x)
    assert torch.equal(z.flatten(1), x.flatten(1).flip(1))
    assert torch.equal(Reverse().inverse(z)[0], x)
    assert torch.equal(log_det, torch.zeros(2, dtype=torch.float64))


def data_space(spec: DataSpec, batch: int) -> Tensor:
    x = normal(batch, *spec.shape)
    return x if spec.levels is None else spec.levels * (0.02 + 0.96 * torch.sigmoid(x))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.shape}")
@pytest.mark.parametrize("batch", [1, 9])
def test_maf_inverts_and_its_log_det_is_the_jacobians(spec: DataSpec, batch: int) -> None:
    model = perturbed(MAF(spec, layers=5, hidden=(32, 24)), scale=0.05)
    x = data_space(spec, batch)
    with torch.no_grad():
        z, log_det = model.transform(x)
        back, back_log_det = model.transform.inverse(z)
    assert z.shape == (batch, spec.dim)
    assert (back - x).abs().max() <= 1e-10
    assert (log_det + back_log_det).abs().max() <= 1e-9
    jac = jacobian(model.transform, x[0]).reshape(spec.dim, spec.dim)
    assert abs(torch.linalg.slogdet(jac)[1] - log_det[0]) <= 1e-8


def test_maf_density_integrates_to_one() -> None:
    model = perturbed(MAF(DataSpec((2,)), layers=3, hidden=(16,)), scale=0.05)
    assert abs(integral_2d(model.log_prob, -40, 40, 1000) - 1) < 1e-3  # the scale has a heavy tail


def test_maf_costs_one_pass_a_layer() -> None:
    with count_evaluations() as counter:
        MAF(DataSpec((6,)), layers=4, hidden=(8,)).log_prob(torch.zeros(2, 6))
    assert counter.count == 4


@pytest.mark.parametrize("spec", [*SPECS, DataSpec((1, 28, 28), 256)], ids=lambda spec: f"{spec.shape}")
def test_samples_are_data_and_follow_the_seed(spec: DataSpec) -> None:
    model = MAF(spec, layers=2, hidden=(16,))
    large = spec.dim > 100
    with count_evaluations() as counter:
        x = model.sample(2 if large else 4, seed=3)
    assert counter.count == 2 * spec.dim
    spec.check(x)
    assert x.dtype == torch.float32
    assert torch.isfinite(model.eval().log_prob(x)).all()
    if not large:
        assert torch.equal(x, model.sample(4, seed=3))
        assert not torch.equal(x, model.sample(4, seed=4))
        torch.testing.assert_close(model.sample(2, seed=3), x[:2])
        assert torch.isfinite(model.sample(2, temperature=0.0, seed=3)).all()


def test_configuration_names_the_defaults() -> None:
    values = yaml.safe_load((Path(__file__).parents[2] / "conf/model/maf.yaml").read_text())
    assert values.pop("_target_") == f"{MAF.__module__}.{MAF.__qualname__}"
    signature = inspect.signature(MAF).parameters
    for key, value in values.items():
        default = signature[key].default
        assert value == (list(default) if isinstance(default, tuple) else default)
    assert set(values) == set(signature) - {"spec"}
