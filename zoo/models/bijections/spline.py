"""Monotone rational-quadratic splines with linear tails (Durkan et al. 2019, arXiv:1906.04032)."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.checks import is_whole
from zoo.errors import ZooError
from zoo.models.bijections.base import Bijection
from zoo.models.core.functional import sum_event

SMALLEST = 1e-3  # least width and height of a bin, as a share of the interval, and least slope at a knot
# added to raw slopes, so that a raw 0 is a slope of 1 and a network of zeros gives the identity
RAW_SLOPE = math.log(math.expm1(1 - SMALLEST))


Bins = Annotated[int, Ge(2), Lt(1000)]  # the widths of 1000 bins could not all be at least SMALLEST


def check_spline(bins: int, bound: float) -> None:
    """Raise :class:`ZooError` if a spline cannot have this many bins on [-bound, bound]."""
    if not (is_whole(bins, 2) and bins < 1 / SMALLEST and 0 < bound < math.inf):
        raise ZooError(
            f"A spline needs 2 to {1 / SMALLEST - 1:.0f} bins and a finite bound above 0; got {bins} and "
            f"{bound}."
        )


def knots(raw: Tensor, bins: int, bound: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the knots of a spline on [-bound, bound] from unconstrained parameters.

    Args:
        raw: ``(..., 3 bins - 1)``: widths, heights (softmax), then slopes at the inner knots (softplus).
        bins: number of bins K.
        bound: B.

    Returns:
        x and y of the knots and the slopes there, each ``(..., K + 1)``, in at least float32. The outer knots
        are exactly (-B, -B) and (B, B), with slope 1, so that the identity continues the spline smoothly.
    """
    raw = raw.to(torch.promote_types(raw.dtype, torch.float32))
    widths, heights, slopes = raw.split((bins, bins, bins - 1), -1)
    slopes = SMALLEST + F.softplus(slopes + RAW_SLOPE)
    return _places(widths, bound), _places(heights, bound), F.pad(slopes, (1, 1), value=1.0)


def _places(raw: Tensor, bound: float) -> Tensor:
    parts = SMALLEST + (1 - SMALLEST * raw.shape[-1]) * raw.softmax(-1)
    inner = bound * (2 * parts[..., :-1].cumsum(-1) - 1)
    return F.pad(F.pad(inner, (1, 0), value=-bound), (0, 1), value=bound)


def rational_quadratic(
    x: Tensor, x_knots: Tensor, y_knots: Tensor, slopes: Tensor, inverse: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the value at ``x`` of the spline through the knots, or of its inverse, and its log-slope (nats).

    Eq. 4-8 and 25-29 of the paper. Outside the outer knots it is the identity, which is continuous if they
    lie on the diagonal. Every branch is computed at a point inside its bin, so that value and gradient are
    defined for every ``x``.

    Args:
        x: ``(...)``.
        x_knots, y_knots, slopes: ``(..., K + 1)``, increasing, increasing and positive.
        inverse: whether to evaluate the inverse of the spline.
    """
    places = y_knots if inverse else x_knots
    inside = (x >= places[..., 0]) & (x <= places[..., -1])
    point = torch.minimum(torch.maximum(x.to(places.dtype), places[..., 0]), places[..., -1])
    index = (point[..., None] >= places[..., 1:-1]).sum(-1, keepdim=True)

    def at(values: Tensor, step: int = 0) -> Tensor:
        return values.expand(*index.shape[:-1], -1).gather(-1, index + step).squeeze(-1)

    x0, y0, d0, d1 = at(x_knots), at(y_knots), at(slopes), at(slopes, 1)
    x1, y1 = at(x_knots, 1), at(y_knots, 1)
    width, height = x1 - x0, y1 - y0
    s = height / width
    if inverse:
        t = _solve((point - y0) / height, (y1 - point) / height, s, d0, d1)
    else:
        t = ((point - x0) / width).clamp(0, 1)
    u = t * (1 - t)
    below = s + (d0 + d1 - 2 * s) * u
    log_slope = 2 * s.log() + (d1 * t.square() + 2 * s * u + d0 * (1 - t).square()).log() - 2 * below.log()
    if inverse:
        y, log_slope = x0 + width * t, -log_slope
    else:
        y = y0 + height * (s * t.square() + d0 * u) / below
    return torch.where(inside, y.to(x.dtype), x), torch.where(inside, log_slope, 0)


def _solve(low: Tensor, high: Tensor, s: Tensor, d0: Tensor, d1: Tensor) -> Tensor:
    """Return the position in its bin where the spline has risen by the share ``low`` = 1 - ``high``.

    The root of the paper's eq. 29, rewritten as sums and products of what is not negative: its discriminant
    is 4 s^2 low high + g^2 with g = d0 high - d1 low, and either sign of g has a form that adds |g| to it.
    So nothing cancels, and the error is what the rounding of the spline's value makes of it: the middle of a
    flat bin between steep knots has a slope near 4 s^2 / (d0 + d1), by which that rounding is divided.
    """
    g = d0 * high - d1 * low
    falls = g < 0
    q = (4 * s.square() * low * high + g.square()).sqrt() + torch.where(falls, -g, g)
    rest = 2 * s * torch.where(falls, high, low)
    return torch.where(falls, q, rest) / (q + rest)


class ElementwiseSpline(Bijection):
    """A learned spline for each index of dimension 1, the same for all examples and pixels.

    Args:
        size: size of dimension 1.
        bins: number of bins of a spline.
        bound: bound B; a spline is the identity outside [-B, B].

    Raises:
        ZooError: the number of bins is below two or too large, or the bound is not above zero.
    """

    def __init__(self, size: int, bins: int = 8, bound: float = 3.0) -> None:
        super().__init__()
        check_spline(bins, bound)
        self.bins, self.bound = bins, float(bound)
        self.raw = nn.Parameter(torch.zeros(size, 3 * bins - 1))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, log_slope = rational_quadratic(x, *self._knots(x))
        return z, sum_event(log_slope)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_slope = rational_quadratic(z, *self._knots(z), inverse=True)
        return x, sum_event(log_slope)

    def _knots(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        raw = self.raw.view(-1, *[1] * (x.ndim - 2), self.raw.shape[-1])
        return knots(raw, self.bins, self.bound)
