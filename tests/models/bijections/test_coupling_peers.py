"""Tests of couplings, splines and linear layers against other libraries, with copied weights."""

from __future__ import annotations

import warnings
from functools import partial

import pytest
import torch
from contract import roughen
from torch import nn

from zoo.data.spec import DataSpec
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Chain, Inverse
from zoo.models.bijections.coupling import AffineCoupling, Halves, bounded
from zoo.models.bijections.invertible_conv import FullConv1x1
from zoo.models.bijections.linear import LULinear
from zoo.models.bijections.multiscale import squeeze_and_split
from zoo.models.bijections.permutation import Permutation
from zoo.models.bijections.spline import RAW_SLOPE, ElementwiseSpline, rational_quadratic
from zoo.models.bijections.spline_coupling import SplineCoupling
from zoo.models.families.flow import Flow
from zoo.models.networks.residual_net import ResidualMLP

EXACT = {"rtol": 0, "atol": 1e-6}


def agree(ours, forward, inverse, x):
    """Assert equal values and log-determinants in both directions."""
    with torch.no_grad():
        z, log_det = ours(x)
        expected, expected_log_det = forward(x)
        torch.testing.assert_close(z, expected, **EXACT)
        torch.testing.assert_close(log_det, expected_log_det, **EXACT)
        back, back_log_det = ours.inverse(z)
        expected, expected_log_det = inverse(z)
        torch.testing.assert_close(back, expected, **EXACT)
        torch.testing.assert_close(back_log_det, expected_log_det, **EXACT)


class Ordered(nn.Module):
    """A peer's conditioner with its outputs in zoo's order."""

    def __init__(self, net, order):
        super().__init__()
        self.net, self.order = net, order

    def forward(self, x):
        return self.net(x)[:, self.order]


def nflows_scale(u):
    return (torch.sigmoid(u + 2) + 1e-3).log()


@pytest.mark.parametrize("dim", [2, 7])
@pytest.mark.parametrize("kind", ["half", "alternating"])
def test_the_affine_coupling_equals_that_of_nflows(dim, kind):
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow as TheirFlow
    from nflows.transforms.coupling import AffineCouplingTransform

    net = roughen(ResidualMLP((dim + 1) // 2, 2 * (dim // 2), 16, 1), 0.3).double()
    mask = torch.ones(dim)
    mask[: (dim + 1) // 2] = 0
    if kind == "alternating":
        mask = torch.arange(dim) % 2
    theirs = AffineCouplingTransform(mask, lambda n, out: _WithContext(net)).double()
    half = dim // 2
    order = [*range(half, 2 * half), *range(half)]  # nflows: shift, then scale
    ours = AffineCoupling(Halves(dim), Ordered(net, order), nflows_scale)
    ours = alternating(dim, ours) if kind == "alternating" else ours
    x = torch.randn(9, dim, dtype=torch.float64)
    agree(ours, theirs.forward, theirs.inverse, x)
    whole = Flow(DataSpec((dim,)), Chain([ours])).double()
    with torch.no_grad():
        expected = TheirFlow(theirs, StandardNormal([dim])).double().log_prob(x)
        torch.testing.assert_close(whole.log_prob(x), expected, **EXACT)


def alternating(dim, coupling):
    """Return a coupling whose parts are the even and the odd dimensions."""
    even_first = Permutation([*range(0, dim, 2), *range(1, dim, 2)])
    return Chain([even_first, coupling, Inverse(even_first)])


class _WithContext(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, context=None):
        return self.net(x)


def shifted(net, changed, bins):
    """Subtract the constant that zoo adds to raw slopes, RAW_SLOPE, from the peer's slopes."""
    move = torch.zeros(changed, 3 * bins - 1, dtype=torch.float64)
    move[:, 2 * bins :] = RAW_SLOPE
    return _Moved(net, move.flatten())


class _Moved(nn.Module):
    def __init__(self, net, move):
        super().__init__()
        self.net, self.move = net, move

    def forward(self, x):
        return self.net(x) - self.move


@pytest.mark.parametrize("unconditional", [False, True])
def test_the_spline_coupling_equals_that_of_nflows(unconditional):
    from nflows.transforms.coupling import PiecewiseRationalQuadraticCouplingTransform

    dim, bins, bound = 5, 6, 2.5
    net = roughen(ResidualMLP(3, 2 * (3 * bins - 1), 16, 1), 0.5).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = PiecewiseRationalQuadraticCouplingTransform(
            torch.tensor([0, 0, 0, 1, 1]),
            lambda n, out: _WithContext(net),
            num_bins=bins,
            tails="linear",
            tail_bound=bound,
            apply_unconditional_transform=unconditional,
        ).double()
        kept = None
        if unconditional:
            kept = ElementwiseSpline(3, bins, bound).double()
            own = theirs.unconditional_transform
            roughen(own, 0.5)
            raw = [
                own.unnormalized_widths,
                own.unnormalized_heights,
                own.unnormalized_derivatives - RAW_SLOPE,
            ]
            with torch.no_grad():
                kept.raw.copy_(torch.cat(raw, -1))
        ours = SplineCoupling(Halves(dim), shifted(net, 2, bins), bins, bound, kept)
        agree(ours, theirs.forward, theirs.inverse, 2 * torch.randn(50, dim, dtype=torch.float64))


def test_the_spline_equals_that_of_zuko():
    from zuko.transforms import MonotonicRQSTransform

    raw = [2 * torch.randn(40, k, dtype=torch.float64) for k in (6, 6, 5)]
    theirs = MonotonicRQSTransform(*raw, bound=2.0)
    places = theirs.horizontal, theirs.vertical, theirs.derivatives
    x = 2 * torch.randn(40, dtype=torch.float64)
    y, log_slope = rational_quadratic(x, *places)
    expected, expected_log_slope = theirs.call_and_ladj(x)
    torch.testing.assert_close(y, expected, **EXACT)
    torch.testing.assert_close(log_slope, expected_log_slope, **EXACT)
    torch.testing.assert_close(rational_quadratic(y, *places, inverse=True)[0], theirs.inv(y), **EXACT)


class ZukoSpline(SplineCoupling):
    """A rational spline with zuko's constraints of the parameters."""

    def knots(self, parameters):
        from zuko.transforms import MonotonicRQSTransform

        raw = parameters.unflatten(1, (self.partition.changed, -1)).split(
            (self.bins, self.bins, self.bins - 1), -1
        )
        theirs = MonotonicRQSTransform(*raw, bound=self.bound)
        return theirs.horizontal, theirs.vertical, theirs.derivatives


def test_flows_equal_those_of_zuko():
    """A whole Real NVP with its log-density and one coupling of rational splines are compared."""
    from zuko.flows import RealNVP
    from zuko.flows.coupling import GeneralCouplingTransform
    from zuko.transforms import MonotonicRQSTransform

    dim, bins = 5, 4
    flow = roughen(RealNVP(dim, transforms=3, hidden_features=(16,)), 0.2).double()
    layers = []
    for layer in flow.transform.transforms:
        partition = Halves(dim, flip=not layer.mask[0])  # true in their mask: conditions
        n = partition.changed
        order = [*range(1, 2 * n, 2), *range(0, 2 * n, 2)]  # zuko: shift and scale interleaved
        clip = -torch.tensor(1e-3, dtype=torch.float64).log()
        scale = partial(_soft_clip, bound=clip)
        layers.append(alternating(dim, AffineCoupling(partition, Ordered(layer.hyper, order), scale)))
    x = torch.randn(20, dim, dtype=torch.float64)
    t = flow().transform
    agree(Chain(layers), t.call_and_ladj, t.inv.call_and_ladj, x)
    ours = Flow(DataSpec((dim,)), Chain(layers)).double()
    with torch.no_grad():
        torch.testing.assert_close(ours.log_prob(x), flow().log_prob(x), **EXACT)

    lazy = GeneralCouplingTransform(
        dim,
        mask=torch.tensor([True, True, True, False, False]),
        univariate=partial(MonotonicRQSTransform, bound=3.0),
        shapes=[(bins,), (bins,), (bins - 1,)],
        hidden_features=(16,),
    )
    lazy = roughen(lazy, 0.3).double()
    ours = ZukoSpline(Halves(dim), lazy.hyper, bins, 3.0)
    agree(ours, lazy().call_and_ladj, lazy().inv.call_and_ladj, x)


def _soft_clip(raw, bound):
    return raw / (1 + (raw / bound).abs())


@pytest.mark.parametrize("dim", [1, 6])
def test_the_lu_layer_equals_that_of_nflows(dim):
    from nflows.transforms import LULinear as Theirs

    theirs = roughen(Theirs(dim), 0.4).double()
    ours = LULinear(dim).double()
    with torch.no_grad():
        for mine, other in [
            (ours.lower, theirs.lower_entries),
            (ours.upper, theirs.upper_entries),
            (ours.diagonal, theirs.unconstrained_upper_diag),
            (ours.bias, theirs.bias),
        ]:
            mine.copy_(other)
    agree(ours, theirs.forward, theirs.inverse, torch.randn(9, dim, dtype=torch.float64))


def glow_step(block, channels):
    """Return a Glow step with the weights of normflows' block."""
    coupling, mixing, norm = block.flows
    norm.data_dep_init_done.fill_(1)
    ours = Chain([ActNorm(channels), FullConv1x1(channels), _glow_coupling(coupling, channels)]).double()
    with torch.no_grad():
        ours.layers[0].log_scale.copy_(-norm.s.flatten())
        ours.layers[0].bias.copy_(-norm.t.flatten())
        probe = torch.eye(channels, dtype=torch.float64)[:, :, None, None]
        ours.layers[1].matrix.copy_(mixing.inverse(probe)[0][:, :, 0, 0].T)
    return ours.eval()


def test_a_glow_step_equals_the_block_of_normflows():
    from normflows.flows import GlowBlock

    channels = 6
    block = roughen(GlowBlock(channels, 8, init_zeros=False), 0.2).double().eval()
    x = torch.randn(4, channels, 3, 2, dtype=torch.float64)
    agree(glow_step(block, channels), block.inverse, block.forward, x)


class _Constant(nn.Module):
    """A split prior that does not depend on the staying channels."""

    def __init__(self, mean, log_std):
        super().__init__()
        raw = 3 * torch.atanh(log_std / 3)  # zoo bounds the log-deviation by 3 tanh(./3)
        self.values = nn.Parameter(torch.cat([mean, raw], 1))

    def forward(self, x):
        return self.values.expand(len(x), *self.values.shape[1:])


def test_a_whole_glow_equals_that_of_normflows():
    """Two levels of two steps, with learned normals at each level, have the same log-density."""
    from normflows import MultiscaleFlow
    from normflows.distributions import DiagGaussian
    from normflows.flows import GlowBlock, Merge, Squeeze

    inside = {(4, 4, 4): 1, (8, 2, 2): 0}  # shape inside a level, by its index in normflows' lists
    levels = {
        index: [*(GlowBlock(shape[0], 8, init_zeros=False) for _ in range(2)), Squeeze()]
        for shape, index in inside.items()
    }
    bases = [DiagGaussian((8, 2, 2)), DiagGaussian((2, 4, 4))]
    theirs = MultiscaleFlow(bases, [levels[0], levels[1]], [Merge()], class_cond=False)
    theirs = roughen(theirs, 0.1).double().eval()

    def steps(shape):
        return [glow_step(block, shape[0]) for block in reversed(levels[inside[shape]][:2])]

    body = squeeze_and_split((1, 8, 8), 2, steps, lambda *_: _Constant(bases[1].loc, bases[1].log_scale))
    ours = Flow(DataSpec((1, 8, 8)), body, base="diagonal", latent_shape=(64,)).double().eval()
    x = torch.randn(5, 1, 8, 8, dtype=torch.float64)
    with torch.no_grad():  # zoo's latents: the standardised channels that left, then the deepest ones
        ours.base.mean[:, 32:].copy_(bases[0].loc.flatten())
        ours.base.log_std[:, 32:].copy_(bases[0].log_scale.flatten())
        torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x, None), **EXACT)


class _Negated(nn.Module):
    """normflows: (z - shift) sigmoid(s + 2) with [shift, s] interleaved; zoo: (b + shift) exp(log-scale)."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        out = self.net(x)
        return torch.cat([out[:, 1::2], -out[:, ::2]], 1)


def _glow_coupling(theirs, channels):
    net = theirs.flows[1].param_map
    return AffineCoupling(Halves(channels), _Negated(net), bounded("sigmoid"), shift_first=True)
