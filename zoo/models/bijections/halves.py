"""A chain of couplings that pass on the halves of an event without joining them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import cast

import torch
from torch import Tensor
from torch.nn.modules.module import _has_any_global_hook

from zoo.models.bijections import dense_couplings
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Bijection, Chain
from zoo.models.bijections.coupling import Coupling, Halves
from zoo.models.networks.mlp import is_untouched

Parts = tuple[Tensor, Tensor]
# The maps of a whole event, by a coupling: a run does not call them, since it passes on the halves alone.
WHOLE = ("forward", "inverse", "invert")


class HalvesChain(Chain):
    """A :class:`Chain` that divides an event once for a series of couplings of its halves.

    The map and the state dict are those of a :class:`Chain`. The layers of nested chains count as its own. A
    layer that is not a coupling of halves gets the whole event, and so does a coupling with hooks or a map of
    its own. While hooks listen to a nested chain or to all modules, every layer is called as in a
    :class:`Chain`.

    Args:
        layers: in the order data to latent. All couplings have the same halves; either one may be changed.
    """

    def __init__(self, layers: Iterable[Bijection]) -> None:
        super().__init__(layers)
        # in a tuple, so that the modules of this chain, and its state dict, have each layer once
        self._in_runs = (Chain(_in_runs(_flattened(self), _may_be_short, ShortRun)),)
        self._nested = tuple(_nested_chains(self))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        compute = super().forward if self._listened_to() else self._in_runs[0].forward
        return compute(x, context)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        compute = super().inverse if self._listened_to() else self._in_runs[0].inverse
        return compute(z, context)

    def invert(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        compute = super().invert if self._listened_to() else self._in_runs[0].invert
        return compute(z, context)

    def _listened_to(self) -> bool:
        """Return whether hooks of all modules, or a nested chain that was changed, need every call."""
        return _has_any_global_hook() or not all(is_untouched(chain, Chain) for chain in self._nested)


class ShortRun(Bijection):
    """Couplings of the same halves and activation normalisations one after another, as one layer.

    Where :func:`~zoo.models.bijections.dense_couplings.as_layers` allows, they are computed by the formulas
    of that module, in fewer operations.

    Args:
        layers: in the order data to latent.
    """

    def __init__(self, layers: Sequence[Bijection]) -> None:
        super().__init__()
        self.series = tuple(layers)
        self.plain = Chain(_in_runs(layers, _divides_in_halves, CouplingRun))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        layers = dense_couplings.as_layers(self.series, x, context)
        if layers is None:
            return self.plain.forward(x, context)
        return dense_couplings.transform(layers, x, self.plain.forward)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.plain.inverse(z, context)

    def invert(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        layers = None
        if not torch.is_grad_enabled():
            layers = dense_couplings.as_layers(self.series, z, context)
        return self.plain.invert(z, context) if layers is None else dense_couplings.invert(layers, z)


class CouplingRun(Bijection):
    """Couplings of the same halves one after another, as one layer.

    Args:
        couplings: in the order data to latent, at least one.
    """

    def __init__(self, couplings: Sequence[Bijection]) -> None:
        super().__init__()
        self.couplings = cast("tuple[Coupling, ...]", tuple(couplings))
        self.one_by_one = Chain(couplings)

    def _touched(self) -> bool:
        """Return whether a coupling has hooks or a map of its own, so that it must be called."""
        return not all(is_untouched(coupling, type(coupling)) for coupling in self.couplings)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self._touched():
            return self.one_by_one.forward(x, context)
        parts, log_det = self._split(x), None
        for coupling in self.couplings:
            halves, of_layer = coupling.forward_parts(*_ordered(coupling, parts), context)
            parts, log_det = _ordered(coupling, halves), of_layer if log_det is None else log_det + of_layer
        return self._join(parts), cast("Tensor", log_det)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self._touched():
            return self.one_by_one.inverse(z, context)
        parts, log_det = self._split(z), None
        for coupling in reversed(self.couplings):
            halves, of_layer = coupling.inverse_parts(*_ordered(coupling, parts), context)
            parts, log_det = _ordered(coupling, halves), of_layer if log_det is None else log_det + of_layer
        return self._join(parts), cast("Tensor", log_det)

    def invert(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        if self._touched():
            return self.one_by_one.invert(z, context)
        parts = self._split(z)
        for coupling in reversed(self.couplings):
            parts = _ordered(coupling, coupling.invert_parts(*_ordered(coupling, parts), context))
        return self._join(parts)

    def _split(self, x: Tensor) -> Parts:
        """Divide an event into its first and its second half."""
        return _ordered(self.couplings[0], self.couplings[0].split(x))

    def _join(self, parts: Parts) -> Tensor:
        first = self.couplings[0]
        return first.partition.join(*_ordered(first, parts))


def _ordered(coupling: Coupling, parts: Parts) -> Parts:
    """Return (first, second) as (given, changed) for a coupling of halves, and the other way round."""
    return parts[::-1] if cast("Halves", coupling.partition).flip else parts


def _flattened(chain: Chain) -> Iterator[Bijection]:
    """Yield the layers of a chain, and the layers of nested chains in their place."""
    for layer in chain.layers:
        if type(layer) is Chain:
            yield from _flattened(layer)
        else:
            yield layer


def _nested_chains(chain: Chain) -> Iterator[Chain]:
    """Yield the chains whose layers :func:`_flattened` puts in their place."""
    for layer in chain.layers:
        if type(layer) is Chain:
            yield layer
            yield from _nested_chains(layer)


def _divides_in_halves(layer: Bijection) -> bool:
    """Return whether a layer is a coupling of halves that maps an event as :class:`Coupling` does."""
    return (
        isinstance(layer, Coupling)
        and isinstance(layer.partition, Halves)
        and all(getattr(type(layer), name) is getattr(Coupling, name) for name in WHOLE)
    )


def _may_be_short(layer: Bijection) -> bool:
    return _divides_in_halves(layer) or isinstance(layer, ActNorm)


def _in_runs(
    layers: Iterable[Bijection],
    belongs: Callable[[Bijection], bool],
    run: Callable[[Sequence[Bijection]], Bijection],
) -> Iterator[Bijection]:
    """Yield layers in their order, two or more that belong to a run and follow each other as one layer."""
    for inside, group in groupby(layers, belongs):
        series = list(group)
        if inside and len(series) > 1:
            yield run(series)
        else:
            yield from series
