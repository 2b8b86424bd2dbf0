"""The base class of invertible layers, which return a value and a log-determinant in both directions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, cast, overload

import torch
from torch import Tensor, nn


class Bijection(nn.Module):
    """An invertible map between data (``x``) and latent (``z``).

    ``forward`` normalises (data to latent), ``inverse`` generates (latent to data). Both return the
    log-determinant *of the map that they apply*, summed over the event, shape ``(B,)``, in nats; so the two
    cancel. A layer with a conditioner accepts a ``context`` ``(B, K)`` to condition on.

    Attributes:
        reversible: whether ``inverse`` undoes ``forward`` in training mode too, so that activations may be
            recomputed (:class:`~zoo.models.bijections.reversible.Reversible`).
        needs_training_set: whether evaluation uses statistics of the whole training set, set by
            :meth:`collect`.
    """

    reversible: ClassVar[bool] = True
    needs_training_set: bool = False

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data to latent: return ``z`` and log|det dz/dx| ``(B,)``."""
        raise NotImplementedError

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map latent to data: return ``x`` and log|det dx/dz| ``(B,)``."""
        raise NotImplementedError

    def invert(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Map latent to data without the log-determinant, which is much cheaper in some layers."""
        return self.inverse(z, context)[0]

    @torch.no_grad()
    def collect(self, batches: list[Tensor], contexts: list[Tensor | None]) -> list[Tensor]:
        """Set the layer's statistics from the whole training set, given as batches, and return its outputs.

        Layers without statistics only transform the data; chains call each of their layers in turn.
        """
        return [self(x, context)[0] for x, context in zip(batches, contexts, strict=True)]


class Rearrangement(Bijection):
    """Base class of layers that only move values, so the log-determinant is zero; a chain does not add it."""

    def move(self, x: Tensor) -> Tensor:
        """Map data to latent."""
        raise NotImplementedError

    def move_back(self, z: Tensor) -> Tensor:
        """Map latent to data."""
        raise NotImplementedError

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.move(x), zeros(x)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.move_back(z), zeros(z)

    def invert(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self.move_back(z)


class Chain(Bijection):
    """A chain of layers, in the order data to latent.

    The event's shape may change from layer to layer (squeeze, flatten, multi-scale), but not its number of
    dimensions.
    """

    layers: Sequence[Bijection]

    def __init__(self, layers: Iterable[Bijection]) -> None:
        super().__init__()
        self.layers = cast("Sequence[Bijection]", nn.ModuleList(layers))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = None
        for layer in self.layers:
            if isinstance(layer, Rearrangement):
                x = layer.move(x)
                continue
            x, log_det = layer(x, context)
            total = log_det if total is None else total + log_det
        return x, zeros(x) if total is None else total

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = None
        for layer in reversed(self.layers):
            if isinstance(layer, Rearrangement):
                z = layer.move_back(z)
                continue
            z, log_det = layer.inverse(z, context)
            total = log_det if total is None else total + log_det
        return z, zeros(z) if total is None else total

    def invert(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        for layer in reversed(self.layers):
            z = layer.invert(z, context)
        return z

    def collect(self, batches: list[Tensor], contexts: list[Tensor | None]) -> list[Tensor]:
        for layer in self.layers:
            batches = layer.collect(batches, contexts)
        return batches


class Inverse(Bijection):
    """A bijection with its directions exchanged: IAF is the inverse of MAF."""

    def __init__(self, bijection: Bijection) -> None:
        super().__init__()
        self.bijection = bijection

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection.inverse(x, context)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection(z, context)


class Reshape(Rearrangement):
    """A change of the event's shape."""

    def __init__(self, shape_in: tuple[int, ...], shape_out: tuple[int, ...]) -> None:
        super().__init__()
        self.shape_in, self.shape_out = tuple(shape_in), tuple(shape_out)

    def move(self, x: Tensor) -> Tensor:
        return x.reshape(-1, *self.shape_out)

    def move_back(self, z: Tensor) -> Tensor:
        return z.reshape(-1, *self.shape_in)


def zeros(x: Tensor) -> Tensor:
    """Return a log-determinant of 0 for each row, in at least float32, so that sums keep their precision."""
    return torch.zeros(x.shape[0], device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))


@overload
def usable(x: Tensor) -> Tensor: ...
@overload
def usable(x: Tensor | None) -> Tensor | None: ...
def usable(x: Tensor | None) -> Tensor | None:
    """Return a tensor that autograd may save: a copy if it was made in inference mode."""
    return x.clone() if x is not None and x.is_inference() else x
