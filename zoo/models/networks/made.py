"""MADE: a feed-forward network in which each output depends only on the inputs before it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from zoo.checks import NotNegative, Positive, PositiveFloat, Share, checked
from zoo.errors import ZooError
from zoo.models.core.functional import may_use_numpy, multiplies_features_first, soft_clamp
from zoo.models.core.memo import Memo
from zoo.models.core.nfe import add_nfe
from zoo.models.core.rng import stream
from zoo.models.networks.made_sweep import ONE_THREAD, ArrayStep, Sweep
from zoo.models.networks.masked import (
    ACTIVATIONS,
    Activation,
    Degrees,
    MaskedLinear,
    Start,
    cyclic_degrees,
    drawn_degrees,
    spread_degrees,
)

_KEEP = 2**20  # largest number of values in buffers that are kept for the next sweep


class Stage(NamedTuple):
    """The role of a masked layer: the layer whose output is added to it, and whether it is activated."""

    skip: int | None
    active: bool


class MADE(nn.Module):
    """Masked autoencoder for distribution estimation (Germain et al. 2015, arXiv:1502.03509).

    Output i is a function of x_1 .. x_{i-1} only:

        h_1 = relu((W_1 * M_1) x + b_1 + U c),  h_l = relu((W_l * M_l) h_{l-1} + b_l),
        out = (V * M_out) h_L + a,

    where a hidden unit of degree d is connected to the first d inputs and to units of degree at most d below
    it, and output i to the units of degree at most i-1. With ``residual`` the hidden layers after the first
    are residual blocks (ResMADE: Nash and Durkan 2019, arXiv:1904.05626),

        r_1 = (W_1 * M_1) x + b_1 + U c,  r_l = r_{l-1} + B_l relu(A_l relu(r_{l-1})),  out = V r_L + a

    with masked affine maps A_l and B_l. Units of the same number have the same degree, so sums keep the
    order.

    Degrees are sorted and by default spread evenly over 1 .. D-1, so every allowed dependency exists if each
    width is at least D-1; otherwise a share of about 1/width is lost (see :meth:`coverage`), with a warning
    if it is more than 1 %. With a context c there are units of degree 0 too, so that the first output depends
    on it.

    Args:
        dim: number of inputs D.
        parameters: number of outputs P for each input.
        hidden: widths of the hidden layers; equal, and at least two, for ``residual``.
        context: number of conditioning features K, which every output depends on; 0 for none.
        activation: ``relu`` or ``tanh``.
        residual: whether residual blocks follow the first layer.
        dropout: share of the units inside a residual block that is dropped in training.
        degrees: degrees of the hidden units: ``spread`` evenly, ``cyclic`` (1, 2, .., D-1 and again from 1)
            or ``random``.
        draw: seed of random degrees. Residual layers share one draw.
        start: ``he``: hidden layers start as :class:`~zoo.models.networks.masked.MaskedLinear` says, and the
            output layer at zero. ``normal``: all weights start as N(0, 1 / (n + 1)) for a layer of n inputs,
            masked ones included, as in the programs of Papamakarios et al. (2017). Biases start at zero.
        input_bound: the network sees its inputs soft-clamped to (-bound, bound), so that far away from the
            data its outputs stay as they are at the bound, where ReLUs would go on linearly. None: no clamp.

    Raises:
        ZooError: there is no hidden layer, or the widths do not allow ``residual``.
    """

    layers: Sequence[MaskedLinear]

    @checked("model")
    def __init__(
        self,
        dim: Positive,
        parameters: Positive = 2,
        hidden: Sequence[Positive] = (128, 128),
        *,
        context: NotNegative = 0,
        activation: Activation = "relu",
        residual: bool = False,
        dropout: Share = 0.0,
        degrees: Degrees = "spread",
        draw: NotNegative = 0,
        start: Start = "he",
        input_bound: PositiveFloat | None = None,
    ) -> None:
        super().__init__()
        if not hidden:
            raise ZooError("model.hidden needs at least 1 hidden layer of MADE; got none.")
        if residual and (len(hidden) < 2 or len(set(hidden)) > 1):
            raise ZooError(f"Residual blocks need two or more equal hidden widths; got {list(hidden)}.")
        if dropout and not residual:
            raise ZooError("MADE has dropout inside residual blocks only; set residual=true or dropout=0.")
        self.dim, self.parameters_per_dim = dim, parameters
        self.activation, self.residual, self.input_bound = activation, residual, input_bound
        if residual:
            blocks = len(hidden) - 1
            hidden = [hidden[0]] * (1 + 2 * blocks)
            self.stages = [Stage(skip=None, active=True)]
            for block in range(blocks):
                self.stages += [
                    Stage(skip=None, active=True),
                    Stage(skip=2 * block, active=block < blocks - 1),
                ]
        else:
            self.stages = [Stage(skip=None, active=True)] * len(hidden)
        self.dropout = nn.Dropout(dropout) if dropout else None
        inputs = torch.arange(1, dim + 1, device="cpu")  # the d-th input has degree d
        lowest = 0 if context else 1
        self.degrees: list[Tensor] = []
        for index, width in enumerate(hidden):
            if degrees == "spread":
                of_layer = spread_degrees(width, dim, lowest)
            elif degrees == "cyclic":
                of_layer = cyclic_degrees(width, dim, lowest)
            elif residual and index:
                of_layer = self.degrees[0]
            else:
                of_layer = drawn_degrees(width, dim, lowest, seed=stream(draw, index))
                lowest = int(of_layer[0])
            self.degrees.append(of_layer)
        layers = [
            MaskedLinear(below[None, :] <= above[:, None])
            for below, above in pairwise([inputs, *self.degrees])
        ]
        self.layers = cast("Sequence[MaskedLinear]", nn.ModuleList(layers))
        seen = torch.arange(dim, device="cpu")
        depends = self.degrees[-1][None, :] <= seen.repeat_interleave(parameters)[:, None]
        self.output = MaskedLinear(depends, each=parameters)
        self.context = nn.Linear(context, hidden[0], bias=False) if context else None
        if start == "he":
            nn.init.zeros_(self.output.weight)
        else:
            for layer in [*layers, self.output, *([self.context] if self.context else [])]:
                nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.in_features + 1))
        # ends[l][d]: number of units in layer l with degree at most d
        self.ends = [torch.searchsorted(d, seen, right=True).tolist() for d in self.degrees]
        # multiplications of the largest product in a step of generate(), for one row
        self._largest_step = parameters * hidden[-1]
        for layer, ends in zip(layers, self.ends, strict=True):
            units = max(end - start for start, end in pairwise([0, *ends]))
            self._largest_step = max(self._largest_step, units * layer.in_features)
        self._factors: Memo[list[tuple[Tensor, Tensor]]] = Memo()
        self._sweep: Sweep | None = None
        if min(hidden) < dim - 1 and self.coverage() < 0.99:
            warnings.warn(
                f"MADE with hidden layers {list(hidden)} for {dim} dimensions keeps {self.coverage():.0%} of "
                "the dependencies; make the layers wider.",
                stacklevel=2,
            )

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return parameters ``(B, D, P)`` from ``x`` ``(B, D)`` and ``context`` ``(B, K)``.

        On a CPU without gradients examples are columns of the states within, whose products take less time,
        and each of the P kinds of parameters is one block of memory.
        """
        add_nfe()
        state, shift = self._seen(x), self.context(context) if self.context is not None else None
        layers = [*self.layers, self.output]
        if torch.is_grad_enabled() or not multiplies_features_first(x):
            out = self._propagate(state, shift, layers)
            return out.view(len(x), self.dim, self.parameters_per_dim)
        weights = [weight for layer in layers for weight in (layer.weight, layer.bias)]
        factors = self._factors.of(self, weights, lambda: [layer.factors() for layer in layers])
        products = [
            partial(layer.on_columns, weight=weight, bias=bias)
            for layer, (weight, bias) in zip(layers, factors, strict=True)
        ]
        out = self._propagate(state.t(), shift if shift is None else shift.t(), products)
        return out.view(self.parameters_per_dim, self.dim, len(x)).permute(2, 1, 0)

    def _propagate(
        self, state: Tensor, shift: Tensor | None, layers: Sequence[Callable[[Tensor], Tensor]]
    ) -> Tensor:
        """Return the last layer's output from the inputs.

        Args:
            state: the inputs, as rows or as columns.
            shift: what a context adds to the first layer.
            layers: the hidden layers and the output layer, for inputs of this form.
        """
        # in place, unless gradients or residual blocks need the values before the activation
        activate = ACTIVATIONS[self.activation][0 if self.residual or torch.is_grad_enabled() else 1]
        streams: list[Tensor] = []
        for layer, stage in zip(layers, self.stages, strict=False):
            if stage.skip is not None and self.dropout is not None:
                state = self.dropout(state)
            stream = layer(state)
            if shift is not None and not streams:
                stream = stream + shift
            if stage.skip is not None:
                stream = stream + streams[stage.skip]
            streams.append(stream)
            state = activate(stream) if stage.active else stream
        return layers[-1](state)

    def train(self, mode: bool = True) -> MADE:
        self._factors.forget()
        return super().train(mode)

    def _seen(self, x: Tensor) -> Tensor:
        """Return inputs as the network sees them."""
        return x if self.input_bound is None else soft_clamp(x, self.input_bound)

    def generate(
        self,
        rows: int,
        step: Callable[[int, Tensor], Tensor],
        context: Tensor | None = None,
        array_step: ArrayStep | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Compute x one dimension after another; return x ``(rows, D)`` and parameters ``(rows, D, P)``.

        Each hidden unit is computed once, as soon as its inputs are known, so all D steps together cost about
        one pass through the network instead of D passes. Units are sorted by degree, so the known units are a
        prefix of each layer and no mask is needed. Dropout is not applied.

        Args:
            rows: batch size B.
            step: function from the index i (from 0) and the parameters ``(B, P)`` of x_i to x_i ``(B,)``. It
                must not keep the parameters, whose memory is reused.
            context: context ``(B, K)``, if the network has one.
            array_step: function that is called instead if :meth:`generates_in_numpy`. It is given i, the
                parameters as an array ``(P, B)`` and an array ``(B,)``, into which it writes x_i.
        """
        add_nfe(self.dim)
        shift = self.context(context).T if self.context is not None else None
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._generate_recorded(rows, step, shift)
        sweep, self._sweep = self._sweep, None  # removed, so that no other thread writes into it
        in_numpy = self.generates_in_numpy(rows)
        if sweep is None or not sweep.fits(self, rows, in_numpy):
            sweep = Sweep(self, rows, in_numpy)
        generated = sweep.run(step, shift, array_step if in_numpy else None)
        if sweep.size <= _KEEP:
            self._sweep = sweep
        return generated

    def generates_in_numpy(self, rows: int) -> bool:
        """Return whether :meth:`generate` computes in NumPy: small products take less time than calls."""
        weight = self.output.weight
        return (
            rows * self._largest_step < ONE_THREAD
            and weight.dtype in (torch.float32, torch.float64)
            and may_use_numpy(weight.device)
            and not torch.is_grad_enabled()
        )

    def _generate_recorded(
        self, rows: int, step: Callable[[int, Tensor], Tensor], shift: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Run :meth:`generate` with gradients: autograd needs the earlier states, steps make new tensors."""
        activate = ACTIVATIONS[self.activation][0]
        like = self.output.weight
        counts = [[end - start for start, end in pairwise([0, *ends])] for ends in self.ends]
        # each weight is split once, since the gradient of a slice is as large as the weight
        parts: list[list[Any]] = [
            [value.split(count) for value in (layer.weight, layer.bias)]
            for layer, count in zip(self.layers, counts, strict=True)
        ]
        output = [value.split(self.parameters_per_dim) for value in (self.output.weight, self.output.bias)]
        columns: list[Tensor] = []
        parameters: list[Tensor] = []
        known = [like.new_empty(0, rows) for _ in range(1 + len(self.stages))]
        for i in range(self.dim):
            streams: list[Tensor] = []
            for index, (stage, (weight, bias), ends) in enumerate(
                zip(self.stages, parts, self.ends, strict=True)
            ):
                if not counts[index][i]:
                    streams.append(like.new_empty(0, rows))
                    continue
                stream = torch.addmm(bias[i][:, None], weight[i][:, : len(known[index])], known[index])
                if index == 0 and shift is not None:
                    stream = stream + shift[ends[i] - counts[0][i] : ends[i]]
                if stage.skip is not None:
                    stream = stream + streams[stage.skip]
                streams.append(stream)
                known[index + 1] = torch.cat([known[index + 1], activate(stream) if stage.active else stream])
            weight, bias = output
            parameters.append(torch.addmm(bias[i][:, None], weight[i][:, : len(known[-1])], known[-1]).T)
            columns.append(step(i, parameters[-1]))
            known[0] = torch.cat([known[0], self._seen(columns[-1])[None]])
        return torch.stack(columns, 1), torch.stack(parameters, 1)

    def coverage(self) -> float:
        """Return the share of the allowed dependencies (output i on input j < i) that the masks keep."""
        if self.dim == 1:
            return 1.0
        # the least degree of a layer's units that depend on input j; higher degrees depend on j too
        least = torch.arange(1, self.dim + 1, device="cpu")
        for degrees in self.degrees:
            place = torch.searchsorted(degrees, least)
            least = torch.cat([degrees, degrees.new_tensor([self.dim])])[place]
        return int((self.dim - least).sum()) / math.comb(self.dim, 2)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_sweep": None}  # views of this module's weights, which are useless in a copy
