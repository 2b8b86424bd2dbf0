"""A run of affine couplings with dense networks on a CPU, in few operations and with gradients by hand.

A small batch on a CPU takes as long as its operations are many, whatever they compute; here a run of
couplings has half as many as its layers one after another. The columns of all matrices are examples. A
coupling with the weights W_l and c_l, l = 1 .. L, and the bound m maps its halves a and b to a and b':

    h_0 = a,   p_l = W_l h_(l-1) + c_l,   h_l = silu(p_l),   (r, t) = p_L
    q = sigmoid(2 r / m),   s = m (2 q - 1) = m tanh(r / m)
    b' = b exp(s) + t,   ln|det| = sum of s

Let A, B and D be the gradients of a loss with respect to a in the layers after, to b' and to ln|det|. Then
the gradients of the loss with respect to b, a and the weights are

    db = B exp(s),   dr = 4 q (1 - q) (D + db b),   dt = B
    e_L = (dr, dt),   e_l = silu'(p_l) * (W_(l+1)^T e_(l+1))
    da = A + W_1^T e_1,   dW_l = e_l h_(l-1)^T,   dc_l = sum of e_l over the examples
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.nn.modules.module import _has_any_global_hook

from zoo.models.bijections.coupling import AffineCoupling, Coupling, Halves
from zoo.models.core.functional import clamp_scalars, multiplies_features_first, soft_clamp
from zoo.models.core.nfe import add_nfe
from zoo.models.networks.mlp import MLP, is_untouched

Parts = tuple[Tensor, Tensor]  # the first and the second half of the events
Plain = Callable[[Parts], tuple[Parts, Tensor]]
aten = torch.ops.aten


class Layer(NamedTuple):
    """A coupling as its numbers.

    Attributes:
        flip: whether the second half conditions and the first is changed.
        bound: bound m of the log-scale.
        weights: W_1, c_1, ..., W_L, c_L.
    """

    flip: bool
    bound: float
    weights: list[Tensor]


def as_layers(couplings: Sequence[Coupling], x: Tensor, context: Tensor | None) -> list[Layer] | None:
    """Return couplings as numbers, or None where the layers must compute the batch ``x`` themselves.

    The formulas are those of layers whose arithmetic nobody has changed, for ordinary tensors on a CPU. So
    compiled code, transforms of ``torch.func``, forward-mode derivatives, autocast, half precision, tensors
    of other classes, weights that are not parameters (functional calls, parametrisations) and hooks get the
    layers.
    """
    if (
        context is not None
        or type(x) is not Tensor
        or not multiplies_features_first(x)
        or x.dtype.itemsize < 4
        or torch.is_autocast_enabled("cpu")
        or torch._C._are_functorch_transforms_active()
        or forward_ad.unpack_dual(x).tangent is not None
        or _has_any_global_hook()
    ):
        return None
    layers = []
    for coupling in couplings:
        layer = _as_layer(coupling)
        if layer is None:
            return None
        layers.append(layer)
    return layers


def _as_layer(coupling: Coupling) -> Layer | None:
    """Return a coupling as its numbers, or None if it is not an affine one of a dense network with SiLU."""
    network, partition = coupling.network, coupling.partition
    if not (
        isinstance(coupling, AffineCoupling)
        and is_untouched(coupling, AffineCoupling)
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
        if module is None or not is_untouched(module, nn.SiLU if index % 2 else nn.Linear):
            return None
        for weight in module._parameters.values():
            if type(weight) is not nn.Parameter:
                return None
            weights.append(weight)
    return Layer(partition.flip, coupling.log_scale.keywords["bound"], weights) if len(modules) % 2 else None


def transform(layers: list[Layer], parts: Parts, plain: Plain) -> tuple[Parts, Tensor]:
    """Return the new halves and ln|det| of a run of couplings, differentiable where gradients are recorded.

    Args:
        layers: the couplings, in the order data to latent.
        parts: the halves, ``(B, D_1)`` and ``(B, D_2)``.
        plain: the same by the layers themselves, for derivatives of gradients.
    """
    add_nfe(len(layers))
    if not torch.is_grad_enabled():
        return _forward(layers, parts, None)
    weights = [weight for layer in layers for weight in layer.weights]
    first, second, log_det = _Transform.apply(layers, plain, *parts, *weights)
    return (first, second), log_det


def invert(layers: list[Layer], parts: Parts) -> Parts:
    """Return the halves that a run of couplings maps to ``parts``; without gradients."""
    add_nfe(len(layers))
    columns = [part.t() for part in parts]
    for flip, bound, weights in reversed(layers):
        q, shift = _network(bound, weights, columns[flip], None)
        changed = columns[not flip]
        falls = torch.add(-clamp_scalars(bound, q.dtype)[1], q, alpha=-2 * bound, out=q)  # -s
        columns[not flip] = torch.sub(changed, shift).mul_(falls.exp_())
    return columns[0].t(), columns[1].t()


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


def _forward(layers: list[Layer], parts: Parts, saved: list[Tensor] | None) -> tuple[Parts, Tensor]:
    """Return the new halves and ln|det|; append what a backward pass needs to ``saved``, if it is a list."""
    columns = [part.t() for part in parts]
    sizes = [columns[not layer.flip].shape[0] for layer in layers]
    all_scales = columns[0].new_empty(sum(sizes), columns[0].shape[1])  # s of all layers, for one sum
    for (flip, bound, weights), s in zip(layers, all_scales.split(sizes), strict=True):
        q, shift = _network(bound, weights, columns[flip], saved)
        changed = columns[not flip]
        torch.add(clamp_scalars(bound, q.dtype)[1], q, alpha=2 * bound, out=s)
        scale = s.exp()
        if saved is not None:
            saved += q, changed, scale
        columns[not flip] = torch.addcmul(shift, changed, scale)
    return (columns[0].t(), columns[1].t()), all_scales.sum(0)


class _Transform(torch.autograd.Function):
    """:func:`_forward` as one node of the autograd graph, with the gradients of the module's docstring.

    Weights are inputs, so that autograd (and the hooks of data-parallel training) handle them.
    """

    @staticmethod
    def forward(ctx: Any, layers: list[Layer], plain: Plain, *tensors: Tensor) -> tuple[Tensor, ...]:
        saved: list[Tensor] = []
        parts, log_det = _forward(layers, (tensors[0], tensors[1]), saved)
        ctx.plain, ctx.shapes = plain, [(layer.flip, len(layer.weights)) for layer in layers]
        ctx.save_for_backward(*tensors)
        # not saved by autograd, so that the memory of each layer is free, and warm, for the one before
        ctx.saved = saved
        return *parts, log_det

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, needed = ctx.saved_tensors, ctx.needs_input_grad[2:]
        saved, ctx.saved = ctx.saved, []
        if torch.is_grad_enabled() or not saved:  # a derivative of gradients, or a second pass
            return None, None, *_by_autograd(ctx.plain, inputs, needed, grads)
        return None, None, *_by_hand(ctx.shapes, inputs, needed, saved, grads)


def _by_hand(
    shapes: list[tuple[bool, int]],
    inputs: Sequence[Tensor],
    needed: Sequence[bool],
    saved: list[Tensor],
    grads: Sequence[Tensor],
) -> list[Tensor | None]:
    """Return the gradients of the inputs that need one.

    Args:
        shapes: of each layer, whether it is flipped and the number of its weights.
        inputs: the halves and the weights of all layers.
        needed: whether an input needs its gradient.
        saved: what :func:`_forward` appended.
        grads: gradients of the new halves and of ln|det|.
    """
    found: list[Tensor | None] = [None] * len(inputs)
    columns = [grads[0].t(), grads[1].t()]
    four_log_det = grads[2] * 4
    start = len(inputs)
    for index, (flip, count) in reversed([*enumerate(shapes)]):
        start -= count
        scale, changed, q = saved.pop(), saved.pop(), saved.pop()
        of_new = columns[not flip]
        of_changed = of_new * scale
        four_ds = torch.addcmul(four_log_det, of_changed, changed, value=4)
        error = torch.cat([aten.sigmoid_backward(four_ds, q), of_new])
        for i in reversed(range(start, start + count, 2)):
            h = saved.pop()
            if needed[i]:
                found[i] = torch.mm(error, h.t())
            if needed[i + 1]:
                found[i + 1] = error.sum(1)
            if i > start:
                error = aten.silu_backward(torch.mm(inputs[i].t(), error), saved.pop())
        if index or needed[flip]:
            columns[flip] = torch.addmm(columns[flip], inputs[start].t(), error)
        columns[not flip] = of_changed
    for part in (0, 1):
        if needed[part]:
            found[part] = columns[part].t()
    return found


def _by_autograd(
    plain: Plain, inputs: Sequence[Tensor], needed: Sequence[bool], grads: Sequence[Tensor]
) -> list[Tensor | None]:
    """Return the same gradients by the layers themselves, run anew, differentiable where grad mode is on."""
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        parts, log_det = plain((inputs[0], inputs[1]))
    pairs = [(out, grad) for out, grad in zip((*parts, log_det), grads, strict=True) if out.requires_grad]
    found = torch.autograd.grad(
        [out for out, _ in pairs],
        [value for value, need in zip(inputs, needed, strict=True) if need],
        [grad for _, grad in pairs],
        create_graph=differentiable,
        allow_unused=True,
    )
    rest = iter(found)
    return [next(rest) if need else None for need in needed]
