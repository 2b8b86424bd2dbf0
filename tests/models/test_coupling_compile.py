"""Tests of couplings under torch.compile and under autocast."""

from __future__ import annotations

import copy

import pytest
import torch
from contract import roughen

import zoo
from zoo.data.spec import DataSpec
from zoo.models.bijections.coupling import AffineCoupling, Halves
from zoo.models.bijections.spline_coupling import SplineCoupling
from zoo.models.core import rng
from zoo.models.networks.mlp import MLP

NAMES = ["realnvp", "glow", "nsf_coupling"]
SMALL = {"hidden": [16]}
SETTINGS = {
    "realnvp": SMALL | {"layers": 2},
    "glow": SMALL | {"steps": 1},
    "nsf_coupling": {"hidden": 16, "steps": 1, "blocks": 1},
}


def model_and_loss(name, shape=(5,)):
    settings = {"width": 8, "levels": 1, "steps": 1} if len(shape) == 3 else SETTINGS[name]
    model = roughen(zoo.build(name, DataSpec(shape), **settings), 0.1)
    x = torch.randn(16, *shape)
    model.train().transform(x)  # the first batch sets actnorm, which is not compiled

    def loss(transform):
        z, log_det = transform(x)
        return (0.5 * z.flatten(1).square().sum(1) - log_det).mean()

    return model, loss


def gradients(model, loss, transform):
    model.zero_grad()
    value = loss(transform)
    value.backward()
    return value.detach(), torch.cat([p.grad.flatten() for p in model.parameters()])


def relative_error(actual, expected):
    return ((actual - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("kind", ["affine", "spline"])
def test_a_coupling_is_one_graph_with_the_eager_gradient(kind):
    torch._dynamo.reset()
    if kind == "affine":
        layer = roughen(AffineCoupling(Halves(5), MLP(3, 4, [8])))
    else:
        layer = roughen(SplineCoupling(Halves(5), MLP(3, 2 * 11, [8]), bins=4), 0.3)
    x = torch.randn(16, 5)

    def loss(transform):
        z, log_det = transform(x)
        return (0.5 * z.square().sum(1) - log_det).mean()

    value, gradient = gradients(layer, loss, layer)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True, dynamic=False)
    compiled_value, compiled_gradient = gradients(layer, loss, compiled)
    torch.testing.assert_close(compiled_value, value)
    assert relative_error(compiled_gradient, gradient) < 1e-5


@pytest.mark.slow
def test_a_density_in_training_is_compiled_call_after_call():
    """Each call has a different seed, which the compiler treats as a variable from the second call on."""
    torch._dynamo.reset()
    flow = zoo.build("realnvp", zoo.DataSpec((2,)), layers=2, hidden=[8]).train()
    compiled, x = torch.compile(flow.log_prob), torch.randn(16, 2)
    for _ in range(3):
        torch.testing.assert_close(compiled(x), flow.log_prob(x), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shape"), [("realnvp", (5,)), ("nsf_coupling", (5,)), ("glow", (1, 4, 4))])
def test_a_flow_is_one_graph_with_the_eager_gradient(name, shape):
    torch._dynamo.reset()
    model, loss = model_and_loss(name, shape)
    compiled = torch.compile(model.transform, backend="aot_eager", fullgraph=True, dynamic=False)
    value, gradient = gradients(model, loss, model.transform)
    compiled_value, compiled_gradient = gradients(model, loss, compiled)
    torch.testing.assert_close(compiled_value, value)
    assert relative_error(compiled_gradient, gradient) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["realnvp", "nsf_autoregressive"])
def test_a_density_is_one_graph_where_its_noise_is_keyed(name):
    torch._dynamo.reset()
    model = zoo.build(name, DataSpec((1, 4, 4), levels=17)).train()
    x = torch.randint(17, (8, 1, 4, 4))
    compiled = torch.compile(model.log_prob, backend="aot_eager", fullgraph=True, dynamic=False)
    with rng.keyed(rng.keys(1, count=len(x))):
        expected = model.log_prob(x)
    with rng.keyed(rng.keys(1, count=len(x))):
        torch.testing.assert_close(compiled(x), expected)
        assert rng.tell() == 1, "the draws of a compiled density are counted"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_inverse_is_one_graph(name):
    torch._dynamo.reset()
    model, _ = model_and_loss(name)
    back = torch.compile(model.transform.inverse, backend="aot_eager", fullgraph=True, dynamic=False)
    z = torch.randn(4, model.spec.dim)
    with torch.no_grad():
        for ours, theirs in zip(back(z), model.transform.inverse(z), strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_inductor_gives_the_eager_gradient(name, tmp_path, monkeypatch):
    """In torch 2.13 inductor's vectorised CPU code computed wrong gradients of splines."""
    # Cached files of other processes may be incomplete.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    model, loss = model_and_loss(name)
    value, gradient = gradients(model, loss, model.transform)
    compiled = torch.compile(model.transform, fullgraph=True, dynamic=False)
    compiled_value, compiled_gradient = gradients(model, loss, compiled)
    torch.testing.assert_close(compiled_value, value, rtol=1e-4, atol=1e-5)
    assert relative_error(compiled_gradient, gradient) < 1e-4


@pytest.mark.parametrize("name", [*NAMES, "nsf_autoregressive"])
def test_bfloat16_autocast_keeps_the_map_and_its_inverse_in_float32(name):
    spec = DataSpec((1, 4, 4), levels=17)
    settings = {"hidden": 16} if name == "nsf_autoregressive" else {"width": 8}
    model = roughen(zoo.build(name, spec, pixels={"preprocessing": "centre"}, **settings), 0.03).eval()
    x = torch.randint(0, 17, (8, 1, 4, 4))
    exact = copy.deepcopy(model).log_prob(x)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        y = model.dequantise(x.float())
        z, log_det = model.transform(y)
        back, back_log_det = model.transform.inverse(z)
        value = model.log_prob(x)
    assert z.dtype == back.dtype == log_det.dtype == value.dtype == torch.float32
    torch.testing.assert_close(value, exact, rtol=0.02, atol=0.5)
    torch.testing.assert_close(back, y, rtol=0, atol=0.2)  # of 17 levels
    torch.testing.assert_close(back_log_det, -log_det, rtol=0, atol=0.2)


@pytest.mark.parametrize("name", NAMES)
def test_recomputation_gives_the_plain_gradients_in_bfloat16(name):
    spec = DataSpec((1, 4, 4), levels=17)
    plain = roughen(zoo.build(name, spec, width=8), 0.03).eval()
    saving = zoo.build(name, spec, width=8, memory_efficient=True).eval()
    saving.load_state_dict(plain.state_dict())
    x = torch.randint(0, 17, (8, 1, 4, 4))
    result = []
    for model in (plain, saving):
        with torch.autocast("cpu", torch.bfloat16):
            value = model.log_prob(x)
        value.sum().backward()
        result.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert relative_error(result[1], result[0]) < 1e-4
