"""Linear layers whose units depend on a prefix of the inputs, and the degrees that say which."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.core.functional import computes_by_hand

Activation = Literal["relu", "tanh"]
Degrees = Literal["spread", "cyclic", "random"]
Start = Literal["he", "normal"]
# the first unit of a piece, the first unit after it, and the number of inputs that the piece depends on
Piece = tuple[int, int, int]
# each as a function that returns a new tensor, and as one that changes its argument
ACTIVATIONS = {"relu": (torch.relu, torch.relu_), "tanh": (torch.tanh, torch.tanh_)}
LARGE = 2**24  # a masked product of at least so many multiplications takes less time in pieces


def spread_degrees(width: int, dim: int, lowest: int = 1) -> Tensor:
    """Return sorted degrees ``(width,)`` in ``lowest .. dim-1``: the number of inputs a unit may depend on.

    A layer that is wide enough has every degree. A narrower layer has gaps, and a dependency within a gap is
    lost; the degrees then divide the inputs into parts of equal size, which loses the fewest.
    """
    lowest = min(lowest, dim - 1)  # one dimension has no dimensions before it
    choices = dim - lowest
    unit = torch.arange(width, device="cpu")  # on the CPU even if the model is built on the meta device
    if width >= choices:
        return lowest + unit * choices // width
    return lowest + torch.round((unit + 1) * (choices + 1) / (width + 1)).to(torch.int64) - 1


def cyclic_degrees(width: int, dim: int, lowest: int = 1) -> Tensor:
    """Return sorted degrees ``(width,)``; one unit after another has the next degree, cyclically.

    They count from ``lowest`` to ``dim-1``, and begin again where there are more units. So it is in the
    programs of Papamakarios et al. (2017) and in most libraries. Unless all degrees occur equally
    often, the lower ones occur once more. A layer with fewer units than degrees sees the first inputs only.

    >>> cyclic_degrees(7, 6).tolist(), spread_degrees(7, 6).tolist()
    ([1, 1, 2, 2, 3, 4, 5], [1, 1, 2, 3, 3, 4, 5])
    """
    lowest = min(lowest, dim - 1)
    return (lowest + torch.arange(width, device="cpu") % (dim - lowest)).sort().values


def drawn_degrees(width: int, dim: int, lowest: int, seed: int) -> Tensor:
    """Draw sorted degrees ``(width,)``, uniform in ``lowest .. dim-1`` (Germain et al. 2015, section 4.2).

    Sorting only renumbers the units of a layer. The draw is a function of the seed, so a rebuilt model has
    the masks of its training.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(min(lowest, dim - 1), dim, (width,), generator=generator, device="cpu")
    return drawn.sort().values


class MaskedLinear(nn.Linear):
    """A masked linear layer y = (W * M) x + b with a fixed 0/1 mask M, ``(out, in)``.

    Weights are initialised as in He et al. (2015), uniform, with each unit's fan-in under the mask; otherwise
    the early units, which have few inputs, would start near zero.

    Units sorted by degree depend on a prefix of the inputs. So on a CPU a large product, and its gradients,
    are computed in four pieces, each with a quarter of the units and only the inputs that these depend on:
    5/8 of the arithmetic.

    Args:
        mask: the mask M.
        each: number P of outputs for each dimension; those of a dimension are neighbours. :meth:`on_columns`
            orders them otherwise: the first of every dimension, then the second of every dimension, ..., so
            that each kind of output is one block of memory.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, each: int = 1) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.each = each
        # Not in the state dict: the mask follows from the constructor's arguments.
        self.register_buffer("mask", mask.to(self.weight), persistent=False)
        self._pieces = _pieces(mask, 4)
        self._column_pieces = _pieces(mask[::each], 4)
        with torch.no_grad():
            self.weight.uniform_(-1, 1).mul_((6 / self.mask.sum(1, keepdim=True).clamp(min=1)).sqrt())
            self.bias.zero_()

    def forward(self, input: Tensor) -> Tensor:
        if not (self.in_pieces(len(input)) and computes_by_hand(input)):
            return F.linear(input, self.weight * self.mask, self.bias)
        return _InPieces.apply(input, self.weight, self.bias, self.mask, self._pieces)

    def on_columns(self, columns: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return the layer's outputs as columns, ``(out, B)``, from inputs as columns, ``(in, B)``.

        Args:
            columns: the inputs.
            weight, bias: of :meth:`factors`.
        """
        if not self.in_pieces(columns.shape[1]):
            return torch.addmm(bias, weight, columns)
        weight, bias = weight.unflatten(0, (self.each, -1)), bias.unflatten(0, (self.each, -1))
        pieces = []
        for start, end, given in self._column_pieces:
            rows, shift = weight[:, start:end, :given].flatten(0, 1), bias[:, start:end].flatten(0, 1)
            piece = torch.addmm(shift, rows, columns[:given])
            pieces.append(piece.view(self.each, end - start, -1))
        return torch.cat(pieces, 1).flatten(0, 1)

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return the masked weight W * M and the bias as a column, ``(out, 1)``, in the order of columns."""
        weight, bias = self.weight * self.mask, self.bias.unsqueeze(1)
        if self.each == 1:
            return weight, bias
        weight, bias = (value.unflatten(0, (-1, self.each)).transpose(0, 1) for value in (weight, bias))
        return weight.flatten(0, 1), bias.flatten(0, 1)

    def in_pieces(self, rows: int) -> bool:
        """Return whether a product with so many examples takes less time in pieces."""
        return rows * self.in_features * self.out_features >= LARGE


class _InPieces(torch.autograd.Function):
    """A large masked product (W * M) x + b as one node of the autograd graph, in pieces of the units.

    The units of piece k depend on all inputs up to n_(k-1), and on those in I_k = (n_(k-1), n_k] by the
    mask. Let W_k be the rows of W of piece k, D_k = (W_k * M_k) in the columns I_k, and e_k the gradient of
    a loss with respect to the outputs of the piece. Then the outputs and the gradients are

        y_k = W_k x up to n_(k-1) + D_k x in I_k + b_k,
        dW_k = e_k^T x up to n_k, times M_k in I_k, and 0 after n_k,
        dx in I_k = e_k D_k + sum over l > k of e_l W_l in I_k,   db = sum of e over the examples.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor, pieces: list[Piece]
    ) -> Tensor:
        out = x.new_empty(len(x), len(weight))
        diagonal = []
        before = 0
        for start, end, given in pieces:
            part = weight[start:end, before:given] * mask[start:end, before:given]
            piece = out[:, start:end]
            torch.addmm(bias[start:end], x[:, before:given], part.t(), out=piece)
            if before:
                torch.addmm(piece, x[:, :before], weight[start:end, :before].t(), out=piece)
            diagonal.append(part)
            before = given
        ctx.pieces = pieces
        ctx.save_for_backward(x, weight, mask, *diagonal)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (of_out,), needed = grads, ctx.needs_input_grad
        x, weight, mask, *diagonal = ctx.saved_tensors
        of_bias = of_out.sum(0) if needed[2] else None
        if torch.is_grad_enabled():  # this pass will be differentiated: formulas in x and W, without pieces
            of_x = of_out @ (weight * mask) if needed[0] else None
            return of_x, (of_out.t() @ x) * mask if needed[1] else None, of_bias, None, None
        of_x = torch.empty_like(x) if needed[0] else None
        of_weight = torch.empty_like(weight) if needed[1] else None
        before = 0
        for (start, end, given), part in zip(ctx.pieces, diagonal, strict=True):
            of_piece = of_out[:, start:end]
            if of_weight is not None:
                torch.mm(of_piece.t(), x[:, :given], out=of_weight[start:end, :given])
                of_weight[start:end, before:given] *= mask[start:end, before:given]
                of_weight[start:end, given:] = 0
            if of_x is not None:
                columns = of_x[:, before:given]
                torch.mm(of_piece, part, out=columns)
                if end < len(weight):
                    torch.addmm(columns, of_out[:, end:], weight[end:, before:given], out=columns)
            before = given
        if of_x is not None:
            of_x[:, before:] = 0
        return of_x, of_weight, of_bias, None, None


def _pieces(mask: Tensor, count: int) -> list[Piece]:
    """Return slices of the outputs of a mask, with the number of leading inputs that they depend on.

    There is one piece if the outputs do not depend on more and more of the first inputs.

    >>> lower = torch.ones(4, 4).tril()
    >>> _pieces(lower, 2), _pieces(lower.flip(0), 2), _pieces(torch.eye(4), 2)
    ([(0, 2, 2), (2, 4, 4)], [(0, 4, 4)], [(0, 4, 4)])
    """
    inputs = torch.arange(mask.shape[1], device=mask.device)
    reach = mask.bool().sum(1)
    if (reach.diff() < 0).any() or not torch.equal(mask.bool(), inputs < reach[:, None]):
        return [(0, *mask.shape)]
    ends = [round(len(mask) * piece / count) for piece in range(count + 1)]
    return [(start, end, int(reach[end - 1])) for start, end in pairwise(ends) if end > start]
