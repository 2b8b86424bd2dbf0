"""Dequantisation: the stochastic step between integers and the density of a flow."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from zoo.checks import checked
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.base import zeros
from zoo.models.core import rng
from zoo.models.core.distributions import LOG_2PI
from zoo.models.core.functional import soft_clamp, sum_event, to_symmetric
from zoo.models.core.settings import DequantisationName
from zoo.models.networks.convnet import ConvNet
from zoo.models.networks.mlp import MLP

FARTHEST = 30.0  # y is clamped to this many deviations outside of the range, since Phi(-38) underflows


class Dequantisation(nn.Module):
    """Base class of dequantisation: noise q(y|x) and a conditional P(x|y), which make p(y) a model of x.

    The weight w = p(y) P(x|y) / q(y|x) is, over the noise, an unbiased estimate of P(x) = integral of
    p(y) P(x|y) dy; so log w is on average a lower bound of log P(x) (Ho et al. 2019, arXiv:1902.00275).

    Attributes:
        name: name in ``likelihood_details``.
    """

    name: ClassVar[str]

    def weigh(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return a draw y in the shape of ``x`` and its log-weight log P(x|y) - log q(y|x), ``(B,)`` nats."""
        raise NotImplementedError

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return only the draw y."""
        return self.weigh(x, context)[0]

    def inverse(self, y: Tensor) -> Tensor:
        """Draw x given y; by default the integer whose unit cell contains y."""
        return torch.floor(y)


class UniformDequantisation(Dequantisation):
    """Uniform dequantisation x + u with u uniform on [0, 1); rounding down inverts it.

    The noise has density 1 and log-density 0: log p(x + u) averaged over u is a lower bound on
    log P(x) (Theis et al. 2016, eq. 3). The sum stays below the next integer also in float32.
    """

    name = "uniform"

    def weigh(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return _within_cell(x, rng.uniform(x)), zeros(x)


class VariationalDequantisation(Dequantisation):
    """Variational dequantisation x + u, with u on [0, 1) from a learned flow q(u | x), for a tighter bound.

    u = Phi(v) with the standard normal distribution function Phi. v is a standard normal e transformed by
    affine couplings with alternating checkerboards, whose networks are conditioned on x. The idea is from
    Flow++ (Ho et al. 2019, arXiv:1902.00275, section 3.1); with Phi in place of their sigmoid, the noise
    starts exactly uniform and the bound equal to the uniform one.

    Args:
        spec: integer data.
        context: length of the context; 0 for none.
        couplings: number of couplings.
        width: channels or hidden units of each coupling's network.
        blocks: residual blocks of each coupling's network (images).
        log_scale_bound: log-scales are soft-clamped to (-bound, bound).

    Raises:
        ZooError: the data have no levels, or there is no coupling.
    """

    name = "variational"
    mask: Tensor

    def __init__(
        self,
        spec: DataSpec,
        *,
        context: int = 0,
        couplings: int = 4,
        width: int = 16,
        blocks: int = 1,
        log_scale_bound: float = 3.0,
    ) -> None:
        super().__init__()
        if spec.levels is None or couplings < 1:
            raise ZooError("Variational dequantisation needs integer data and at least one coupling.")
        self.levels, self.log_scale_bound = spec.levels, float(log_scale_bound)
        places = torch.stack(torch.meshgrid(*(torch.arange(s) for s in spec.shape), indexing="ij"))
        self.register_buffer("mask", places.sum(0) % 2 == 0, persistent=False)
        size = spec.shape[0]
        self.networks = nn.ModuleList(
            ConvNet(2 * size, 2 * size, width, blocks, context=context)
            if spec.is_image
            else MLP(2 * size, 2 * size, (width, width), context=context)
            for _ in range(couplings)
        )

    def weigh(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        v = rng.normal(x)
        log_q = _standard_normal(v)
        for index in range(len(self.networks)):
            shift, log_scale = self._affine(index, v, x, context)
            v = v * torch.exp(log_scale) + shift
            log_q = log_q - sum_event(log_scale)
        return _within_cell(x, torch.special.ndtr(v)), _standard_normal(v) - log_q

    def log_prob(self, u: Tensor, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log q(u | x) ``(B,)`` in nats, for noise ``u`` ``(B, ...)`` in (0, 1) on integers ``x``."""
        v = torch.special.ndtri(u)
        log_q = -_standard_normal(v)
        for index in reversed(range(len(self.networks))):
            shift, log_scale = self._affine(index, v, x, context)
            v = (v - shift) * torch.exp(-log_scale)
            log_q = log_q - sum_event(log_scale)
        return log_q + _standard_normal(v)

    def _affine(self, index: int, v: Tensor, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return shift and log-scale of a coupling, zero on its conditioning part."""
        changed = self.mask ^ (index % 2 == 1)
        scaled = to_symmetric(x, self.levels)
        out = self.networks[index](torch.cat([v.masked_fill(changed, 0), scaled], 1), context).to(v.dtype)
        shift, raw = out.masked_fill(~changed.repeat(2, *[1] * (changed.ndim - 1)), 0).chunk(2, 1)
        return shift, soft_clamp(raw, self.log_scale_bound)


class GaussianNoise(Dequantisation):
    """Gaussian noise y = x + std e, e standard normal, with a conditional P(x|y) for a likelihood of x.

    A density of the noisy data y is not a density of x. Together with a conditional P(x|y) it gives a lower
    bound of log p(x). Continuous data: P(x|y) = N(x; y, std^2) cancels q(y|x), so log p(y) is on average a
    lower bound of the log-density of the flow's samples with that noise added once more. Integers: y is drawn
    around the cell's centre x + 1/2, and P(x|y) is the probability of the unit cell of x under N(y, std^2),
    truncated to [0, levels]:

        P(x|y) = [Phi((x + 1 - y) / std) - Phi((x - y) / std)] / [Phi((levels - y) / std) - Phi(-y / std)]

    Args:
        std: standard deviation, in units of the data.
        levels: number of levels of integer data; None for continuous data.

    Raises:
        ZooError: the standard deviation is not above zero.
    """

    name = "gaussian"

    def __init__(self, std: float, levels: int | None = None) -> None:
        super().__init__()
        if not (std > 0 and math.isfinite(std)):
            raise ZooError(f"The noise's standard deviation must be above zero; got {std}.")
        self.std, self.levels = float(std), levels

    def weigh(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        e = rng.normal(x)
        if self.levels is None:
            return x + self.std * e, zeros(x)
        y = x + 0.5 + self.std * e
        half = 0.5 / self.std
        inside = _log_normal_mass(-half - e, half - e)
        log_q = -0.5 * (e.square() + LOG_2PI) - math.log(self.std)
        return y, sum_event(inside - _log_normal_mass(*self._ends(y)) - log_q)

    def inverse(self, y: Tensor) -> Tensor:
        if self.levels is None:
            return y + self.std * rng.normal(y)
        wide = y.double().clamp(-FARTHEST * self.std, self.levels + FARTHEST * self.std)
        low, high = self._ends(wide)
        low, high, right = _on_the_left(low, high)
        low, high = (torch.special.log_ndtr(end).exp() for end in (low, high))  # ndtr is 0 below -8.3
        e = torch.special.ndtri(low + (high - low) * rng.uniform(y))
        x = wide + self.std * torch.where(right, -e, e)
        return torch.floor(x).clamp(0, self.levels - 1).to(y.dtype)

    def nearest(self, y: Tensor) -> Tensor:
        """Return denoised data as examples, with integers rounded down, inside their range."""
        return y if self.levels is None else torch.floor(y).clamp(0, self.levels - 1)

    def _ends(self, y: Tensor) -> tuple[Tensor, Tensor]:
        assert self.levels is not None
        return -y / self.std, (self.levels - y) / self.std

    def extra_repr(self) -> str:
        return f"std={self.std:g}, levels={self.levels}"


@checked("model")
def make_dequantisation(
    dequantisation: DequantisationName, spec: DataSpec, context: int = 0
) -> Dequantisation | None:
    """Return the dequantisation of integer data by name; None for continuous data."""
    if spec.levels is None:
        return None
    return (
        UniformDequantisation()
        if dequantisation == "uniform"
        else VariationalDequantisation(spec, context=context)
    )


def _within_cell(x: Tensor, u: Tensor) -> Tensor:
    """Return x + u, rounded so that it stays below x + 1."""
    return torch.minimum(x + u, torch.nextafter(x + 1, x))


def _standard_normal(v: Tensor) -> Tensor:
    return -0.5 * sum_event(v.square() + LOG_2PI)


def _log_normal_mass(low: Tensor, high: Tensor) -> Tensor:
    """Return log[Phi(high) - Phi(low)], elementwise, computed in the lower tail, which keeps precision."""
    low, high, _ = _on_the_left(low, high)
    log_high = torch.special.log_ndtr(high)
    return log_high + torch.log(-torch.expm1(torch.special.log_ndtr(low) - log_high))


def _on_the_left(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mirror intervals whose middle is above 0; return their ends and a mask of the mirrored ones."""
    right = low + high > 0
    return torch.where(right, -high, low), torch.where(right, -low, high), right
