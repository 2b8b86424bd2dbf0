"""MADE whose masks are drawn: one set of weights under many orders and connectivities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.checks import NotNegative, Positive, checked
from zoo.errors import ZooError
from zoo.models.core.nfe import add_nfe
from zoo.models.core.rng import stream

Activation = Literal["relu", "tanh", "softplus", "sigmoid"]
Order = Literal["natural", "random"]
Initialisation = Literal["orthogonal", "uniform", "zeros"]

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu, "tanh": torch.tanh, "softplus": F.softplus, "sigmoid": torch.sigmoid
}  # fmt: skip

_STARTS: dict[str, Callable[[Tensor], Tensor]] = {
    "orthogonal": nn.init.orthogonal_, "uniform": nn.init.xavier_uniform_, "zeros": nn.init.zeros_
}  # fmt: skip


class Masks(NamedTuple):
    """One draw of the masks.

    Attributes:
        sequence: the dimensions in the order in which they depend on each other, ``(D,)``.
        layers: mask of each layer, the output's last, ``(out, in)``, true where a weight counts.
        direct: mask of the weights from the input to the output, ``(D, D)``.
    """

    sequence: Tensor
    layers: list[Tensor]
    direct: Tensor


class DrawnMasksMADE(nn.Module):
    """MADE (Germain et al. 2015, arXiv:1502.03509) with masks that are drawn, sections 4.1 to 4.3.

    Output d is a function of the inputs before d in an order o:

        h_1 = a((W_1 * M_1) x + b_1),  h_l = a((W_l * M_l) h_{l-1} + b_l),
        out = (V * M_V) h_L + (A * M_A) x + c,

    where the degree of a hidden unit is drawn uniformly from the least degree below it to D - 1. Draw k of
    the order and the degrees is a function of k alone, so it need not be stored. Without hidden layers,
    out = (A * M_A) x + c is a logistic regression of each dimension on those before it, a fully visible
    sigmoid belief network (Frey 1998).

    Args:
        dim: number of dimensions D.
        hidden: widths of the hidden layers; may be empty with ``direct``.
        context: length of the context, which every output and the first hidden layer depend on; 0 for none.
        activation: ``relu``, ``tanh``, ``softplus`` or ``sigmoid``.
        direct: whether there are weights A from the input to the output.
        order: ``natural``, or drawn (``random``) with each draw of the degrees.
        initialisation: start of the weights: ``orthogonal`` (Saxe et al. 2014), ``uniform`` within
            sqrt(6 / (in + out)) (Glorot & Bengio 2010), or ``zeros`` (without hidden layers only, whose units
            would stay equal). Biases start at 0.

    Raises:
        ZooError: there is neither a hidden layer nor a direct connection, or hidden layers of zeros.
    """

    @checked("model")
    def __init__(
        self,
        dim: Positive,
        hidden: Sequence[Positive] = (500,),
        *,
        context: NotNegative = 0,
        activation: Activation = "relu",
        direct: bool = True,
        order: Order = "natural",
        initialisation: Initialisation = "orthogonal",
    ) -> None:
        super().__init__()
        if not hidden and not direct:
            raise ZooError("model.hidden=[] needs model.direct=true; without either, nothing is connected.")
        if hidden and initialisation == "zeros":
            raise ZooError(
                "model.initialisation=zeros would keep all hidden units equal; use orthogonal or uniform."
            )
        self.dim, self.order, self.activation = dim, order, activation
        widths = [dim, *hidden, dim] if hidden else []
        layers = nn.ModuleList(nn.Linear(below, above) for below, above in pairwise(widths))
        self.layers = cast("Sequence[nn.Linear]", layers)
        self.direct = nn.Linear(dim, dim, bias=not hidden) if direct else None
        sizes = [hidden[0], dim] if hidden and context else [dim] if context else []
        contexts = nn.ModuleList(nn.Linear(context, size, bias=False) for size in sizes)
        self.contexts = cast("Sequence[nn.Linear]", contexts)
        for linear in [*layers, *([self.direct] if self.direct is not None else [])]:
            _STARTS[initialisation](linear.weight)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)

    def masks(self, draw: int) -> Masks:
        """Return the masks of a draw, on the weights' device."""
        generator = torch.Generator().manual_seed(stream(draw) % 2**63)
        natural = torch.arange(self.dim)
        sequence = torch.randperm(self.dim, generator=generator) if self.order == "random" else natural
        place = torch.empty_like(sequence)
        place[sequence] = natural
        degrees = [place + 1]  # of the inputs; an output has one less
        for layer in self.layers[:-1]:
            lowest = min(int(degrees[-1].min()), self.dim - 1)
            degrees.append(torch.randint(lowest, self.dim, (layer.out_features,), generator=generator))
        layers = [above[:, None] >= below[None, :] for below, above in pairwise([*degrees, place])]
        direct = place[:, None] > place[None, :]
        device = next(self.parameters()).device
        return Masks(
            sequence.to(device), [mask.to(device) for mask in layers if self.layers], direct.to(device)
        )

    def forward(self, x: Tensor, masks: Masks, context: Tensor | None = None) -> Tensor:
        """Return outputs ``(B, D)`` of ``x`` ``(B, D)`` and ``context`` ``(B, K)`` under a draw of masks."""
        add_nfe()
        shifts = self._shifts(context)
        out = shifts[-1] if shifts else x.new_zeros(())
        if self.direct is not None:
            out = out + F.linear(x, self.direct.weight * masks.direct, self.direct.bias)
        state = x
        for index, (layer, mask) in enumerate(zip(self.layers, masks.layers, strict=True)):
            values = F.linear(state, layer.weight * mask, layer.bias)
            if index == len(self.layers) - 1:
                return out + values
            state = _ACTIVATIONS[self.activation](values + shifts[0] if index == 0 and shifts else values)
        return out

    def generate(
        self, step: Callable[[int, Tensor], Tensor], rows: int, masks: Masks, context: Tensor | None = None
    ) -> Tensor:
        """Compute x one dimension after another; return it, ``(rows, D)``.

        The first layer and the direct weights grow by one column a step, so that with one hidden layer all D
        steps together cost about two passes.

        Args:
            step: function from a dimension and its output ``(rows,)`` to its value ``(rows,)``.
            rows: batch size.
            masks: a draw.
            context: ``(rows, K)``, if the network has one.
        """
        add_nfe(self.dim)
        like = next(self.parameters())
        shifts = self._shifts(context)
        out = like.new_zeros(rows, self.dim)
        if self.direct is not None and self.direct.bias is not None:
            out = out + self.direct.bias
        if self.layers:
            out = out + self.layers[-1].bias
        if shifts:
            out = out + shifts[-1]
        weights = [layer.weight * mask for layer, mask in zip(self.layers, masks.layers, strict=True)]
        direct = None if self.direct is None else self.direct.weight * masks.direct
        activate = _ACTIVATIONS[self.activation]
        first = self.layers[0].bias.expand(rows, -1) if self.layers else out
        if self.layers and shifts:
            first = first + shifts[0]
        x = like.new_zeros(rows, self.dim)
        for d in masks.sequence.tolist():
            output = out[:, d]
            if self.layers:
                state = activate(first)
                for layer, weight in zip(self.layers[1:-1], weights[1:-1], strict=True):
                    state = activate(F.linear(state, weight, layer.bias))
                output = output + state @ weights[-1][d]
            value = step(d, output)
            x[:, d] = value
            if self.layers:
                first = first + value[:, None] * weights[0][:, d]
            if direct is not None:
                out = out + value[:, None] * direct[:, d]
        return x

    def _shifts(self, context: Tensor | None) -> list[Tensor]:
        """Return what the context adds to the first hidden layer, if there is one, and to the output."""
        return [] if context is None else [linear(context) for linear in self.contexts]
