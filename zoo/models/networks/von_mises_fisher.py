"""The von Mises-Fisher distribution on the unit sphere: densities, divergence, samples with gradients."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.models.core import rng
from zoo.models.core.distributions import LOG_2PI

LARGE_ORDER = 12.0  # from which four corrections of the expansion of I_v leave errors below 1e-7
PROPOSALS = 8  # for each row in a round; a proposal is accepted with a probability above 0.6
ROUNDS = 64  # at most; a sample also counts as so many draws. More are needed with a probability of 1e-200
NODES = 32  # of the quadrature of the gradient
# Row k, column j: the coefficient of p^(k + 2j) in the polynomial u_k(p) of the expansion of I_v for large
# orders v (DLMF, 10.41.10).
CORRECTIONS = np.array(
    [
        [1, 0, 0, 0, 0],
        [3 / 24, -5 / 24, 0, 0, 0],
        [81 / 1152, -462 / 1152, 385 / 1152, 0, 0],
        [30375 / 414720, -369603 / 414720, 765765 / 414720, -425425 / 414720, 0],
        [
            4465125 / 39813120,
            -94121676 / 39813120,
            349922430 / 39813120,
            -446185740 / 39813120,
            185910725 / 39813120,
        ],
    ]
)


class VonMisesFisher:
    """The density C(k) exp(k m^T z) of unit vectors z in R^M, with respect to the sphere's surface.

    C(k) = k^v / ((2 pi)^(M/2) I_v(k)) with v = M/2 - 1 and the modified Bessel function I_v. All
    values are computed in float64, and returned in the dtype of ``mean``.

    Args:
        mean: mean directions m, unit vectors ``(B, M)`` with M >= 2.
        concentration: k > 0, ``(B,)``.
    """

    def __init__(self, mean: Tensor, concentration: Tensor) -> None:
        self.mean, self.concentration = mean, concentration.to(_wide(mean))
        self.size = mean.shape[1]
        self.log_bessel, self.ratio = bessel(self.size / 2 - 1, self.concentration)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density of unit vectors ``(B, M)``, ``(B,)`` in nats."""
        cosine = (self.mean * z).sum(1).to(self.concentration)
        return (self._log_normaliser() + self.concentration * cosine).to(self.mean)

    def kl_to_uniform(self) -> Tensor:
        """Return KL(q || U) for the uniform distribution U on the sphere, ``(B,)`` in nats.

        It is k I_{v+1}(k) / I_v(k) + log C(k) + log of the sphere's area.
        """
        kl = self.concentration * self.ratio + self._log_normaliser() + log_area(self.size)
        return kl.to(self.mean)

    def sample(self) -> Tensor:
        """Draw a unit vector for each row, ``(B, M)``, with gradients in ``mean`` and ``concentration``.

        z = w m + sqrt(1 - w^2) e, where e is uniform among the unit vectors orthogonal to m: the normalised
        part of Gaussian noise that is orthogonal to m. The cosine w does not depend on m; see
        :class:`Angle`.
        """
        angle = cast(Tensor, Angle.apply(self.concentration, self.ratio, self.size))
        noise = rng.normal(self.mean)
        across = F.normalize(noise - (noise * self.mean).sum(1, keepdim=True) * self.mean)
        return angle.cos()[:, None].to(self.mean) * self.mean + angle.sin()[:, None].to(self.mean) * across

    def _log_normaliser(self) -> Tensor:
        half = self.size / 2
        return (half - 1) * self.concentration.log() - half * LOG_2PI - self.log_bessel


def log_area(size: int) -> float:
    """Return the log of the area of the unit sphere in R^``size``.

    >>> round(math.exp(log_area(3)) / math.pi, 6)
    4.0
    """
    return math.log(2) + size / 2 * math.log(math.pi) - math.lgamma(size / 2)


def bessel(order: float, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return log I_v(x) and I_{v+1}(x) / I_v(x) for an order v >= 0, elementwise; both are differentiable.

    Orders of at least 12 are expanded uniformly in x (DLMF, 10.41.3). Lower ones follow from the ratios
    r_k = I_{k+1}/I_k by r_{k-1} = 1 / (2 k / x + r_k), which dampens errors.

    Args:
        order: v.
        x: positive numbers in float64.

    >>> log_value, ratio = bessel(0.5, torch.tensor(2.0, dtype=torch.float64))  # sinh(x) sqrt(2 / (pi x))
    >>> abs(log_value - math.log(math.sinh(2) / math.sqrt(math.pi))) < 1e-8
    tensor(True)
    """
    steps = max(0, math.ceil(LARGE_ORDER - order))
    large = order + steps
    log_value, log_next = _expanded(large, x)
    ratio = (log_next - log_value).exp()
    product = torch.ones_like(x)  # I_large / I_order
    for k in range(steps):
        ratio = 1 / (2 * (large - k) / x + ratio)
        product = product * ratio
    return log_value - product.log(), ratio


def _expanded(order: float, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return log I_v(x) and log I_{v+1}(x) by their uniform expansion for large orders v.

    With p = v / sqrt(v^2 + x^2) it is exp(v eta) / sqrt(2 pi v / p) (1 + u_1(p)/v + .. + u_4(p)/v^4), where
    v eta = v / p + v log(x / (v + v / p)).
    """
    orders = x.new_tensor([order, order + 1]).view(2, *[1] * x.ndim)
    root = (orders.square() + x.square()).sqrt()  # v / p
    powers = torch.arange(len(CORRECTIONS), dtype=x.dtype, device=x.device)
    table = torch.from_numpy(CORRECTIONS).to(x)
    of_order, of_p = root[..., None] ** -powers, (orders / root)[..., None] ** (2 * powers)  # (p / v)^k, p^2j
    corrections = (of_order @ table * of_p).sum(-1)
    exponent = root + orders * (x / (orders + root)).log()
    log_value, log_next = exponent - 0.5 * (LOG_2PI + root.log()) + corrections.log()
    return log_value, log_next


class Angle(torch.autograd.Function):
    """Draw the angle t in [0, pi] between a sample and its mean direction, with its gradient in k.

    With M = ``size`` its density is proportional to exp(k cos t) sin^(M-2) t. It is drawn by rejection (Wood
    1994). Its gradient is that of the inverse distribution function at a fixed level (implicit
    reparametrisation, Figurnov et al. 2018, arXiv:1805.08498), with A = I_{v+1}(k) / I_v(k), the mean cosine:

        dt/dk = - integral_0^t (cos s - A) exp(k (cos s - cos t)) (sin s / sin t)^(M-2) ds.
    """

    @staticmethod
    def forward(ctx: Any, concentration: Tensor, ratio: Tensor, size: int) -> Tensor:
        angle = draw_angle(concentration, size)
        ctx.size = size
        ctx.save_for_backward(concentration, ratio, angle)
        return angle

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        k, ratio, angle = (one[:, None] for one in ctx.saved_tensors)
        nodes, weights = (torch.from_numpy(part).to(angle) for part in _quadrature())
        beyond = angle > math.pi / 2  # there by minus the integral from t to pi: that from 0 to pi is zero
        length = torch.where(beyond, angle - math.pi, angle)
        s = torch.where(beyond, angle, 0) + length.abs() * nodes
        log_part = k * (s.cos() - angle.cos()) + (ctx.size - 2) * (s.sin().log() - angle.sin().log())
        slope = -(length * weights * (s.cos() - ratio) * log_part.exp()).sum(1)
        return grads[0] * slope, None, None


@lru_cache(maxsize=1)
def _quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of Gauss and Legendre's quadrature on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return (nodes + 1) / 2, weights / 2


def draw_angle(concentration: Tensor, size: int) -> Tensor:
    """Return an angle for each row, ``(B,)``.

    A proposal of the cosine is (1 - (1 + b) y) / (1 - (1 - b) y) with y ~ Beta(d/2, d/2) and d = M - 1, drawn
    from two uniform numbers (Ulrich 1984). A sample counts as the same number of draws however many rounds it
    takes, so that the later noise of a row depends on no other row. Without a valid concentration no proposal
    is accepted, and the angle is 0.
    """
    dim = size - 1
    k = concentration[:, None]
    b = dim / (2 * k + (4 * k.square() + dim**2).sqrt())
    gap, x0 = 2 * b / (1 + b), (1 - b) / (1 + b)  # gap = 1 - x0
    offset = (4 * b).log() - 2 * torch.log1p(b)  # log(1 - x0^2)
    angle, waiting = torch.zeros_like(concentration), torch.ones_like(concentration, dtype=torch.bool)
    start = rng.tell()
    for _ in range(ROUNDS):
        first, second, third = rng.uniform(k.new_empty(len(k), 3 * PROPOSALS)).chunk(3, 1)
        radius = (1 - first.pow(2 / (dim - 1) if dim > 1 else math.inf)).sqrt()
        y = (1 + radius * (2 * math.pi * second).cos()) / 2
        below = 2 * b * y / (1 - (1 - b) * y)  # 1 - w, without cancellation
        accepted = k * (gap - below) + dim * ((gap + x0 * below).log() - offset) >= third.log()
        chosen = accepted.to(torch.uint8).argmax(1, keepdim=True)  # the first one
        found = 2 * (below.gather(1, chosen)[:, 0] / 2).clamp(0, 1).sqrt().asin()
        usable = waiting & accepted.any(1)
        angle = torch.where(usable, found, angle)
        waiting = waiting & ~usable
        if not waiting.any():
            break
    rng.seek(start + ROUNDS)
    return angle


def _wide(x: Tensor) -> torch.dtype:
    return torch.float64 if x.device.type != "mps" else torch.float32
