"""The log-densities of the toys of :mod:`zoo.data.toys`.

Each function takes points ``(N, 2)``, float64, and returns log p in nats, ``(N,)``. Mixtures of Gaussians,
the checkerboard, circles, rings and MAF's figure have closed forms. Curves with Gaussian noise are integrated
over the curve's parameter by the midpoint rule, whose nodes are closer than the noise is wide; the pinwheel,
a bijection of the plane except far from its arms, is inverted.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

NODES = 256  # of an integral over a curve: at most 0.4 deviations of the noise apart
ROWS = 2000  # points at once
LOG_2PI = math.log(2 * math.pi)


def gaussians(x: Tensor, centres: Tensor, deviation: float) -> Tensor:
    """Return the log-density of an equal mixture of round Gaussians about ``centres`` ``(..., K, 2)``."""
    x = x.double()
    squared = (x[:, None] - centres).square().sum(-1) / deviation**2
    return (-0.5 * squared).logsumexp(1) - LOG_2PI - 2 * math.log(deviation) - math.log(centres.shape[-2])


def moons(x: Tensor) -> Tensor:
    """Two half circles of radius 2 with noise of deviation 0.2."""
    angle = _middles(0, math.pi)
    upper = torch.stack([angle.cos(), angle.sin()], 1)
    lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], 1)
    return gaussians(x, 2 * torch.cat([upper, lower]) + torch.tensor([-1.0, -0.2], dtype=x.dtype), 0.2)


def eight_gaussians(x: Tensor) -> Tensor:
    """Eight Gaussians on a circle."""
    angle = torch.arange(8, dtype=x.dtype) * (math.pi / 4)
    return gaussians(x, 4 / 1.414 * torch.stack([angle.cos(), angle.sin()], 1), 0.5 / 1.414)


def checkerboard(x: Tensor) -> Tensor:
    """Eight cells of side 2, of which a point on the edge, up to rounding, is a part."""
    edge = 1e-5
    x = x / 2
    column = x[:, 0].floor().clamp(-2, 1)
    inside = (x[:, 0].abs() <= 2 + edge) & _in_a_cell(x[:, 1], column, edge)
    for side in (-edge, edge):  # a point at the border of two columns may belong to either
        other = (x[:, 0] + side).floor().clamp(-2, 1)
        inside |= (x[:, 0].abs() <= 2 + edge) & _in_a_cell(x[:, 1], other, edge)
    return torch.where(inside, -math.log(32), -math.inf).to(x.dtype)


def _in_a_cell(height: Tensor, column: Tensor, edge: float) -> Tensor:
    low = column % 2
    lower = [(height >= low + shift - edge) & (height <= low + shift + 1 + edge) for shift in (0, -2)]
    return lower[0] | lower[1]


def circles(x: Tensor) -> Tensor:
    """Two circles."""
    return _rings(x, [3.0, 1.5], 0.24)


def rings(x: Tensor) -> Tensor:
    """Four rings."""
    return _rings(x, [0.75, 1.5, 2.25, 3.0], 0.08)


def _rings(x: Tensor, radii: list[float], deviation: float) -> Tensor:
    """Circles of equal mass with Gaussian noise: the integral over the angle is a Bessel function I0."""
    r, variance = x.norm(dim=1)[:, None], deviation**2
    radius = torch.tensor(radii, dtype=x.dtype)
    bessel = torch.special.i0e(r * radius / variance).log()
    parts = bessel - (r - radius).square() / (2 * variance)
    return parts.logsumexp(1) - LOG_2PI - math.log(variance) - math.log(len(radii))


def two_spirals(x: Tensor) -> Tensor:
    """Two arms of a spiral; noise is uniform on a square of side 1/6 plus Gaussian of deviation 0.1."""
    turn = 540 * 2 * math.pi / 360
    u = _middles(0, 1, 2 * NODES)
    t = u * turn  # sqrt(U) for a uniform U has density 2u
    start = torch.stack([-t.cos() * t, t.sin() * t], 1) / 3
    side, deviation, total = 0.5 / 3, 0.1, torch.zeros(len(x), dtype=x.dtype)
    for sign in (1.0, -1.0):
        offset = sign * x[:, None] - start
        low, high = (torch.special.ndtr((offset - s) / deviation) for s in (side, 0.0))
        total = total + (((high - low) / side).prod(-1) * 2 * u).mean(1) / 2
    return total.log()


def swissroll(x: Tensor) -> Tensor:
    """A planar Swiss roll with noise of deviation 0.2."""
    t = _middles(1.5 * math.pi, 4.5 * math.pi)
    return gaussians(x, torch.stack([t * t.cos(), t * t.sin()], 1) / 5, 0.2)


def maf_figure1(x: Tensor) -> Tensor:
    """x_2 ~ N(0, 4) and x_1 ~ N(x_2² / 4, 1)."""
    first, second = x[:, 0] - x[:, 1].square() / 4, x[:, 1] / 2
    return -0.5 * (first.square() + second.square()) - LOG_2PI - math.log(2)


def pinwheel(x: Tensor) -> Tensor:
    """Five arms: r ~ N(1, 0.09) and t ~ N(0, 0.01), turned by an angle that grows with r, and doubled.

    The turn keeps the norm. So the points (r, t) that give x are on a circle, at the angles where
    g(a) = a + e^r / 4 + 2 pi k / 5 - arg x is a multiple of 2 pi; the turn's Jacobian is
    g'(a) = 1 - t e^r / 4.
    """
    x = x / 2
    norm, goal = x.norm(dim=1), torch.atan2(x[:, 1], x[:, 0])
    goals = goal[:, None] - 2 * math.pi / 5 * torch.arange(5, dtype=x.dtype)

    def miss(angle: Tensor, size: Tensor, wanted: Tensor) -> Tensor:
        return ((angle + 0.25 * (size * angle.cos()).exp() - wanted) / 2).sin()

    edges = torch.linspace(-math.pi, math.pi, NODES + 1, dtype=x.dtype)
    signs = miss(edges, norm[:, None, None], goals[..., None]).sign()
    point, arm, cell = (signs[..., :-1] * signs[..., 1:] <= 0).nonzero(as_tuple=True)
    size, wanted, low, high = norm[point], goals[point, arm], edges[cell], edges[cell + 1]
    start = signs[point, arm, cell]
    for _ in range(45):
        middle = (low + high) / 2
        same = miss(middle, size, wanted).sign() == start
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    r, t = size * low.cos(), size * low.sin()
    jacobian = (1 - 0.25 * t * r.exp()).abs().clamp(min=1e-12)
    part = -0.5 * (((r - 1) / 0.3).square() + (t / 0.1).square()) - LOG_2PI - math.log(0.03) - jacobian.log()
    total = torch.zeros(len(x), dtype=x.dtype).index_add_(0, point, part.exp())
    return total.log() - math.log(5) - math.log(4)


def _middles(low: float, high: float, count: int = NODES) -> Tensor:
    """Return the middles of ``count`` equal parts of an interval, float64."""
    return low + (high - low) * (torch.arange(count, dtype=torch.float64) + 0.5) / count


DENSITIES: dict[str, Callable[[Tensor], Tensor]] = {
    "moons": moons,
    "8gaussians": eight_gaussians,
    "checkerboard": checkerboard,
    "circles": circles,
    "rings": rings,
    "pinwheel": pinwheel,
    "2spirals": two_spirals,
    "swissroll": swissroll,
    "maf_figure1": maf_figure1,
}


def log_density(name: str, x: Tensor) -> Tensor:
    """Return the log-density of a toy at points ``(N, 2)``, float64 ``(N,)``, in nats."""
    return torch.cat([DENSITIES[name](rows) for rows in x.detach().cpu().double().split(ROWS)])
