"""MADE: a feed-forward network whose outputs see only the inputs before them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.networks.evaluations import tick


def spread_degrees(width: int, dim: int, lowest: int = 1) -> Tensor:
    """Sorted degrees ``(width,)`` in ``lowest .. dim-1``; the degree of a unit is how many inputs it may see.

    Wide enough a layer holds every degree. A narrower one leaves gaps, and a dependency that lies within a
    gap is lost; the degrees then cut the inputs into pieces of equal size, which loses the fewest.
    """
    lowest = min(lowest, dim - 1)  # one dimension has nothing before it
    choices = dim - lowest
    unit = torch.arange(width)
    if width >= choices:
        return lowest + unit * choices // width
    return lowest + torch.round((unit + 1) * (choices + 1) / (width + 1)).to(torch.int64) - 1


class MaskedLinear(nn.Linear):
    """y = (W * M) x + b with a fixed 0/1 mask M, ``(out, in)``.

    Weights start as He et al. (2015), uniform, with the fan-in that the mask leaves to each unit: otherwise
    the early units, which see little, would start near zero.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        # Not in the state dict: the mask follows from the constructor's arguments.
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)
        with torch.no_grad():
            self.weight.uniform_(-1, 1).mul_((6 / mask.sum(1, keepdim=True).clamp(min=1)).sqrt())
            self.bias.zero_()

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight * self.mask, self.bias)


class MADE(nn.Module):
    """Masked autoencoder for distribution estimation (Germain et al. 2015, arXiv:1502.03509).

    Output i is a function of x_1 .. x_{i-1} only:

        h_1 = relu((W_1 * M_1) x + b_1 + U c),  h_l = relu((W_l * M_l) h_{l-1} + b_l),
        out = (V * M_out) h_L + a,

    where a hidden unit of degree d is connected to the first d inputs and to units of degree at most d below
    it, and output i to the units of degree at most i-1. The output layer starts at zero.

    Degrees are sorted and spread evenly over 1 .. D-1, so every allowed dependency exists when each width is
    at least D-1; below that a share of about 1/width is lost (:meth:`coverage` gives the rest). With a
    context c there are units of degree 0 too, so that the first output sees it.

    Args:
        dim: number of inputs D.
        parameters: number of outputs P for each input.
        hidden: widths of the hidden layers.
        context: number of conditioning features K, seen by every output; 0 for none.
    """

    def __init__(
        self, dim: int, parameters: int = 2, hidden: Sequence[int] = (128, 128), context: int = 0
    ) -> None:
        super().__init__()
        if dim < 1 or parameters < 1 or not hidden or min(hidden) < 1 or context < 0:
            raise ValueError(
                "MADE needs dim, parameters and every hidden width at least 1; "
                f"got {dim}, {parameters} and {list(hidden)}."
            )
        self.dim, self.parameters_per_dim = dim, parameters
        degrees = [torch.arange(1, dim + 1)]  # an input of degree d is the d-th
        degrees += [spread_degrees(width, dim, lowest=0 if context else 1) for width in hidden]
        self.layers = nn.ModuleList(
            MaskedLinear(below[None, :] <= above[:, None]) for below, above in pairwise(degrees)
        )
        seen = torch.arange(dim).repeat_interleave(parameters)
        self.output = MaskedLinear(degrees[-1][None, :] <= seen[:, None])
        nn.init.zeros_(self.output.weight)
        self.context = nn.Linear(context, hidden[0], bias=False) if context else None
        # _ends[l][d]: how many units of layer l have degree at most d
        self._ends = [torch.searchsorted(d, torch.arange(dim), right=True).tolist() for d in degrees[1:]]

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Parameters ``(B, D, P)`` from ``x`` ``(B, D)`` and ``context`` ``(B, K)``."""
        tick()
        h = x
        for index, layer in enumerate(self.layers):
            h = layer(h)
            if index == 0 and self.context is not None:
                h = h + self.context(context)
            h = torch.relu(h)
        return self.output(h).unflatten(1, (self.dim, self.parameters_per_dim))

    def generate(
        self, rows: int, step: Callable[[int, Tensor], Tensor], context: Tensor | None = None
    ) -> Tensor:
        """Fill in x one dimension after another, ``(rows, D)``.

        Each hidden unit is computed once, as soon as the inputs that it sees are known; all D steps together
        cost about one pass through the network, where D passes would do the same. Units are sorted by degree,
        so what is known is a prefix of each layer and no mask is needed.

        Args:
            rows: batch size B.
            step: given the index i (from 0) and the parameters ``(P, B)`` of x_i, returns x_i ``(B,)``.
            context: ``(B, K)``, where the network has one.
        """
        like = self.output.weight
        x = _Prefix(self.dim, rows, like)
        states = [_Prefix(ends[-1], rows, like) for ends in self._ends]
        shift = self.context(context).T if self.context is not None else None
        for i in range(self.dim):
            tick()
            below = x.known
            for index, (layer, state, ends) in enumerate(zip(self.layers, states, self._ends, strict=True)):
                start, end = len(state.known), ends[i]
                if end > start:
                    pre = _affine(layer, start, end, below)
                    if index == 0 and shift is not None:
                        pre = pre + shift[start:end]
                    state.append(torch.relu(pre))
                below = state.known
            first = i * self.parameters_per_dim
            parameters = _affine(self.output, first, first + self.parameters_per_dim, below)
            x.append(step(i, parameters)[None])
        return x.known.T.contiguous()

    @torch.no_grad()
    def coverage(self) -> float:
        """The share of the allowed dependencies (output i on input j < i) that the masks leave."""
        if self.dim == 1:
            return 1.0
        reach = torch.eye(self.dim, device=self.output.mask.device)
        for layer in [*self.layers, self.output]:
            reach = ((layer.mask.float() @ reach) > 0).float()
        reach = reach[:: self.parameters_per_dim]
        return float(reach.sum() / math.comb(self.dim, 2))


class _Prefix:
    """Rows that become known in order, ``(known, B)``: feature-major, so the known part is contiguous."""

    def __init__(self, size: int, rows: int, like: Tensor) -> None:
        # Autograd needs the earlier states intact, so with gradients each step makes a new tensor.
        self._buffer = None if torch.is_grad_enabled() else like.new_empty(size, rows)
        self.known = like.new_empty(0, rows)

    def append(self, new: Tensor) -> None:
        if self._buffer is None:
            self.known = torch.cat([self.known, new])
            return
        start, end = len(self.known), len(self.known) + len(new)
        self._buffer[start:end] = new
        self.known = self._buffer[:end]


def _affine(layer: nn.Module, start: int, end: int, below: Tensor) -> Tensor:
    """Units ``start:end`` of a masked layer, ``(units, B)``, from all that they may see, ``(known, B)``."""
    assert isinstance(layer, MaskedLinear)
    return torch.addmm(layer.bias[start:end, None], layer.weight[start:end, : len(below)], below)
