"""A run of affine couplings with dense networks on a CPU, in few operations and with gradients by hand.

A small batch on a CPU takes as long as its operations are many, whatever they compute; here a run of
couplings, and of activation normalisations between them, has half as many as its layers one after another.
The columns of all matrices are examples. A coupling with the weights W_l and c_l, l = 1 .. L, and the bound
m maps its halves a and b to a and b':

    h_0 = a,   p_l = W_l h_(l-1) + c_l,   h_l = silu(p_l),   (r, t) = p_L
    q = sigmoid(2 r / m),   s = m (2 q - 1) = m tanh(r / m)
    b' = b exp(s) + t,   ln|det| = sum of s

Let A, B and D be the gradients of a loss with respect to a in the layers after, to b' and to ln|det|. Then
the gradients of the loss with respect to b, a and the weights are

    db = B exp(s),   dr = 4 q (1 - q) (D + db b),   dt = B
    e_L = (dr, dt),   e_l = silu'(p_l) * (W_(l+1)^T e_(l+1))
    da = A + W_1^T e_1,   dW_l = e_l h_(l-1)^T,   dc_l = sum of e_l over the examples

An activation normalisation with the bias u and the log-scale v maps both halves together, x, to
z = (x + u) exp(v), with ln|det| = sum of v. Let Z and D be the gradients with respect to z and ln|det|. Then

    dx = Z exp(v),   du = sum of dx,   dv = sum of (Z z + D),   sums over the examples
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import _has_any_global_hook

from zoo.models.bijections import by_hand
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Bijection
from zoo.models.bijections.coupling import AffineCoupling, Halves
from zoo.models.core.functional import clamp_scalars, computes_by_hand, for_products, soft_clamp
from zoo.models.core.nfe import add_nfe
from zoo.models.networks.mlp import MLP, is_untouched

aten = torch.ops.aten


class Affine(NamedTuple):
    """A coupling as its numbers.

    Attributes:
        weights: W_1, c_1, ..., W_L, c_L.
        flip: whether the second half conditions and the first is changed.
        bound: bound m of the log-scale.
    """

    weights: list[Tensor]
    flip: bool
    bound: float


class Norm(NamedTuple):
    """An activation normalisation as its numbers.

    Attributes:
        weights: u and v.
    """

    weights: list[Tensor]


Layer = Affine | Norm


def as_layers(bijections: Sequence[Bijection], x: Tensor, context: Tensor | None) -> list[Layer] | None:
    """Return layers as numbers, or None where the layers must compute the batch ``x`` themselves.

    The formulas are those of layers whose arithmetic nobody has changed. So weights that are not parameters
    (functional calls, parametrisations) and hooks get the layers; so do batches that the formulas may not
    take (:func:`~zoo.models.core.functional.computes_by_hand`), and a normalisation that would start from its
    batch.
    """
    if context is not None or not computes_by_hand(x) or _has_any_global_hook():
        return None
    layers: list[Layer] = []
    for bijection in bijections:
        layer = _as_norm(bijection) if isinstance(bijection, ActNorm) else _as_affine(bijection)
        if layer is None:
            return None
        layers.append(layer)
    return layers


def _as_norm(norm: ActNorm) -> Norm | None:
    """Return an activation normalisation as its numbers, or None if it would start from its batch."""
    weights = None if norm.starts() else by_hand.weights_of(norm, ActNorm)
    return None if weights is None else Norm(weights)


def _as_affine(coupling: Bijection) -> Affine | None:
    """Return a coupling as its numbers, or None if it is not an affine one of a dense network with SiLU."""
    if not isinstance(coupling, AffineCoupling):
        return None
    network, partition = coupling.network, coupling.partition
    if not (
        is_untouched(coupling, AffineCoupling)
        and isinstance(partition, Halves)
        and isinstance(coupling.log_scale, partial)
        and coupling.log_scale.func is soft_clamp
        and not coupling.shift_first
        and coupling.kept is None
        and isinstance(network, MLP)
        and is_untouched(network, MLP)
        and is_untouched(network.layers, nn.Sequential)
    ):
        return None
    weights: list[Tensor] = []
    modules = network.layers._modules.values()
    for index, module in enumerate(modules):
        of_module = by_hand.weights_of(module, nn.SiLU if index % 2 else nn.Linear)
        if of_module is None:
            return None
        weights += of_module
    return Affine(weights, partition.flip, coupling.log_scale.keywords["bound"]) if len(modules) % 2 else None


class Couplings(NamedTuple):
    """The formulas of a run of layers (:class:`~zoo.models.bijections.by_hand.Formulas`).

    Attributes:
        layers: the layers, in the order data to latent.
    """

    layers: list[Layer]

    @property
    def name(self) -> str:
        return "couplings as one operation"

    def forward(self, inputs: Sequence[Tensor], saved: list[Tensor] | None) -> tuple[Tensor, Tensor]:
        _count_networks(self.layers)
        return _forward(self.layers, inputs[0], saved)

    def backward(
        self, inputs: Sequence[Tensor], needed: Sequence[bool], saved: list[Tensor], grads: Sequence[Tensor]
    ) -> list[Tensor | None]:
        return _backward(self.layers, inputs, needed, saved, grads)


def transform(layers: list[Layer], x: Tensor, plain: by_hand.Plain) -> tuple[Tensor, Tensor]:
    """Return z and ln|det| of a run of layers, differentiable where gradients are recorded.

    Args:
        layers: the layers, in the order data to latent.
        x: the events, ``(B, D)``.
        plain: the same by the layers themselves, for derivatives of gradients.
    """
    weights = [weight for layer in layers for weight in layer.weights]
    return by_hand.transform(Couplings(layers), plain, x, weights)


def invert(layers: list[Layer], z: Tensor) -> Tensor:
    """Return the events that a run of layers maps to ``z``; without gradients."""
    _count_networks(layers)
    columns = _halves(z)
    for layer in reversed(layers):
        if isinstance(layer, Norm):
            bias, log_scale = layer.weights
            scale = (-log_scale).exp_().unsqueeze(1)
            columns = [*torch.addcmul(-bias.unsqueeze(1), torch.cat(columns), scale).chunk(2)]
            continue
        weights, flip, bound = layer
        q, shift = _network(bound, weights, columns[flip], None)
        changed = columns[not flip]
        falls = torch.add(-clamp_scalars(bound, q.dtype)[1], q, alpha=-2 * bound, out=q)  # -s
        columns[not flip] = torch.sub(changed, shift).mul_(falls.exp_())
    return torch.cat(columns).t()


def _count_networks(layers: list[Layer]) -> None:
    add_nfe(sum(isinstance(layer, Affine) for layer in layers))


def _halves(x: Tensor) -> list[Tensor]:
    """Return the halves of events as columns; as in :class:`Halves`, the first may be longer by one."""
    return [*for_products(x).t().chunk(2)]


def _network(
    bound: float, weights: Sequence[Tensor], given: Tensor, saved: list[Tensor] | None
) -> tuple[Tensor, Tensor]:
    """Return q and t of a coupling from its given half, in columns; append h_0, p_1, h_1 ... to ``saved``."""
    h = given
    if saved is not None:
        saved.append(h)
    last = len(weights) - 2
    for i in range(0, last, 2):
        p = torch.addmm(weights[i + 1].unsqueeze(1), weights[i], h)
        h = F.silu(p, inplace=saved is None)
        if saved is not None:
            saved += p, h
    out = torch.addmm(weights[last + 1].unsqueeze(1), weights[last], h)
    raw, shift = out.chunk(2)
    return torch.mul(raw, clamp_scalars(bound, raw.dtype)[0]).sigmoid_(), shift


def _forward(layers: list[Layer], x: Tensor, saved: list[Tensor] | None) -> tuple[Tensor, Tensor]:
    """Return z and ln|det|; append what a backward pass needs to ``saved``, if it is a list."""
    columns = _halves(x)
    sizes = [columns[not layer.flip].shape[0] for layer in layers if isinstance(layer, Affine)]
    all_scales = x.new_empty(sum(sizes), x.shape[0])  # s of all couplings, for one sum
    scales = iter(all_scales.split(sizes))
    of_norms: list[Tensor] = []
    for layer in layers:
        if isinstance(layer, Norm):
            bias, log_scale = layer.weights
            scale = log_scale.exp()
            shift, scale = (bias * scale).unsqueeze(1), scale.unsqueeze(1)
            z = torch.addcmul(shift, torch.cat(columns), scale)
            columns = [*z.chunk(2)]
            of_norms.append(log_scale)
            if saved is not None:
                saved += z, scale
            continue
        weights, flip, bound = layer
        q, shift = _network(bound, weights, columns[flip], saved)
        changed = columns[not flip]
        s = next(scales)
        torch.add(clamp_scalars(bound, q.dtype)[1], q, alpha=2 * bound, out=s)
        scale = s.exp()
        if saved is not None:
            saved += q, changed, scale
        columns[not flip] = torch.addcmul(shift, changed, scale)
    log_det = all_scales.sum(0)
    if of_norms:
        log_det += torch.cat(of_norms).sum()
    return torch.cat(columns).t(), log_det


def _backward(
    layers: list[Layer],
    inputs: Sequence[Tensor],
    needed: Sequence[bool],
    saved: list[Tensor],
    grads: Sequence[Tensor],
) -> list[Tensor | None]:
    """Return the gradients of the inputs that need one.

    Args:
        layers: the layers, in the order data to latent.
        inputs: the events and the weights of all layers.
        needed: whether an input needs its gradient.
        saved: what :func:`_forward` appended.
        grads: gradients of z and of ln|det|.
    """
    found: list[Tensor | None] = [None] * len(inputs)
    columns, of_log_det = _halves(grads[0]), grads[1]
    four_log_det, sum_log_det = of_log_det * 4, of_log_det.sum()
    end = len(inputs)
    for index, layer in reversed([*enumerate(layers)]):
        start, end = end - len(layer.weights), end - len(layer.weights)
        if isinstance(layer, Norm):
            scale, z = saved.pop(), saved.pop()
            of_z = torch.cat(columns)
            of_x = of_z * scale
            if needed[start]:
                found[start] = of_x.sum(1)
            if needed[start + 1]:
                found[start + 1] = of_z.mul_(z).sum(1).add_(sum_log_det)
            columns = [*of_x.chunk(2)]
            continue
        flip = layer.flip
        scale, changed, q = saved.pop(), saved.pop(), saved.pop()
        of_new = columns[not flip]
        of_changed = of_new * scale
        four_ds = torch.addcmul(four_log_det, of_changed, changed, value=4)
        error = torch.cat([aten.sigmoid_backward(four_ds, q), of_new])
        for i in reversed(range(start, start + len(layer.weights), 2)):
            h = saved.pop()
            if needed[i]:
                found[i] = torch.mm(error, h.t())
            if needed[i + 1]:
                found[i + 1] = error.sum(1)
            if i > start:
                error = aten.silu_backward(torch.mm(inputs[i].t(), error), saved.pop())
        if index or needed[0]:
            columns[flip] = torch.addmm(columns[flip], inputs[start].t(), error)
        columns[not flip] = of_changed
    if needed[0]:
        found[0] = torch.cat(columns).t()
    return found
