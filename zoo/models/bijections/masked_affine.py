"""A masked affine autoregressive layer in few operations, with gradients by hand.

The columns of all matrices are examples, and x is a matrix of events. With the masks M_l of the weights W_l,
the activation f, a bound m of the log-deviation and the factor k of the network's output r (1, or -1/2 for a
log-precision),

    h_0 = x,   h_l = f((W_l * M_l) h_(l-1) + c_l),   (u, r) = (V * M) h_L + a
    q = sigmoid(-2 k r / m),   -s = m (2 q - 1) = -m tanh(k r / m)   (without a bound -s = -k r)
    d = x - u,   z = d exp(-s),   ln|det| = sum of -s

Let Z and D be the gradients of a loss with respect to z and ln|det|. Then the gradients of the loss with
respect to the outputs, the weights and x are

    du = -Z exp(-s),   dr = -4 k q (1 - q) (D - du d)   (without a bound dr = -k (D - du d))
    e = (du, dr),   dV = (e h_L^T) * M,   da = sum of e over the examples
    e_L = f'(h_L) * ((V * M)^T e),   e_l = f'(h_l) * ((W_(l+1) * M_(l+1))^T e_(l+1))
    dW_l = (e_l h_(l-1)^T) * M_l,   dc_l = sum of e_l,   dx = -du + (W_1 * M_1)^T e_1

If inputs are soft-clamped to (-b, b), h_0 = b (2 p - 1) with p = sigmoid(2 x / b), and the second term of dx
is multiplied by 4 p (1 - p).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.modules.module import _has_any_global_hook

from zoo.models.bijections.by_hand import weights_of
from zoo.models.core.functional import clamp_scalars, computes_by_hand, for_products
from zoo.models.core.nfe import add_nfe
from zoo.models.networks.made import MADE
from zoo.models.networks.masked import ACTIVATIONS, Activation, MaskedLinear
from zoo.models.networks.mlp import is_untouched

aten = torch.ops.aten


class MaskedAffine(NamedTuple):
    """The formulas of a layer (:class:`~zoo.models.bijections.by_hand.Formulas`).

    Attributes:
        masks: M_1, ..., M_L and M, as in :class:`~zoo.models.networks.masked.MaskedLinear`.
        activation: the activation f.
        factor: factor k of the network's output.
        bound: bound m of the log-deviation; None for none.
        input_bound: bound b of the inputs that the network sees; None for none.
    """

    masks: list[Tensor]
    activation: Activation
    factor: float
    bound: float | None
    input_bound: float | None

    @property
    def name(self) -> str:
        return "masked layers as one operation"

    def forward(self, inputs: Sequence[Tensor], saved: list[Tensor] | None) -> tuple[Tensor, Tensor]:
        add_nfe()
        x, *others = inputs
        weights, biases = torch._foreach_mul(others[::2], self.masks), others[1::2]
        columns = for_products(x).t()
        h, kept = columns, []
        if self.input_bound is not None:
            slope, lowest = clamp_scalars(self.input_bound, x.dtype)
            p = (columns * slope).sigmoid_()
            h = torch.add(lowest, p, alpha=2 * self.input_bound)
            kept.append(p)
        activate = ACTIVATIONS[self.activation][1]
        last = len(weights) - 1
        for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            kept += weight, h
            h = torch.addmm(bias.unsqueeze(1), weight, h)
            if index < last:
                h = activate(h)
        mean, raw = _kinds(h)
        if self.bound is None:
            falls = raw * -self.factor
        else:
            q = (raw * clamp_scalars(-self.bound / self.factor, x.dtype)[0]).sigmoid_()
            falls = torch.add(clamp_scalars(self.bound, x.dtype)[1], q, alpha=2 * self.bound)
            kept.append(q)
        scale = falls.exp()
        difference = columns - mean
        if saved is not None:
            saved += [*kept, difference, scale]
        return (difference * scale).t(), falls.sum(0)

    def backward(
        self, inputs: Sequence[Tensor], needed: Sequence[bool], saved: list[Tensor], grads: Sequence[Tensor]
    ) -> list[Tensor | None]:
        scale, difference = saved.pop(), saved.pop()
        of_difference = for_products(grads[0]).t() * scale
        error = difference.new_empty(2 * len(difference), difference.shape[1])
        of_mean, of_raw = _kinds(error)
        torch.neg(of_difference, out=of_mean)
        step = -self.factor if self.bound is None else -4 * self.factor
        of_falls = torch.addcmul(grads[1] * step, of_difference, difference, value=step)
        if self.bound is None:
            of_raw.copy_(of_falls)
        else:
            aten.sigmoid_backward.grad_input(of_falls, saved.pop(), grad_input=of_raw)
        found: list[Tensor | None] = [None] * len(inputs)
        of_weights, masks = [], []
        for index, mask in reversed([*enumerate(self.masks)]):
            h, weight = saved.pop(), saved.pop()
            if needed[1 + 2 * index]:
                found[1 + 2 * index] = of_weight = torch.mm(error, h.t())
                of_weights.append(of_weight)
                masks.append(mask)
            if needed[2 + 2 * index]:
                found[2 + 2 * index] = error.sum(1)
            if index:
                back = torch.mm(weight.t(), error)
                if self.activation == "relu":
                    error = aten.threshold_backward(back, h, 0)
                else:
                    error = aten.tanh_backward(back, h)
            elif needed[0] and self.input_bound is None:
                found[0] = torch.addmm(of_difference, weight.t(), error).t()
            elif needed[0]:
                seen = aten.sigmoid_backward(torch.mm(weight.t(), error), saved.pop())
                found[0] = torch.add(of_difference, seen, alpha=4).t()
        if of_weights:
            torch._foreach_mul_(of_weights, masks)
        return found


def formulas_of(
    network: MADE, factor: float, bound: float | None, x: Tensor
) -> tuple[MaskedAffine, list[Tensor]] | None:
    """Return a layer's formulas and weights, or None where the layer must compute the batch ``x`` itself.

    The formulas are those of a network whose arithmetic nobody has changed, without context, residual blocks
    and products so large that they are computed in pieces. Batches are those that
    :func:`~zoo.models.core.functional.computes_by_hand` allows.

    Args:
        network: the layer's network, whose outputs are u and r.
        factor: factor k of r.
        bound: bound m of the log-deviation.
        x: the events.
    """
    if (
        network.residual
        or network.context is not None
        or not is_untouched(network, MADE)
        or not computes_by_hand(x)
        or _has_any_global_hook()
    ):
        return None
    weights: list[Tensor] = []
    layers = [*network.layers, network.output]
    for layer in layers:
        of_layer = weights_of(layer, MaskedLinear)
        if of_layer is None or layer.in_pieces(len(x)):
            return None
        weights += of_layer
    masks = [layer.mask for layer in layers]
    return MaskedAffine(masks, network.activation, factor, bound, network.input_bound), weights


def _kinds(rows: Tensor) -> list[Tensor]:
    """Return the rows u and the rows r of (u_1, r_1, u_2, r_2, ...), as views."""
    return [*rows.view(len(rows) // 2, 2, rows.shape[1]).unbind(1)]
