"""The network of a hierarchical VAE: features on the way up, layers of latents on the way down."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.core.functional import soft_clamp
from zoo.models.core.nfe import add_nfe
from zoo.models.networks.encoder import pyramid

Choose = Callable[[Tensor, Tensor | None], Tensor]
"""The layer's standardised latents ``(B, Z, H, W)``, chosen from zeros of that shape and from what the
example, where there is one, says of the layer, ``(B, 2 Z, H, W)``."""


class Ladder(nn.Module):
    """Latents at every size of :func:`~zoo.models.networks.encoder.pyramid`, the smallest first.

    Up, a deterministic pass: features d_s of x at each size s. Down, from a learned constant h at the
    smallest size, for each of ``layers`` stochastic layers a size:

        (m, log s) = prior(h)                      what the layers above say of this one
        (a, b)     = posterior(h, d_s)             what x adds: u ~ N(a, exp(2b)) in place of N(0, I)
        z = m + exp(log s) u,   h <- h + enter(z),   h <- h + residual(h)

    and nearest-neighbour enlargement between sizes. Both directions share the way down, so each layer of the
    posterior knows the layers above it (ladder: Sønderby et al. 2016, arXiv:1602.02282; top-down: Kingma et
    al. 2016, section 4), and the posterior is relative to the prior (Vahdat & Kautz 2020, arXiv:2007.03898,
    section 3.2): at the start, with a and b zero, they are equal. A vector is an image of one pixel.

    Args:
        shape: ``(C, H, W)`` or ``(D,)`` of an example.
        outputs: numbers for each dimension of an example, as of a decoder.
        width: features at each place.
        latents: latents at each place of each layer.
        layers: stochastic layers at each size.
        context: length K of the label's one-hot; 0 for none. It is added to the features, up and down.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        width: int = 32,
        latents: int = 4,
        layers: int = 2,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        channels, *sides = shape
        self.sizes = pyramid(*sides) if sides else [(1, 1)]
        self.enter = _conv(channels, width, self.sizes[0])
        self.up = nn.ModuleList(_Residual(width, size) for size in self.sizes)
        self.shrink = nn.ModuleList(
            nn.Conv2d(width, width, 3, stride=_stride(*sizes), padding=1) for sizes in pairwise(self.sizes)
        )
        self.top = nn.Parameter(torch.zeros(1, width, *self.sizes[-1]))
        self.down = nn.ModuleList(_Layer(width, latents, s) for s in self.sizes[::-1] for _ in range(layers))
        self.layers = layers
        self.leave = _conv(width, outputs * channels, self.sizes[0])
        self.label = nn.Linear(context, 2 * width, bias=False) if context else None

    def encode(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        """Features of ``x`` ``(B, *shape)`` at each size, ``(B, width, h, w)``, the image's own first."""
        add_nfe()
        h = self.enter(x.view(len(x), -1, *self.sizes[0])) + self._label(context, 0)
        features = []
        for index, block in enumerate(self.up):
            h = block(h if index == 0 else self.shrink[index - 1](h))
            features.append(h)
        return tuple(features)

    def descend(
        self,
        n: int,
        choose: Choose,
        features: tuple[Tensor, ...] | None = None,
        context: Tensor | None = None,
    ) -> Tensor:
        """From the top to features ``(n, width, H, W)`` of the image, with latents of ``choose``."""
        add_nfe()
        h = self.top.expand(n, -1, -1, -1) + self._label(context, 1)
        for index, layer in enumerate(self.down):
            scale = len(self.sizes) - 1 - index // self.layers
            if h.shape[2:] != self.sizes[scale]:
                h = F.interpolate(h, size=self.sizes[scale], mode="nearest")
            h = layer(h, choose, None if features is None else features[scale])
        return h

    def decode(self, h: Tensor) -> Tensor:
        """Outputs ``(B, outputs * C, *shape[1:])`` from the features that :meth:`descend` ends with."""
        return self.leave(F.silu(h)).view(len(h), -1, *self.shape[1:])

    def _label(self, context: Tensor | None, way: int) -> Tensor | float:
        if self.label is None:
            return 0.0
        return self.label(context).chunk(2, 1)[way][:, :, None, None]


class _Layer(nn.Module):
    """One stochastic layer of the way down."""

    def __init__(self, width: int, latents: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.latents = latents
        self.prior = _zero(_conv(width, 2 * latents, size))
        self.join = _conv(2 * width, width, size)
        self.posterior = _zero(_conv(width, 2 * latents, size))
        self.enter = nn.Conv2d(latents, width, 1)
        self.residual = _Residual(width, size)

    def forward(self, h: Tensor, choose: Choose, features: Tensor | None) -> Tensor:
        mean, raw = self.prior(F.silu(h)).chunk(2, 1)
        told = None
        if features is not None:
            told = self.posterior(F.silu(self.join(F.silu(torch.cat([h, features], 1)))))
        u = choose(torch.zeros_like(mean), told)
        z = mean + torch.exp(soft_clamp(raw, 3.0)) * u  # deviations within e^-3 .. e^3
        return self.residual(h + self.enter(z))


class _Residual(nn.Module):
    def __init__(self, width: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(math.gcd(8, max(width // 4, 1)), width)
        self.first, self.second = _conv(width, width, size), _zero(_conv(width, width, size))

    def forward(self, h: Tensor) -> Tensor:
        return h + self.second(F.silu(self.first(F.silu(self.norm(h)))))


def _conv(channels_in: int, channels_out: int, size: tuple[int, int]) -> nn.Conv2d:
    """3x3, or 1x1 where the image is one pixel."""
    kernel = 1 if max(size) == 1 else 3
    return nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)


def _stride(big: tuple[int, int], small: tuple[int, int]) -> tuple[int, int]:
    return tuple(1 if a == b else 2 for a, b in zip(big, small, strict=True))  # type: ignore[return-value]


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
