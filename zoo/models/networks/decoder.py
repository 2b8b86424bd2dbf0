"""The decoder: a network from a latent to an example, for VAEs and the generators of GANs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from zoo.models.core.nfe import add_nfe
from zoo.models.networks.encoder import (
    Activation,
    Norm,
    activation_layer,
    constrain,
    norm_layer,
    pyramid,
    pyramid_channels,
    strides,
)


class Decoder(nn.Module):
    """A network from ``(B, latent_dim)`` to ``(B, outputs * shape[0], *shape[1:])``.

    Images: one hidden layer, a linear map to the smallest size of
    :func:`~zoo.models.networks.encoder.pyramid`, one transposed convolution for each larger size, and a last
    3x3 convolution. Along a side that doubles to an even length the kernel has length 4, so that every output
    depends on the same number of inputs (without checkerboard artefacts, Odena et al. 2016); to an odd length
    it has length 3, which gives that length exactly. Nothing is cropped or resized. Vectors: ``depth`` hidden
    layers. One call counts as one network evaluation.

    Args:
        latent_dim: length of the latent.
        shape: ``(C, H, W)`` or ``(D,)`` of an example.
        outputs: number of outputs for each dimension of an example, e.g. 2 for a location and a scale; along
            axis 1, all locations come before all scales.
        width, hidden, depth, norm, activation: see :class:`~zoo.models.networks.encoder.Encoder`.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Sequence[int],
        outputs: int = 1,
        *,
        width: int = 32,
        hidden: int = 128,
        depth: int = 2,
        norm: Norm = "group",
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        units = latent_dim
        is_image = len(shape) == 3
        for _ in range(1 if is_image else depth):
            layers += [constrain(nn.Linear(units, hidden), norm), activation_layer(activation)]
            units = hidden
        if is_image:
            sizes = pyramid(*shape[1:])[::-1]
            channels = pyramid_channels(len(sizes), width)[::-1]
            layers += [constrain(nn.Linear(units, channels[0] * math.prod(sizes[0])), norm)]
            layers += [nn.Unflatten(1, (channels[0], *sizes[0]))]
            layers += [*norm_layer(norm, channels[0]), activation_layer(activation)]
            for i in range(1, len(sizes)):
                layers += [constrain(_enlarge(channels[i - 1], channels[i], sizes[i - 1], sizes[i]), norm)]
                layers += [*norm_layer(norm, channels[i]), activation_layer(activation)]
            layers += [constrain(nn.Conv2d(channels[-1], outputs * shape[0], 3, padding=1), norm)]
        else:
            norm_layer(norm, hidden)  # checks the name
            layers += [constrain(nn.Linear(units, outputs * shape[0]), norm)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Return outputs ``(B, outputs * shape[0], *shape[1:])``, unbounded."""
        add_nfe()
        return self.layers(z)


def _enlarge(
    channels_in: int, channels_out: int, size_in: tuple[int, int], size_out: tuple[int, int]
) -> nn.ConvTranspose2d:
    """Return a transposed convolution that maps length n to m on each side: (n-1) stride - 2 + kernel = m."""
    stride = strides(size_out, size_in)
    (n, o), (m, p), (s, t) = size_in, size_out, stride
    kernel = (m + 2 - (n - 1) * s, p + 2 - (o - 1) * t)
    return nn.ConvTranspose2d(channels_in, channels_out, kernel, stride=stride, padding=1)
