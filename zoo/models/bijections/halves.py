"""A chain of couplings that pass on the halves of an event without joining them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from torch import Tensor

from zoo.models.bijections.base import Bijection, Chain, zeros
from zoo.models.bijections.coupling import Coupling, Halves

Parts = tuple[Tensor, Tensor]


class HalvesChain(Chain):
    """A :class:`Chain` that divides an event once for a series of couplings of its halves.

    The map and the state dict are those of a :class:`Chain`. The layers of nested chains count as its own. A
    layer that is not a coupling of halves gets the whole event.

    Args:
        layers: in the order data to latent. All couplings have the same halves; either one may be changed.
    """

    def __init__(self, layers: Iterable[Bijection]) -> None:
        super().__init__(layers)
        self._steps = list(_flattened(self))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, log_det = _run(
            self._steps,
            x,
            lambda coupling, parts: coupling.forward_parts(*parts, context),
            lambda layer, x: layer(x, context),
        )
        return z, zeros(x) if log_det is None else log_det

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_det = _run(
            self._steps[::-1],
            z,
            lambda coupling, parts: coupling.inverse_parts(*parts, context),
            lambda layer, z: layer.inverse(z, context),
        )
        return x, zeros(z) if log_det is None else log_det

    def invert(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return _run(
            self._steps[::-1],
            z,
            lambda coupling, parts: (coupling.invert_parts(*parts, context), None),
            lambda layer, z: (layer.invert(z, context), None),
        )[0]


def _flattened(chain: Chain) -> Iterator[Bijection]:
    """Yield the layers of a chain, and the layers of nested chains in their place."""
    for layer in chain.layers:
        if type(layer) is Chain:
            yield from _flattened(layer)
        else:
            yield layer


def _run(
    steps: list[Bijection],
    x: Tensor,
    of_parts: Callable[[Coupling, Parts], tuple[Parts, Tensor | None]],
    of_event: Callable[[Bijection, Tensor], tuple[Tensor, Tensor | None]],
) -> tuple[Tensor, Tensor | None]:
    """Apply layers one after another; return the new event and the sum of the log-determinants, if any.

    Args:
        steps: the layers, in the order in which they are applied.
        x: the event.
        of_parts: applies a coupling to (given, changed); returns the new parts and a log-determinant or None.
        of_event: applies any other layer to the event; returns the new event and a log-determinant or None.
    """
    total: Tensor | None = None
    halves: Halves | None = None  # how the event is divided into ``parts``; None: it is not, and is ``x``
    parts = (x, x)
    for step in steps:
        if isinstance(step, Coupling) and isinstance(step.partition, Halves):
            if halves is None:
                parts = step.split(x)
            elif halves.flip != step.partition.flip:
                parts = parts[1], parts[0]
            halves = step.partition
            parts, log_det = of_parts(step, parts)
        else:
            if halves is not None:
                x, halves = halves.join(*parts), None
            x, log_det = of_event(step, x)
        total = log_det if total is None else total if log_det is None else total + log_det
    return x if halves is None else halves.join(*parts), total
