"""Base distributions: the densities of a flow's latents."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from zoo.checks import checked
from zoo.errors import ZooError
from zoo.models.core import rng
from zoo.models.core.functional import sum_event

if TYPE_CHECKING:
    from zoo.models.bijections.base import Bijection

LOG_2PI = math.log(2 * math.pi)
Base = Literal["normal", "diagonal", "mixture"]


class Distribution(nn.Module):
    """A density over latents ``(B, *shape)``, optionally conditioned on a context ``(B, K)``."""

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the log-density of ``z`` ``(B, *shape)``, ``(B,)`` in nats."""
        raise NotImplementedError

    def sample(self, n: int, temperature: float = 1.0, context: Tensor | None = None) -> Tensor:
        """Draw ``(n, *shape)``; ``temperature`` scales the standard deviations."""
        raise NotImplementedError


class StandardNormal(Distribution):
    """Independent standard normals over an event of the given shape; a context has no effect."""

    _like: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.register_buffer("_like", torch.zeros(()), persistent=False)  # moved by .to(device, dtype)

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return -0.5 * (sum_event(z.square()) + z.shape[1:].numel() * LOG_2PI)

    def sample(self, n: int, temperature: float = 1.0, context: Tensor | None = None) -> Tensor:
        return temperature * rng.normal(self._like.expand(n, *self.shape))


class MixtureOfNormals(Distribution):
    """A learned mixture of diagonal normals, sum_k softmax(w)_k N(z; m_k, diag exp(2 s_k)), over an event.

    With one component it is the learned diagonal normal. If there is a context, a linear map of it, zero at
    first, is added to each parameter, so for a one-hot label every class has separate parameters. The
    components' means start at different draws of a standard normal, because equal components would stay
    equal.

    Args:
        shape: event shape.
        components: number of normals.
        context: length of the context; 0 for none.
    """

    def __init__(self, shape: tuple[int, ...], components: int = 1, context: int = 0) -> None:
        super().__init__()
        if components < 1:
            raise ZooError(f"A mixture must have at least one component; got {components}.")
        self.shape, self.components = tuple(shape), components
        dim = math.prod(shape)
        self.mean = nn.Parameter(torch.randn(components, dim) if components > 1 else torch.zeros(1, dim))
        self.log_std = nn.Parameter(torch.zeros(components, dim))
        self.weight = nn.Parameter(torch.zeros(components)) if components > 1 else None
        size = components * (2 * dim + (components > 1))
        self.given = nn.Linear(context, size, bias=False) if context else None
        if self.given is not None:
            nn.init.zeros_(self.given.weight)

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        mean, log_std, log_weight = self.mixture(context)
        deviation = (z.flatten(1)[:, None] - mean) * (-log_std).exp()
        wide = torch.promote_types(z.dtype, torch.float32)
        values = (-0.5 * (deviation.square() + LOG_2PI) - log_std).to(wide).sum(2)
        return (values + log_weight.to(wide)).logsumexp(1)

    def sample(self, n: int, temperature: float = 1.0, context: Tensor | None = None) -> Tensor:
        mean, log_std, log_weight = (p.expand(n, *p.shape[1:]) for p in self.mixture(context))
        if self.components > 1:
            edges = log_weight.softmax(1).cumsum(1)[:, :-1]
            index = (rng.uniform(edges.new_empty(n, 1)) > edges).sum(1)
            mean, log_std = (p[torch.arange(n, device=p.device), index] for p in (mean, log_std))
        else:
            mean, log_std = mean[:, 0], log_std[:, 0]
        return (mean + temperature * log_std.exp() * rng.normal(mean)).view(n, *self.shape)

    def mixture(self, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return means and log-deviations ``(1 or B, K, D)`` and log-weights ``(1 or B, K)``."""
        mean, log_std = self.mean[None], self.log_std[None]
        weight = self.weight[None] if self.weight is not None else mean.new_zeros(1, 1)
        if self.given is not None:
            if context is None:
                raise ZooError("This base distribution is conditional and needs a context.")
            shift = self.given(context).unflatten(1, (self.components, -1))
            dim = self.mean.shape[1]
            mean, log_std = mean + shift[..., :dim], log_std + shift[..., dim : 2 * dim]
            if self.components > 1:
                weight = weight + shift[..., 2 * dim]
        return mean, log_std, weight.log_softmax(1)


class Transformed(Distribution):
    """A distribution transformed by a bijection f: log p(z) = log base(f(z)) + log|det df/dz|."""

    def __init__(self, base: Distribution, transform: Bijection) -> None:
        super().__init__()
        self.base, self.transform = base, transform

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        u, log_det = self.transform(z, context)
        return self.base.log_prob(u, context) + log_det

    def sample(self, n: int, temperature: float = 1.0, context: Tensor | None = None) -> Tensor:
        return self.transform.inverse(self.base.sample(n, temperature, context), context)[0]


@checked("model")
def make_base(base: Base, shape: tuple[int, ...], context: int = 0, components: int = 10) -> Distribution:
    """Return a base distribution by name.

    Args:
        base: ``normal`` (standard), ``diagonal`` (learned) or ``mixture`` (of diagonal normals, learned).
        shape: shape of an event.
        context: length of the context that a learned distribution is conditioned on; 0 for none.
        components: number of normals of the mixture.
    """
    if base == "normal":
        return StandardNormal(shape)
    return MixtureOfNormals(shape, 1 if base == "diagonal" else components, context)


def gaussian_log_prob(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Return the log-density of a diagonal Gaussian, summed over the event, ``(B,)`` in nats."""
    return sum_event(-0.5 * (((x - mean) * (-log_std).exp()).square() + LOG_2PI) - log_std)
