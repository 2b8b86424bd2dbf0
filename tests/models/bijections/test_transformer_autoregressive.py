"""The transformer block of TarFlow: causality, Jacobians, the cache, guidance and numerics."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from contract import check_bijection, roughen

from zoo.models.bijections.base import Chain
from zoo.models.bijections.patchify import Patchify
from zoo.models.bijections.transformer_autoregressive import TransformerAutoregressive
from zoo.models.core.functional import patch_side
from zoo.models.core.nfe import count_nfe
from zoo.models.networks.causal_transformer import Cache, CausalTransformer


def block(reverse=False, tokens=5, features=2, context=0, amount=0.3, **settings):
    torch.manual_seed(0)
    sizes = {"width": 16, "layers": 2, "head_width": 8}
    made = TransformerAutoregressive(tokens, features, reverse=reverse, context=context, **sizes, **settings)
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
    net = roughen(CausalTransformer(3, 4, 7, width=16, layers=2, head_width=8, context=2), 0.3).double()
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


def test_cached_sampling_equals_naive_sampling_step_by_step():
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

    expected = gradients(flow)
    scale = max(float(gradient.abs().max()) for gradient in expected)  # some are zero but for rounding
    for a, b in zip(gradients(compiled), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12 * scale)


def test_two_hundred_blocks_and_outputs_of_fifty_stay_finite():
    """The raw log-scales of 50 and -50 are clamped."""
    flow = block()
    with torch.no_grad():
        flow.network.last.bias[2:] = torch.tensor([50.0, -50.0])
    for made in (flow, copy.deepcopy(flow).float()):
        z, log_det = made(torch.randn(2, 5, 2).to(next(made.parameters()).dtype))
        assert torch.isfinite(z).all()
        assert torch.isfinite(log_det).all()
    sizes = {"width": 8, "layers": 1, "head_width": 8}
    blocks = [TransformerAutoregressive(2, 2, reverse=i % 2 == 1, **sizes) for i in range(200)]
    deep = Chain([roughen(block, 0.02, seed=i) for i, block in enumerate(blocks)])
    for value in (-1.0, 0.0, 3.0):
        z, log_det = deep(torch.full((2, 2, 2), value))
        assert torch.isfinite(z).all()
        assert torch.isfinite(log_det).all()
        torch.testing.assert_close(deep.inverse(z)[0], torch.full((2, 2, 2), value), rtol=1e-3, atol=1e-3)
