"""Networks whose Lipschitz constant is bounded by spectral normalisation."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.core.nfe import add_nfe
from zoo.models.networks.spectral_norm import Spectral, SpectralNorm

Activation = Literal["elu", "lipswish", "sincos"]

FAR = 1e4  # its sigmoid is exactly 1, in float64 too
SLOWEST = 1e-3  # smallest frequency of a wave: almost a straight line, for data of ordinary scale


class Pointwise(nn.Module):
    """Base class of 1-Lipschitz activations with their slopes.

    Attributes:
        copies: number of output channels for each input channel.
    """

    copies = 1

    def linearise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return values and slopes, ``(B, copies C)`` each, of ``(B, C)``."""
        raise NotImplementedError


class LipSwish(Pointwise):
    """LipSwish, x sigmoid(softplus(b) x) / 1.1 with a learned b from 0.5 (Chen et al. 2019, section 3.3).

    The slope of x sigmoid(b x) is at most 1.09984 for every b, so LipSwish is 1-Lipschitz. Unlike ELU's, its
    second derivative is continuous and does not vanish where the slope is near 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        gate = (F.softplus(self.scale) * x).sigmoid_()
        return (x * gate).div_(1.1)

    def linearise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scaled = F.softplus(self.scale) * x
        gate = torch.sigmoid(scaled)
        bend = scaled.clamp(-FAR, FAR) * (1 - gate)  # infinity times 0 would be NaN
        return (x * gate).div_(1.1), torch.addcmul(gate, gate, bend).div_(1.1)


class ELU(Pointwise):
    """ELU: x for positive x, exp(x) - 1 otherwise."""

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(x)

    def linearise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return F.elu(x), x.clamp(max=0).exp()


class SinCos(Pointwise):
    """The map of x to the pair sin(a x) / a, (cos(a x) - 1) / a: ``(B, C, ...)`` to ``(B, 2 C, ...)``.

    a = softplus(b) with a learned b, starting at 0.5. The two slopes, cos(a x) and -sin(a x), have norm one
    at every x. So the map is 1-Lipschitz and, unlike a scalar activation, reaches this bound everywhere, so
    that a network can use its full Lipschitz constant (for the same purpose Perugachi-Diaz et al. 2021,
    arXiv:2102.02694, use pairs of LipSwish, whose slopes have norms of 0.64 to 1).
    """

    copies = 2

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        rate = self._rate()
        return torch.cat([torch.sin(rate * x), -2 * torch.sin(rate * x / 2).square()], 1) / rate

    def linearise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        rate = self._rate()
        sin, cos = torch.sin(rate * x), torch.cos(rate * x)
        half = -2 * torch.sin(rate * x / 2).square()  # cos - 1 without cancellation
        return torch.cat([sin, half], 1) / rate, torch.cat([cos, -sin], 1)

    def _rate(self) -> Tensor:
        return F.softplus(self.scale).clamp(min=SLOWEST)


_ACTIVATIONS: dict[str, type[Pointwise]] = {"elu": ELU, "lipswish": LipSwish, "sincos": SinCos}


class LipschitzNetwork(nn.Module):
    """A network of spectrally normalised layers with 1-Lipschitz activations between them.

    Layers are dense on vectors; on images they are convolutions 3x3, 1x1, .., 3x3 (Behrmann et al. 2019,
    section 5). A context shifts the output of the first layer, which does not change the Lipschitz constant
    in x.

    Args:
        shape: event shape of input and output.
        hidden: widths of the hidden layers.
        spectral: normalisation of the layers.
        activation: ``elu``, ``lipswish`` or ``sincos``; each has a continuous derivative, which the gradient
            of a density needs.
        activate_input: whether there is an activation before the first layer too.
        context: length of the context; 0 for none.

    Attributes:
        lipschitz: bound on the Lipschitz constant in x: ``coefficient`` to the power of the number of layers.
    """

    layers: Sequence[SpectralNorm]

    def __init__(
        self,
        shape: tuple[int, ...],
        hidden: Sequence[int],
        spectral: Spectral = Spectral(),
        *,
        activation: Activation = "elu",
        activate_input: bool = False,
        context: int = 0,
    ) -> None:
        super().__init__()
        widths = [shape[0], *hidden, shape[0]]
        layers: list[SpectralNorm] = []
        activations: list[nn.Module] = []
        for index, (a, b) in enumerate(itertools.pairwise(widths)):
            if index or activate_input:
                activations.append(_ACTIVATIONS[activation]())
                a *= _ACTIVATIONS[activation].copies
            else:
                activations.append(nn.Identity())
            kernel = 3 if index in (0, len(widths) - 2) else 1
            layer = nn.Linear(a, b) if len(shape) == 1 else nn.Conv2d(a, b, kernel, padding=kernel // 2)
            # the norm of a 1x1 convolution is the norm of its matrix, at any size
            inside = (a, *(shape[1:] if kernel > 1 else [1] * (len(shape) - 1)))
            layers.append(SpectralNorm(layer, inside, **dataclasses.asdict(spectral)))
        self.layers = cast("Sequence[SpectralNorm]", nn.ModuleList(layers))
        self.activations = nn.ModuleList(activations)
        self.context = nn.Linear(context, widths[1], bias=False) if context else None
        self.lipschitz = spectral.coefficient ** len(layers)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the output ``(B, *shape)`` of inputs ``(B, *shape)`` and contexts ``(B, context)``."""
        add_nfe()
        for index, (activation, layer) in enumerate(zip(self.activations, self.layers, strict=True)):
            x = layer(activation(x))
            if index == 0 and self.context is not None:
                shift = self.context(context)
                x = x + shift.view(*shift.shape, *[1] * (x.ndim - 2))
        return x

    def with_products(
        self, x: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Callable[[Tensor, bool], Tensor]]:
        """Return the output ``(B, D)`` of vectors, and the function v -> J^T v of ``(B, D)``.

        The function multiplies with the weights and the slopes of the activations, which takes less time than
        to differentiate the output. Its second argument says whether the product has a gradient in x and in
        the weights.
        """
        add_nfe()
        factors: list[tuple[Tensor, Tensor | None, int]] = []  # weight, slopes before it, copies of a channel
        for index, (activation, layer) in enumerate(zip(self.activations, self.layers, strict=True)):
            weight, slope, copies = layer.weight(), None, 1
            if isinstance(activation, Pointwise):
                x, slope = activation.linearise(x)
                copies = activation.copies
            factors.append((weight, slope, copies))
            x = F.linear(x, weight, layer.layer.bias)
            if index == 0 and self.context is not None:
                x = x + self.context(context)
        constants = [(w.detach(), None if s is None else s.detach(), copies) for w, s, copies in factors]

        def transposed(v: Tensor, differentiable: bool) -> Tensor:
            for weight, slope, copies in reversed(factors if differentiable else constants):
                v = v @ weight
                if slope is not None:
                    v = v * slope
                if copies > 1:
                    v = v.unflatten(1, (copies, -1)).sum(1)
            return v

        return x, transposed

    def linearise(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the output ``(B, D)`` of vectors ``(B, D)`` and its Jacobian in x, ``(B, D, D)``.

        The layers transform D directions together with x. This takes fewer operations than products with the
        Jacobian, above all if the gradient of the Jacobian is needed too.
        """
        add_nfe()
        directions: Tensor | None = None  # (B, D, width): derivative of the units in x_j; None: the identity
        for index, (activation, layer) in enumerate(zip(self.activations, self.layers, strict=True)):
            weight = layer.weight()
            turned = weight.T
            if isinstance(activation, Pointwise):
                x, slope = activation.linearise(x)
                if directions is None:
                    turned = slope[..., None] * turned
                    if activation.copies > 1:
                        turned = turned.unflatten(1, (activation.copies, -1)).sum(1)
                elif activation.copies > 1:
                    directions = directions.repeat(1, 1, activation.copies) * slope[:, None]
                elif (
                    torch.is_grad_enabled() or directions.stride(0) == 0
                ):  # with stride 0 all rows are the same memory
                    directions = directions * slope[:, None]
                else:
                    directions *= slope[:, None]
            directions = turned.expand(len(x), -1, -1) if directions is None else directions @ turned
            x = F.linear(x, weight, layer.layer.bias)
            if index == 0 and self.context is not None:
                x = x + self.context(context)
        assert directions is not None
        return x, directions.transpose(1, 2)
