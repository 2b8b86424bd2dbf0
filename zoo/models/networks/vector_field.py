"""Time-dependent vector fields v(t, x), which a continuous flow integrates.

Every field is a function of a time ``()`` or ``(B,)`` in [0, 1], a batch and, if it was built for one, a
context ``(B, context)``. It returns a velocity with the batch's shape, in units of the state per unit of
time. All activations are smooth, so that an adaptive solver may take large steps and the divergence is
continuous. No layer mixes rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.checks import Positive, settings
from zoo.errors import ZooError
from zoo.models.core.functional import patch_side
from zoo.models.core.nfe import add_nfe

Activation = Literal["tanh", "softplus"]


@runtime_checkable
class HasExactDivergence(Protocol):
    """A field that computes its velocity and tr(dv/dx) together, without a vector-Jacobian product."""

    @property
    def has_exact_divergence(self) -> bool:
        """Whether :meth:`divergence` is available."""

    def divergence(self, t: Tensor, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the velocity, in the shape of ``x``, and tr(dv/dx), ``(B,)``, at one time ``()``."""


@settings
class PatchSettings:
    """Size of a :class:`PatchField`.

    Attributes:
        hidden: channels of the hidden layers.
        patch: largest number of pixels by which an axis is folded; 1 for plain convolutions.
        activation: ``tanh`` or ``softplus``.
    """

    hidden: Sequence[Positive] = (64, 64)
    patch: Positive = 4
    activation: Activation = "tanh"


class _Smooth(NamedTuple):
    """A smooth activation and its derivative, both as functions of the input."""

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]


_ACTIVATIONS = {
    "tanh": _Smooth(torch.tanh, lambda x: 1 - torch.tanh(x).square()),
    "softplus": _Smooth(F.softplus, torch.sigmoid),
}


def _activation(name: str) -> _Smooth:
    if name not in _ACTIVATIONS:
        raise ZooError(f"model.activation of a field must be {' or '.join(_ACTIVATIONS)}; got '{name}'.")
    return _ACTIVATIONS[name]


class DenseField(nn.Module):
    """A field v(t, x) on vectors: gated layers (W x + b) sigmoid(g t + c) + h t with activations between.

    This is the "concatsquash" layer of FFJORD (Grathwohl et al. 2019): time gates and shifts every unit, at
    the cost of three vectors a layer.

    Args:
        dim: number of dimensions D.
        hidden: widths of the hidden layers.
        context: length of the context, which shifts every unit, as the time does; 0 for none.
        activation: ``tanh`` or ``softplus``.
    """

    layers: Sequence[_Gated]

    def __init__(
        self,
        dim: int,
        hidden: Sequence[int] = (64, 64),
        *,
        context: int = 0,
        activation: Activation = "tanh",
    ) -> None:
        super().__init__()
        self.activation = _activation(activation)
        widths = itertools.pairwise([dim, *hidden, dim])
        layers = nn.ModuleList(_Gated(nn.Linear(a, b), b, context) for a, b in widths)
        self.layers = cast("Sequence[_Gated]", layers)

    def forward(self, t: Tensor, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the velocity ``(B, D)`` at times ``()`` or ``(B,)`` and points ``(B, D)``."""
        add_nfe()
        return _gated_stack(self.layers, self.activation, t, x, context)

    @property
    def has_exact_divergence(self) -> bool:
        """Whether :meth:`divergence` is available: with two hidden layers."""
        return len(self.layers) == 3

    def divergence(self, t: Tensor, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the velocity ``(B, D)`` and tr(dv/dx) ``(B,)`` at one time ``()`` for all rows.

        With gates s and slopes d of the activations, dv/dx = S3 W3 D2 S2 W2 D1 S1 W1 has the trace q2^T M q1,
        where q = d * s for each row and M = W2 * (W1 S3 W3)^T elementwise. The exact trace thus costs one
        more H x H product and no vector-Jacobian product.
        """
        add_nfe()
        time = t.reshape(1, 1).to(x.dtype)
        first, second, third = self.layers
        act, slope = self.activation
        one = first(time, x, context)
        two = second(time, act(one), context)
        gates = [torch.sigmoid(layer.gate(time)) for layer in self.layers]
        slope_one, slope_two = slope(one) * gates[0], slope(two) * gates[1]
        w1, w2, w3 = (layer.layer.weight for layer in self.layers)
        mixed = w2 * (w1 @ (gates[2].T * w3)).T
        return third(time, act(two), context), (slope_two * (slope_one @ mixed.T)).sum(1)


class SeluField(nn.Module):
    """A field v(t, x) on vectors: affine maps of (t, x) with SELU between them (Tong et al. 2024).

    Args:
        dim: number of dimensions D.
        hidden: widths of the hidden layers.
        context: length of the context, which is appended to the input; 0 for none.
    """

    def __init__(self, dim: int, hidden: Sequence[int] = (64, 64, 64), *, context: int = 0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for below, above in itertools.pairwise([1 + dim + context, *hidden, dim]):
            layers += [nn.Linear(below, above), nn.SELU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, t: Tensor, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the velocity ``(B, D)`` at times ``()`` or ``(B,)`` and points ``(B, D)``."""
        add_nfe()
        time = t.reshape(-1, 1).to(x.dtype).expand(len(x), 1)
        return self.layers(torch.cat([time, x] if context is None else [time, x, context], 1))


class PatchField(nn.Module):
    """A field v(t, x) on images for the ODE of a likelihood: gated 3x3 convolutions over patches of pixels.

    Patches become channels first; :func:`~zoo.models.core.functional.patch_side` gives the size of a patch. A
    solver evaluates the field and its divergence dozens of times, and convolutions over a coarse grid have
    the largest receptive field for their cost. There is no normalisation layer, which would make the field
    stiff on a constant image.

    Args:
        shape: ``(C, H, W)``.
        settings: hidden layers, patch and activation.
        context: length of the context, which shifts every channel, as the time does; 0 for none.
    """

    layers: Sequence[_Gated]

    def __init__(
        self, shape: tuple[int, ...], settings: PatchSettings = PatchSettings(), *, context: int = 0
    ) -> None:
        super().__init__()
        self.activation = _activation(settings.activation)
        channels, height, width = shape
        self.fold = (patch_side(height, settings.patch), patch_side(width, settings.patch))
        folded = channels * self.fold[0] * self.fold[1]
        widths = itertools.pairwise([folded, *settings.hidden, folded])
        layers = nn.ModuleList(_Gated(nn.Conv2d(a, b, 3, padding=1), b, context) for a, b in widths)
        self.layers = cast("Sequence[_Gated]", layers)

    def forward(self, t: Tensor, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the velocity ``(B, C, H, W)`` at times ``()`` or ``(B,)`` and images ``(B, C, H, W)``."""
        add_nfe()
        (n, c, h, w), (i, j) = x.shape, self.fold
        patches = x.view(n, c, h // i, i, w // j, j).permute(0, 1, 3, 5, 2, 4)
        folded = patches.reshape(n, c * i * j, h // i, w // j)
        out = _gated_stack(self.layers, self.activation, t, folded, context)
        return out.view(n, c, i, j, h // i, w // j).permute(0, 1, 4, 2, 5, 3).reshape(x.shape)


class LearnedTime(nn.Module):
    """A field over the times [0, T] with a learned T, as a field over [0, 1]: T v(T t, x).

    Args:
        field: field v(t, x).
        end: initial value of T, above 0.
    """

    def __init__(self, field: nn.Module, end: float = 1.0) -> None:
        super().__init__()
        self.field = field
        self.root = nn.Parameter(torch.tensor(end).sqrt())  # the root of T, which so stays above 0

    def forward(self, t: Tensor, x: Tensor, *context: Tensor) -> Tensor:
        end = self.root.square()
        return end * self.field(end * t, x, *context)

    @property
    def has_exact_divergence(self) -> bool:
        """Whether the inner field has an exact divergence."""
        return isinstance(self.field, HasExactDivergence) and self.field.has_exact_divergence

    def divergence(self, t: Tensor, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the velocity and tr(dv/dx) of the field over [0, 1]."""
        end = self.root.square()
        field = cast("HasExactDivergence", self.field)  # `has_exact_divergence` says whether it is one
        velocity, trace = field.divergence(end * t, x, context)
        return end * velocity, end * trace


class _Gated(nn.Module):
    """A gated layer, layer(x) * sigmoid(g t + c) + h t + W context, with g, c and h for each channel."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, channels: int, context: int) -> None:
        super().__init__()
        self.layer = layer
        self.gate, self.shift = nn.Linear(1, channels), nn.Linear(1, channels, bias=False)
        self.context = nn.Linear(context, channels, bias=False) if context else None

    def forward(self, time: Tensor, x: Tensor, context: Tensor | None) -> Tensor:
        places = [1] * (x.ndim - 2)
        gate, shift = torch.sigmoid(self.gate(time)), self.shift(time)
        if self.context is not None and context is not None:
            shift = shift + self.context(context)
        return torch.addcmul(
            shift.view(*shift.shape, *places), self.layer(x), gate.view(*gate.shape, *places)
        )


def _gated_stack(
    layers: Sequence[_Gated], activation: _Smooth, t: Tensor, x: Tensor, context: Tensor | None
) -> Tensor:
    time = t.reshape(-1, 1).to(x.dtype)
    for index, layer in enumerate(layers):
        x = layer(time, activation.value(x) if index else x, context)
    return x
