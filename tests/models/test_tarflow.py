"""Tests of TarFlow: causality, Jacobians, the cache, guidance, denoising and numerics."""

from __future__ import annotations

import copy
import math
import sys
from pathlib import Path

import pytest
import torch
from recipe_tools import recipe_model

import zoo
from zoo.errors import Unsound
from zoo.models.bijections.base import Chain
from zoo.models.bijections.dequantise import GaussianNoise
from zoo.models.bijections.patchify import Patchify
from zoo.models.bijections.transformer_autoregressive import TransformerAutoregressive
from zoo.models.core import rng
from zoo.models.core.functional import patch_side
from zoo.models.core.nfe import count_nfe
from zoo.models.networks.causal_transformer import Cache, CausalTransformer

sys.path.insert(0, str(Path(__file__).parent / "bijections"))
from contract import check_bijection, roughen

SMALL = {"blocks": 2, "width": 16, "layers": 1, "head_width": 8}
SCALE = {"preprocessing": "scale"}


def block(reverse=False, tokens=5, features=2, context=0, amount=0.3, **settings):
    torch.manual_seed(0)
    made = TransformerAutoregressive(tokens, features, reverse, 16, 2, 8, context, **settings)
    return roughen(made, amount).double()


@pytest.mark.parametrize("reverse", [False, True])
def test_a_token_depends_only_on_earlier_tokens(reverse):
    flow, x = block(reverse), torch.randn(1, 5, 2, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: flow(v)[0], x)[0, :, :, 0]  # (T, F, T, F)
    depends = jacobian.abs().amax((1, 3)) > 0
    order = torch.arange(5).flip(0) if reverse else torch.arange(5)
    expected = torch.ones(5, 5).tril().bool()
    assert torch.equal(depends[order][:, order], expected)
    inside = jacobian[torch.arange(5), :, torch.arange(5)]  # within a token: diagonal
    assert torch.equal(inside, torch.diag_embed(inside.diagonal(dim1=1, dim2=2)))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("tokens", "features", "context"), [(2, 1, 0), (5, 3, 0), (4, 2, 3)])
def test_the_block_is_a_bijection(reverse, tokens, features, context):
    flow = block(reverse, tokens, features, context, amount=0.1)
    x, y = torch.randn(4, tokens, features), torch.randn(4, context) if context else None
    check_bijection(flow, x, y)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 4), (1, 5, 7)])
def test_patches_become_tokens_in_raster_order(shape):
    split = Patchify(shape, 4)
    x = torch.arange(2 * math.prod(shape), dtype=torch.float32).view(2, *shape)
    z, log_det = split(x)
    assert torch.equal(split.inverse(z)[0], x)
    assert not log_det.any()
    i, j = split.fold
    assert torch.equal(z[1, 0].view(shape[0], i, j), x[1, :, :i, :j]), "the first token is the corner patch"
    assert torch.equal(z[1, 1].view(shape[0], i, j)[:, 0, 0], x[1, :, 0, j]), "the second lies to its right"
    assert (patch_side(1, 4), patch_side(2, 4), patch_side(7, 4), patch_side(28, 4), patch_side(6, 4)) == (
        1,
        1,
        1,
        4,
        3,
    )


@pytest.mark.parametrize("gradients", [False, True])
def test_steps_with_a_cache_equal_the_whole_pass(gradients):
    net = roughen(CausalTransformer(3, 4, 7, 16, 2, 8, context=2), 0.3).double()
    x, context = torch.randn(2, 7, 3).double(), torch.randn(2, 2).double()
    with torch.set_grad_enabled(gradients):
        cache = Cache(7)
        steps = torch.stack([net.step(x[:, t], cache, context) for t in range(7)], 1)
        whole = net(x, context)
    torch.testing.assert_close(steps, whole, rtol=0, atol=1e-12)
    if gradients:
        for a, b in zip(
            torch.autograd.grad(steps.square().sum(), list(net.parameters())),
            torch.autograd.grad(whole.square().sum(), list(net.parameters())),
            strict=True,
        ):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_cached_sampling_equals_naive_sampling_and_takes_one_step_per_token():
    flow, z = block(tokens=6, context=2), torch.randn(3, 6, 2).double()
    y = torch.eye(2, dtype=torch.float64)[[0, 1, 1]]
    x = z.clone()
    with torch.no_grad():
        for t in range(1, 6):  # naive: the whole network for every token
            mean, log_scale = flow.affine(flow.network(x[:, :-1], y), x)
            x[:, t] = z[:, t] * log_scale[:, t - 1].exp() + mean[:, t - 1]
        with count_nfe() as counter:
            cached, _ = flow.inverse(z, y)
    torch.testing.assert_close(cached, x, rtol=0, atol=1e-10)
    assert counter.count == 5
    state = set(flow.state_dict()) | {name for name, _ in flow.named_buffers()}
    assert state == {name for name, _ in flow.named_parameters()}, "a sampling call does not change the model"


def test_guidance_extrapolates_from_the_unconditional_output():
    flow, z = block(tokens=4, context=3), torch.randn(5, 4, 2).double()
    y = torch.eye(3, dtype=torch.float64)[[0, 1, 2, 0, 1]]
    with torch.no_grad():
        plain = flow.inverse(z, y)[0]
        torch.testing.assert_close(flow.generate(z, y, 0.0)[0], plain, rtol=0, atol=0)
        # weight -1 removes the context
        free = flow.inverse(z, torch.zeros_like(y))[0]
        torch.testing.assert_close(flow.generate(z, y, -1.0)[0], free, rtol=0, atol=1e-10)
        x = z.clone()
        for t in range(1, 4):  # by the definition
            m, a = flow.affine(flow.network(x[:, :-1], y), x)
            n, b = flow.affine(flow.network(x[:, :-1], 0 * y), x)
            m, a = (m + 1.5 * (m - n))[:, t - 1], (a + 1.5 * (a - b))[:, t - 1]
            x[:, t] = z[:, t] * a.exp() + m
        torch.testing.assert_close(flow.generate(z, y, 1.5)[0], x, rtol=0, atol=1e-9)


def test_labels_are_dropped_in_training_only():
    spec = zoo.DataSpec((2,), classes=2)
    model = roughen(zoo.build("tarflow", spec, conditional=True, label_dropout=0.5, **SMALL), 0.5)
    x, y = torch.ones(400, 2), torch.ones(400, dtype=torch.long)
    values = model.train().log_prob(x, y).detach()
    given = model.eval().log_prob(x, y).detach()
    dropped = (values - given).abs() > 1e-4
    assert 150 < int(dropped.sum()) < 250
    free = model._log_prob(x[:1], torch.zeros(1, 2))
    torch.testing.assert_close(values[dropped], free.expand(int(dropped.sum())), rtol=1e-4, atol=1e-4)
    guided = copy.deepcopy(model)
    guided.guidance = 2.0
    assert not torch.allclose(model.sample(4, y=1, seed=0), guided.sample(4, y=1, seed=0))


def test_samples_follow_the_density():
    """The probability integral transform of each coordinate detects an error of 5% in scale."""
    model = roughen(zoo.build("tarflow", zoo.DataSpec((2,)), **SMALL), 0.1).eval()
    x = model.sample(50000, seed=0).double()

    axis = torch.linspace(-14, 14, 561)
    with torch.no_grad():
        joint = model.log_prob(torch.cartesian_prod(axis, axis)).double().exp().view(561, 561)

    def worst(points, i):  # Kolmogorov-Smirnov distance of a coordinate from its marginal
        density = joint.sum(1 - i)
        cdf = (density.cumsum(0) - 0.5 * density) / density.sum()
        at = (points[:, i].sort().values + 14) / 28 * 560
        low = at.floor().long().clamp(0, 559)
        u = cdf[low] + (at - low) * (cdf[low + 1] - cdf[low])
        return (u - (torch.arange(len(u)) + 0.5) / len(u)).abs().max().item()

    mean, critical = x.mean(0), 1.63 / math.sqrt(len(x))
    for i in range(2):
        assert worst(x, i) < critical, "1% critical value"
        assert worst((x - mean) * 1.05 + mean, i) > critical, "a 5% error of scale is detected"


def test_denoising_is_the_posterior_mean_of_a_gaussian():
    """With constant outputs the flow is a Gaussian, whose posterior mean is known."""
    model = zoo.build(
        "tarflow", zoo.DataSpec((2,)), **(SMALL | {"blocks": 1}), noise="gaussian", noise_std=0.5
    ).double()
    inner = model.transform.layers[2]
    with torch.no_grad():
        inner.network.last.bias.copy_(
            torch.tensor([0.7, 0.3], dtype=torch.float64)
        )  # m and the raw log-scale of the second
    std = math.exp(5 * math.tanh(0.3 / 5))
    # y1 ~ N(0, 1) and y2 ~ N(0.7, std^2) have noise 0.25: the data have the remaining variance
    y = torch.randn(6, 2, dtype=torch.float64)
    expected = torch.stack([y[:, 0] * 0.75, 0.7 + (y[:, 1] - 0.7) * (1 - 0.25 / std**2)], 1)
    torch.testing.assert_close(y + 0.25 * model.score(y), expected, rtol=0, atol=1e-10)
    with rng.keyed(rng.keys(3, count=6)):
        z = model.base.sample(6)
    noisy = torch.stack([z[:, 0], z[:, 1] * std + 0.7], 1)
    expected = torch.stack([noisy[:, 0] * 0.75, 0.7 + (noisy[:, 1] - 0.7) * (1 - 0.25 / std**2)], 1)
    with torch.inference_mode():
        torch.testing.assert_close(model.sample(6, seed=3), expected, rtol=0, atol=1e-10)


def test_gaussian_noise_is_reported_as_a_bound():
    spec = zoo.DataSpec((1, 2, 2), levels=4)
    model = zoo.build("tarflow", spec, **SMALL, pixels=SCALE, noise="gaussian", noise_std=1.0)
    assert model.likelihood == "lower bound"
    assert model.likelihood_details() == {"dequantisation": "gaussian", "noise_std": 2.0}
    model = roughen(model, 0.05).eval()
    x = torch.cartesian_prod(*[torch.arange(4)] * 4).view(-1, 1, 2, 2)
    masses = []
    for salt in range(60):
        with rng.keyed(rng.content_keys(x, salt)), torch.no_grad():
            masses.append(model.log_prob(x).double().exp().sum())
    masses = torch.stack(masses)
    assert abs(masses.mean() - 1) < 4 * masses.std() / math.sqrt(60) + 1e-3
    for denoise in (True, False):
        model.denoise = denoise
        spec.check(model.sample(5, seed=0))
    assert isinstance(model.dequantise, GaussianNoise)


def test_a_denoising_step_that_overflows_is_an_error(monkeypatch):
    """Without a check, rounding to the range of pixels would hide the overflow."""
    spec = zoo.DataSpec((1, 2, 2), levels=4)
    model = zoo.build("tarflow", spec, **SMALL, pixels=SCALE, noise="gaussian", noise_std=1.0).eval()
    for value in (math.inf, math.nan):
        monkeypatch.setattr(model, "score", lambda y, context, value=value: torch.full_like(y, value))
        with pytest.raises(Unsound, match="samples"):
            model.sample(2, seed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": "gaussian"}, "give both or neither"),
        ({"noise_std": 0.1}, "give both or neither"),
        ({"noise": "gaussian", "noise_std": 0.1}, "preprocessing=scale"),
        (
            {
                "noise": "gaussian",
                "noise_std": 0.1,
                "pixels": SCALE | {"dequantisation": "variational"},
            },
            "replaces model.pixels.dequantisation",
        ),
        ({"guidance": 1.0}, "conditional=true"),
        ({"width": 50}, "multiple of its head_width"),
        ({"noise": "laplace"}, "uniform or gaussian"),
        ({"pixels": {"preprocessing": "sine"}}, "logit, centre, scale or none"),
        ({"blocks": 0}, "at least 1"),
    ],
)
def test_invalid_settings_are_an_error(settings, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.build("tarflow", zoo.DataSpec((1, 4, 4), levels=4, classes=2), **settings)


def test_data_of_one_dimension_are_an_error():
    with pytest.raises(zoo.ZooError, match="model=maf"):
        zoo.build("tarflow", zoo.DataSpec((1,)))
    assert zoo.build("tarflow", zoo.DataSpec((3, 1, 1), levels=4)).sample(2).shape == (2, 3, 1, 1)


def test_outputs_of_fifty_and_two_hundred_layers_are_finite():
    """Outputs of 50 are clamped; with 200 layers, there is no overflow at either end of the range."""
    flow = block()
    with torch.no_grad():
        flow.network.last.bias[2:] = torch.tensor([50.0, -50.0])
    for made in (flow, copy.deepcopy(flow).float()):
        z, log_det = made(torch.randn(2, 5, 2).to(next(made.parameters()).dtype))
        assert torch.isfinite(z).all()
        assert torch.isfinite(log_det).all()
    deep = Chain(
        [roughen(TransformerAutoregressive(2, 2, i % 2 == 1, 8, 1, 8), 0.02, seed=i) for i in range(200)]
    )
    for value in (-1.0, 0.0, 3.0):
        z, log_det = deep(torch.full((2, 2, 2), value))
        assert torch.isfinite(z).all()
        assert torch.isfinite(log_det).all()
        torch.testing.assert_close(deep.inverse(z)[0], torch.full((2, 2, 2), value), rtol=1e-3, atol=1e-3)
    spec = zoo.DataSpec((1, 2, 2), levels=256)
    model = roughen(zoo.build("tarflow", spec, **SMALL), 0.05).eval()
    ends = torch.stack([torch.zeros(1, 2, 2), torch.full((1, 2, 2), 255.0)])
    assert torch.isfinite(model.log_prob(ends)).all()


def test_autocast_keeps_log_dets_in_float32():
    flow, x = block(amount=0.1).float(), torch.randn(3, 5, 2)
    exact_z, exact = flow(x)
    with torch.autocast("cpu", torch.bfloat16):
        z, log_det = flow(x)
    assert z.dtype == log_det.dtype == torch.float32
    torch.testing.assert_close(log_det, exact, rtol=0.05, atol=0.05)
    torch.testing.assert_close(z, exact_z, rtol=0.05, atol=0.05)


def test_the_density_compiles_as_one_graph_with_equal_gradients():
    flow = Chain([block(False), block(True)])
    x = torch.randn(3, 5, 2, dtype=torch.float64)
    compiled = torch.compile(flow, backend="aot_eager", fullgraph=True)

    def gradients(f):
        z, log_det = f(x)
        return torch.autograd.grad((z.square().sum() - log_det.sum()), list(flow.parameters()))

    for a, b in zip(gradients(compiled), gradients(flow), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "blocks", "width", "layers"),
    [
        ("tarflow_mnist", 4, 128, 4),
        ("tarflow_imagenet64_bpd", 8, 768, 8),
        ("tarflow_imagenet64_fid", 8, 768, 8),
    ],
)
def test_the_models_of_recipes_have_the_stated_sizes(name, blocks, width, layers):
    model = recipe_model(name)
    assert sum(isinstance(m, TransformerAutoregressive) for m in model.modules()) == blocks
    inside = sum(p.numel() for n, p in model.named_parameters() if ".layers." in n.split("network", 1)[-1])
    # attention 4 w^2 + 4 w, feed-forward 8 w^2 + 5 w, two norms 4 w
    assert inside == blocks * layers * (12 * width**2 + 13 * width)
