"""Coupling layers: one part of the event is changed, conditioned on the other part."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.checks import PositiveFloat
from zoo.errors import InvalidData, ZooError
from zoo.models.bijections.base import Bijection
from zoo.models.core.functional import concatenate, divide, for_products, soft_clamp, sum_event

PartitionKind = Literal["half", "channel", "checkerboard"]
Bound = PositiveFloat | Literal["sigmoid"] | None


class Partition:
    """A division of an event ``(C, ...)`` into a conditioning part and a changed part.

    Attributes:
        given: size of the conditioning part along dimension 1.
        changed: size of the changed part along dimension 1.
    """

    given: int
    changed: int

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Divide ``(B, C, ...)`` into the conditioning part and the changed part."""
        raise NotImplementedError

    def join(self, given: Tensor, changed: Tensor) -> Tensor:
        """Undo :meth:`split`."""
        raise NotImplementedError

    def hide(self, values: Tensor) -> Tensor:
        """Set ``values`` to zero outside of the changed part."""
        return values


class Halves(Partition):
    """The halves of dimension 1: the first (rounded up) conditions; with ``flip`` it is changed."""

    def __init__(self, size: int, flip: bool = False) -> None:
        self.sizes, self.flip = ((size + 1) // 2, size // 2), flip
        self.given, self.changed = reversed(self.sizes) if flip else self.sizes

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = divide(x, self.sizes)
        return (second, first) if self.flip else (first, second)

    def join(self, given: Tensor, changed: Tensor) -> Tensor:
        return concatenate((changed, given) if self.flip else (given, changed))


class Checkerboard(nn.Module, Partition):
    """A checkerboard: pixels of even row + column condition; with ``flip`` they are changed.

    Both parts keep the height and width of the image for convolutions; the conditioning part has zeros
    elsewhere.
    """

    mask: Tensor

    def __init__(self, shape: tuple[int, int, int], flip: bool = False) -> None:
        super().__init__()
        self.given = self.changed = shape[0]
        rows, columns = torch.arange(shape[1])[:, None], torch.arange(shape[2])
        self.register_buffer("mask", (rows + columns) % 2 == int(flip), persistent=False)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.masked_fill(~self.mask, 0), x

    def join(self, given: Tensor, changed: Tensor) -> Tensor:
        return torch.where(self.mask, given, changed)

    def hide(self, values: Tensor) -> Tensor:
        return values.masked_fill(self.mask, 0)


def make_partition(kind: PartitionKind, shape: tuple[int, ...], flip: bool = False) -> Partition:
    """Return a partition of events of this shape; ``flip`` swaps its two parts.

    Args:
        kind: ``half`` (vectors), ``channel`` or ``checkerboard`` (images).
        shape: shape of the event.
        flip: whether the two parts are swapped.

    Raises:
        InvalidData: the kind does not match the shape, or a part would be empty.
    """
    size = shape[0] if shape else 0
    if size > 1 and (kind, len(shape)) in (("half", 1), ("channel", 3)):
        return Halves(size, flip)
    if kind == "checkerboard" and len(shape) == 3 and shape[1] * shape[2] > 1:
        return Checkerboard((shape[0], shape[1], shape[2]), flip)
    raise InvalidData(f"A {kind} mask does not divide an event of shape {shape}.")


def partition_kind(shape: tuple[int, ...]) -> PartitionKind:
    """Return the kind of partition: half for vectors, channel for images, checkerboard for one channel."""
    if len(shape) == 1:
        return "half"
    return "channel" if shape[0] > 1 else "checkerboard"


class Coupling(Bijection):
    """A coupling layer: a is kept, b becomes f(b; network(a)) (Dinh et al. 2015, section 3.2).

    f is an elementwise bijection. The input of the conditioner is a, its output the parameters for b. A
    subclass implements :meth:`apply_to` and :meth:`undo_on`.

    Args:
        partition: division of the event into a and b.
        network: network from a (and the context, if there is one) to the parameters of f along dimension 1.
        kept: bijection of a, applied after the network has used it (Durkan et al. 2019, appendix B.1).
    """

    def __init__(self, partition: Partition, network: nn.Module, kept: Bijection | None = None) -> None:
        super().__init__()
        self.partition, self.network, self.kept = partition, network, kept

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        parts, log_det = self.forward_parts(*self.split(x), context)
        return self.partition.join(*parts), log_det

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        parts, log_det = self.inverse_parts(*self.split(z), context)
        return self.partition.join(*parts), log_det

    def invert(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self.partition.join(*self.invert_parts(*self.split(z), context))

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Divide an event into the conditioning part and the changed part."""
        return self.partition.split(x)

    def forward_parts(
        self, given: Tensor, changed: Tensor, context: Tensor | None = None
    ) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Apply :meth:`forward` to an event in two parts; return the new parts and the log-determinant."""
        changed, log_slope = self.apply_to(changed, self._conditioned(given, context))
        log_det = sum_event(self.partition.hide(log_slope))
        if self.kept is not None:
            given, of_kept = self.kept(given, context)
            log_det = log_det + of_kept
        return (given, changed), log_det

    def inverse_parts(
        self, given: Tensor, changed: Tensor, context: Tensor | None = None
    ) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Apply :meth:`inverse` to an event in two parts; return the new parts and the log-determinant."""
        of_kept = None
        if self.kept is not None:
            given, of_kept = self.kept.inverse(given, context)
        changed, log_slope = self.undo_on(changed, self._conditioned(given, context))
        log_det = sum_event(self.partition.hide(log_slope))
        return (given, changed), log_det if of_kept is None else log_det + of_kept

    def invert_parts(
        self, given: Tensor, changed: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Apply :meth:`invert` to an event in two parts; return the new parts."""
        if self.kept is not None:
            given = self.kept.invert(given, context)
        return given, self.solve(changed, self._conditioned(given, context))

    def _conditioned(self, given: Tensor, context: Tensor | None) -> Tensor:
        out = self.network(given) if context is None else self.network(given, context)
        out = out.to(given.dtype)  # under autocast the network returns half precision
        return self.partition.hide(out)

    def apply_to(self, b: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return f(b) and ln f'(b), both of b's shape."""
        raise NotImplementedError

    def undo_on(self, b: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return the inverse of f at b and the logarithm of its slope there, both of b's shape."""
        raise NotImplementedError

    def solve(self, b: Tensor, parameters: Tensor) -> Tensor:
        """Return only the inverse of f at b."""
        return self.undo_on(b, parameters)[0]


class AdditiveCoupling(Coupling):
    """The additive coupling f(b) = b + t, which preserves volume (Dinh et al. 2015, NICE, eq. 9)."""

    def apply_to(self, b: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return b + parameters, torch.zeros_like(b)

    def undo_on(self, b: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return b - parameters, torch.zeros_like(b)


class AffineCoupling(Coupling):
    """The affine coupling f(b) = b exp(s) + t with (raw s, t) = network(a) (Dinh et al. 2017, eq. 7-8).

    Args:
        partition: partition of the event into a and b.
        network: network from a to raw s and t, stacked along dimension 1, raw s first.
        log_scale: function from raw s to s, see :func:`bounded`; the default is a soft clamp at 3.
        shift_first: f(b) = (b + t) exp(s), the form of Glow's code.
        kept: bijection of a.
    """

    def __init__(
        self,
        partition: Partition,
        network: nn.Module,
        log_scale: Callable[[Tensor], Tensor] | None = None,
        shift_first: bool = False,
        kept: Bijection | None = None,
    ) -> None:
        super().__init__(partition, network, kept)
        self.log_scale = bounded(3.0) if log_scale is None else log_scale
        self.shift_first = shift_first

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return super().split(for_products(x))  # the memory format of a dense network's output

    def apply_to(self, b: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        s, shift = self._parts(parameters)
        return (b + shift) * s.exp() if self.shift_first else torch.addcmul(shift, b, s.exp()), s

    def undo_on(self, b: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        s, shift = self._parts(parameters)
        falls = -s
        return b * falls.exp() - shift if self.shift_first else (b - shift) * falls.exp(), falls

    def _parts(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        changed = self.partition.changed
        raw, shift = divide(parameters, (changed, changed))
        return self.log_scale(raw), shift


def bounded(bound: Bound) -> Callable[[Tensor], Tensor]:
    """Return the function that maps raw network outputs to log-scales.

    A number is the bound of a soft clamp, bound tanh(raw / bound), so that one layer stretches by at most
    e^bound. ``sigmoid`` is ln sigmoid(raw + 2), the scale of Glow's code, which never exceeds 1. None: no
    change.

    Raises:
        ZooError: the bound is not a finite number above zero, ``sigmoid`` or None.
    """
    if bound is None:
        return _identity
    if bound == "sigmoid":
        return _sigmoid
    if isinstance(bound, str) or not 0 < bound < math.inf:
        raise ZooError(f"model.bound must be a finite number above 0, sigmoid or null; got '{bound}'.")
    return partial(soft_clamp, bound=float(bound))


def _identity(raw: Tensor) -> Tensor:
    return raw


def _sigmoid(raw: Tensor) -> Tensor:
    return F.logsigmoid(raw + 2)
