"""The network of a hierarchical VAE: features bottom-up, layers of latents top-down."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.core.functional import soft_clamp
from zoo.models.core.nfe import add_nfe
from zoo.models.networks.encoder import pyramid, strides

SampleLayer = Callable[[Tensor, Tensor | None], Tensor]
"""Returns a layer's standardised latents ``(B, Z, H, W)``, given zeros of that shape and the parameters of
the posterior ``(B, 2 Z, H, W)``, or None when sampling from the prior."""


class TopDownNetwork(nn.Module):
    """A network with latents at each size of :func:`~zoo.models.networks.encoder.pyramid`, smallest first.

    Bottom-up, a deterministic pass computes features d_s of x at each size s. Top-down, from a learned
    constant h at the smallest size, each size has ``layers`` stochastic layers:

        (m, log s) = prior(h)                      p(z | layers above) = N(m, s^2)
        (a, b)     = posterior(h, d_s)             q: u ~ N(a, exp(2b)) in place of N(0, I)
        z = m + exp(log s) u,   h <- h + enter(z),   h <- h + residual(h)

    with nearest-neighbour upsampling between sizes. Prior and posterior share the top-down pass, so each
    layer of the posterior depends on the layers above it (ladder VAE: Sønderby et al. 2016, arXiv:1602.02282;
    top-down inference: Kingma et al. 2016, section 4). The posterior is relative to the prior (Vahdat & Kautz
    2020, arXiv:2007.03898, section 3.2) and starts equal to it, with a and b zero. A vector is treated as an
    image of one pixel.

    Args:
        shape: ``(C, H, W)`` or ``(D,)`` of an example.
        outputs: number of outputs for each dimension of an example, e.g. 2 for a location and a scale.
        width: features at each position.
        latents: latents at each position of each layer.
        layers: stochastic layers at each size.
        context: length K of the one-hot label, added to the features of both passes; 0 for none.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: int,
        *,
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
            nn.Conv2d(width, width, 3, stride=strides(*sizes), padding=1) for sizes in pairwise(self.sizes)
        )
        self.top = nn.Parameter(torch.zeros(1, width, *self.sizes[-1]))
        self.down = nn.ModuleList(
            _StochasticLayer(width, latents, s) for s in self.sizes[::-1] for _ in range(layers)
        )
        self.layers = layers
        self.leave = _conv(width, outputs * channels, self.sizes[0])
        self.label = nn.Linear(context, 2 * width, bias=False) if context else None

    def encode(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return features of ``x`` ``(B, *shape)`` at each size, ``(B, width, h, w)``, the largest first."""
        add_nfe()
        h = self.enter(x.view(len(x), -1, *self.sizes[0])) + self._label_shift(context, 0)
        features = []
        for index, block in enumerate(self.up):
            h = block(h if index == 0 else self.shrink[index - 1](h))
            features.append(h)
        return tuple(features)

    def descend(
        self,
        n: int,
        sample_layer: SampleLayer,
        features: tuple[Tensor, ...] | None = None,
        context: Tensor | None = None,
    ) -> Tensor:
        """Run the top-down pass and return features ``(n, width, H, W)`` at the image's size.

        Args:
            n: number of examples.
            sample_layer: function that samples the latents of one layer.
            features: features from :meth:`encode`; None when sampling from the prior.
            context: one-hot labels ``(n, K)``.
        """
        add_nfe()
        h = self.top.expand(n, -1, -1, -1) + self._label_shift(context, 1)
        for index, layer in enumerate(self.down):
            scale = len(self.sizes) - 1 - index // self.layers
            if h.shape[2:] != self.sizes[scale]:
                h = F.interpolate(h, size=self.sizes[scale], mode="nearest")
            h = layer(h, sample_layer, None if features is None else features[scale])
        return h

    def decode(self, h: Tensor) -> Tensor:
        """Return outputs ``(B, outputs * C, *shape[1:])`` from the features that :meth:`descend` returns."""
        return self.leave(F.silu(h)).view(len(h), -1, *self.shape[1:])

    def _label_shift(self, context: Tensor | None, direction: int) -> Tensor | float:
        """Return the label's contribution to the features of the bottom-up (0) or the top-down (1) pass."""
        if self.label is None:
            return 0.0
        return self.label(context).chunk(2, 1)[direction][:, :, None, None]


class _StochasticLayer(nn.Module):
    def __init__(self, width: int, latents: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.latents = latents
        self.prior = _zero(_conv(width, 2 * latents, size))
        self.join = _conv(2 * width, width, size)
        self.posterior = _zero(_conv(width, 2 * latents, size))
        self.enter = nn.Conv2d(latents, width, 1)
        self.residual = _Residual(width, size)

    def forward(self, h: Tensor, sample_layer: SampleLayer, features: Tensor | None) -> Tensor:
        mean, raw = self.prior(F.silu(h)).chunk(2, 1)
        posterior = None
        if features is not None:
            posterior = self.posterior(F.silu(self.join(F.silu(torch.cat([h, features], 1)))))
        u = sample_layer(torch.zeros_like(mean), posterior)
        z = mean + torch.exp(soft_clamp(raw, 3.0)) * u  # standard deviations within e^-3 .. e^3
        return self.residual(h + self.enter(z))


class _Residual(nn.Module):
    def __init__(self, width: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(math.gcd(8, max(width // 4, 1)), width)
        self.first, self.second = _conv(width, width, size), _zero(_conv(width, width, size))

    def forward(self, h: Tensor) -> Tensor:
        return h + self.second(F.silu(self.first(F.silu(self.norm(h)))))


def _conv(channels_in: int, channels_out: int, size: tuple[int, int]) -> nn.Conv2d:
    """Return a 3x3 convolution, or a 1x1 convolution if the image is one pixel."""
    kernel = 1 if max(size) == 1 else 3
    return nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
