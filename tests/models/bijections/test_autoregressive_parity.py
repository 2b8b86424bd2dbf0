"""Tests that masked autoregressive layers equal nflows' and zuko's with copied weights."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from autoregressive_tools import normal, perturbed
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.data.spec import DataSpec
from zoo.models.bijections.autoregressive import MaskedAutoregressive
from zoo.models.bijections.base import Bijection, Chain
from zoo.models.bijections.permutation import Permutation
from zoo.models.bijections.spline import RAW_SLOPE, rational_quadratic
from zoo.models.bijections.spline_autoregressive import MaskedSplineAutoregressive
from zoo.models.families.flow import Flow
from zoo.models.networks.made import MADE
from zoo.models.networks.masked import Degrees

DIM, HIDDEN, BINS = 5, 12, 6
assert HIDDEN % (DIM - 1) == 0, "each degree occurs equally often, so spread and cyclic degrees are the same"


class LikeNflows(MaskedAutoregressive):
    def apply_to(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        u, shift = parameters.unbind(-1)
        scale = F.softplus(u) + 1e-3
        return x * scale + shift, scale.log()

    def undo_on(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        u, shift = parameters.unbind(-1)
        scale = F.softplus(u) + 1e-3
        return (z - shift) / scale, -scale.log()


class LikeNormflows(MaskedAutoregressive):
    def apply_to(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        u, shift = parameters.unbind(-1)
        scale = torch.sigmoid(u + 2) + 1e-3
        return x * scale + shift, scale.log()

    def undo_on(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        u, shift = parameters.unbind(-1)
        scale = torch.sigmoid(u + 2) + 1e-3
        return (z - shift) / scale, -scale.log()


class LikeZuko(MaskedAutoregressive):
    def apply_to(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, u = parameters.unbind(-1)
        s = u / (1 + (u / math.log(1e-3)).abs())
        return x * s.exp() + shift, s

    def undo_on(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        shift, u = parameters.unbind(-1)
        s = u / (1 + (u / math.log(1e-3)).abs())
        return (z - shift) * (-s).exp(), -s


class LikeZukoSpline(MaskedAutoregressive):
    def knots(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = parameters.split((BINS, BINS, BINS - 1), -1)
        low = math.log(1e-3)
        places = [
            5 * (2 * F.pad((p / (1 + (2 * p / low).abs())).softmax(-1), (1, 0)).cumsum(-1) - 1)
            for p in parts[:2]
        ]
        slopes = (F.pad(parts[2] / (1 + (parts[2] / low).abs()), (1, 1))).exp()
        return places[0], places[1], slopes

    def apply_to(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return rational_quadratic(x, *self.knots(parameters))

    def undo_on(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return rational_quadratic(z, *self.knots(parameters), inverse=True)


@torch.no_grad()
def copy_weights(made: MADE, layers: list[Any], first: Tensor | None = None) -> None:
    """Copy a peer's masked layers into zoo's, with the peer's units sorted by degree.

    ``first``: the order in which the peer takes the dimensions, where it is not the natural one.
    """
    first = torch.arange(made.dim) if first is None else first
    before = first
    for ours, theirs in zip([*made.layers, made.output], layers, strict=True):
        mask = theirs.mask.double()
        order = torch.argsort(mask.sum(1), stable=True)
        if ours is made.output:
            order = torch.arange(len(mask)).view(made.dim, -1)[first].flatten()
        assert torch.equal(mask[order][:, before], ours.mask.double())
        ours.weight.copy_(theirs.weight[order][:, before])
        ours.bias.copy_(theirs.bias[order])
        before = order


def check(ours: MaskedAutoregressive, peer: Any, inverse: Any) -> None:
    x = 2 * normal(9, DIM)
    ours = ours.double().eval()
    with torch.no_grad():
        z, log_det = ours(x)
        their_z, their_log_det = peer(x)
        assert (z - their_z).abs().max() <= 1e-6
        assert (log_det - their_log_det).abs().max() <= 1e-6
        assert (ours.inverse(z)[0] - inverse(their_z)).abs().max() <= 1e-6


def nflows_layers(net: Any) -> list[nn.Module]:
    blocks: list[nn.Module] = []
    for block in net.blocks:
        blocks += list(block.linear_layers) if hasattr(block, "linear_layers") else [block.linear]
    return [net.initial_layer, *blocks, net.final_layer]


@pytest.mark.parametrize(("hidden", "degrees"), [(HIDDEN, "spread"), (HIDDEN + 2, "cyclic")])
@pytest.mark.parametrize("residual", [False, True])
def test_affine_layers_equal_those_of_nflows(residual: bool, hidden: int, degrees: Degrees) -> None:
    from nflows.transforms import MaskedAffineAutoregressiveTransform

    peer = perturbed(
        MaskedAffineAutoregressiveTransform(DIM, hidden, num_blocks=2, use_residual_blocks=residual)
    )
    network = MADE(DIM, 2, (hidden,) * 3, residual=residual, degrees=degrees).double()
    layers = nflows_layers(peer.autoregressive_net)
    if residual:  # within a residual block all layers have one order of the units
        assert torch.equal(layers[1].mask, layers[2].mask)
    copy_weights(network, layers)
    check(LikeNflows(network), peer, lambda z: peer.inverse(z)[0])


def test_residual_affine_layers_equal_those_of_normflows() -> None:
    """Only the residual form is compared; normflows' other form has no activation after the first layer."""
    from normflows.flows import MaskedAffineAutoregressive

    peer = perturbed(MaskedAffineAutoregressive(DIM, HIDDEN, num_blocks=2))
    network = MADE(DIM, 2, (HIDDEN,) * 3, residual=True).double()
    copy_weights(network, nflows_layers(peer.autoregressive_net))
    check(LikeNormflows(network), peer, lambda z: peer.inverse(z)[0])


def test_spline_layers_equal_those_of_nflows() -> None:
    from nflows.transforms import MaskedPiecewiseRationalQuadraticAutoregressiveTransform

    peer = perturbed(
        MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
            DIM, HIDDEN, num_bins=BINS, tails="linear", tail_bound=3.0, num_blocks=2
        )
    )
    network = MADE(DIM, 3 * BINS - 1, (HIDDEN,) * 3, residual=True).double()
    copy_weights(network, nflows_layers(peer.autoregressive_net))
    with torch.no_grad():  # ours adds a constant to the raw slopes, so that zeros give the identity
        network.output.bias.view(DIM, -1)[:, 2 * BINS :] -= RAW_SLOPE
    check(MaskedSplineAutoregressive(network, BINS, 3.0), peer, lambda z: peer.inverse(z)[0])


@pytest.mark.parametrize("spline", [False, True])
def test_layers_equal_those_of_zuko(spline: bool) -> None:
    from zuko.flows import MAF, NSF

    settings = {"transforms": 1, "hidden_features": (HIDDEN, HIDDEN)}
    flow = perturbed(NSF(DIM, bins=BINS, **settings) if spline else MAF(DIM, **settings))
    transform = flow.transform.transforms[0]
    network = MADE(DIM, 3 * BINS - 1 if spline else 2, (HIDDEN, HIDDEN)).double()
    copy_weights(network, [layer for layer in transform.hyper if hasattr(layer, "mask")])
    ours = (LikeZukoSpline if spline else LikeZuko)(network)
    check(ours, lambda x: transform().call_and_ladj(x), lambda z: transform().inv(z))


@pytest.mark.parametrize("spline", [False, True])
def test_whole_flows_equal_those_of_zuko(spline: bool) -> None:
    """Three transforms in forward, backward and forward order have the same log-density."""
    from zuko.flows import MAF, NSF

    settings = {"transforms": 3, "hidden_features": (HIDDEN, HIDDEN)}
    flow = perturbed(NSF(DIM, bins=BINS, **settings) if spline else MAF(DIM, **settings))
    layers: list[Bijection] = []
    for index, transform in enumerate(flow.transform.transforms):
        order = torch.arange(DIM) if index % 2 == 0 else torch.arange(DIM).flip(0)
        network = MADE(DIM, 3 * BINS - 1 if spline else 2, (HIDDEN, HIDDEN)).double()
        copy_weights(network, [layer for layer in transform.hyper if hasattr(layer, "mask")], order)
        one = (LikeZukoSpline if spline else LikeZuko)(network)
        layers += [Permutation(order), one, Permutation(order)]
    ours = Flow(DataSpec((DIM,)), Chain(layers)).double().eval()
    x = 2 * normal(9, DIM)
    with torch.no_grad():
        assert (ours.log_prob(x) - flow().log_prob(x)).abs().max() <= 1e-6
