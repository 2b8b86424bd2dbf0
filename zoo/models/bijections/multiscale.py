"""The multi-scale architecture: half of the channels become latents at each scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from zoo.models.bijections.base import Bijection, Chain, zeros
from zoo.models.bijections.squeeze import Squeeze
from zoo.models.core.functional import soft_clamp, sum_event


class MultiScale(Bijection):
    """The layers of one scale, after which half of the channels are latents and the rest enters ``deeper``.

    Dinh et al. 2017, section 3.6. The leaving channels z2 may be standardised by a prior learned from the
    staying channels z1, z2 -> (z2 - m(z1)) exp(-s(z1)) (Kingma & Dhariwal 2018, split prior), so that the
    base of the whole flow remains one standard normal. The latents are flat, ``(B, D)``: first those of this
    scale, then the deeper ones.

    Args:
        layers: bijection of this scale, ``(C, H, W)`` to ``shape``.
        shape: event shape after ``layers``.
        deeper: bijection of the channels that stay (the first half, rounded up); None: all leave here.
        prior: network from the staying channels to twice the leaving ones (m, then s); None: the leaving
            channels are not standardised.
    """

    def __init__(
        self, layers: Bijection, shape: tuple[int, ...], deeper: Bijection | None, prior: nn.Module | None
    ) -> None:
        super().__init__()
        self.layers, self.shape, self.deeper, self.prior = layers, tuple(shape), deeper, prior
        self.stay = (shape[0] + 1) // 2

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_det = self.layers(x, context)
        if self.deeper is None:
            return x.flatten(1), log_det
        first, second = x.split((self.stay, x.shape[1] - self.stay), 1)
        out, prior_log_det = self._standardise(first, second, context)
        deep, deep_log_det = self.deeper(first, context)
        return torch.cat([out, deep], 1), log_det + prior_log_det + deep_log_det

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.deeper is None:
            return self.layers.inverse(z.view(-1, *self.shape), context)
        first, deep_log_det = self.deeper.inverse(z[:, self._leaving.numel() :], context)
        x, prior_log_det = self._join(z, first, context)
        x, log_det = self.layers.inverse(x, context)
        return x, log_det + prior_log_det + deep_log_det

    def invert(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        if self.deeper is None:
            return self.layers.invert(z.view(-1, *self.shape), context)
        first = self.deeper.invert(z[:, self._leaving.numel() :], context)
        return self.layers.invert(self._join(z, first, context)[0], context)

    @property
    def _leaving(self) -> torch.Size:
        """The shape of the channels that leave at this scale."""
        return torch.Size((self.shape[0] - self.stay, *self.shape[1:]))

    def _join(self, z: Tensor, first: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the output of ``layers`` from latents and staying channels, and the prior's log-det."""
        first = first.view(-1, self.stay, *self.shape[1:])
        second = z[:, : self._leaving.numel()].view(-1, *self._leaving)
        if self.prior is None:
            return torch.cat([first, second], 1), zeros(z)
        mean, log_std = self._prior(first, context)
        return torch.cat([first, second * log_std.exp() + mean], 1), sum_event(log_std)

    @torch.no_grad()
    def collect(self, batches: list[Tensor], contexts: list[Tensor | None]) -> list[Tensor]:
        batches = self.layers.collect(batches, contexts)
        if self.deeper is None:
            return [x.flatten(1) for x in batches]
        deep = self.deeper.collect([x[:, : self.stay] for x in batches], contexts)
        out = [
            self._standardise(x[:, : self.stay], x[:, self.stay :], context)[0]
            for x, context in zip(batches, contexts, strict=True)
        ]
        return [torch.cat(pair, 1) for pair in zip(out, deep, strict=True)]

    def _standardise(self, first: Tensor, second: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.prior is None:
            return second.flatten(1), zeros(second)
        mean, log_std = self._prior(first, context)
        return ((second - mean) * (-log_std).exp()).flatten(1), -sum_event(log_std)

    def _prior(self, first: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        assert self.prior is not None
        out = self.prior(first) if context is None else self.prior(first, context)
        mean, raw = out.to(first.dtype).chunk(2, 1)
        return mean, soft_clamp(raw, 3.0)  # a factor of at most e^3, like a coupling's


def squeeze_and_split(
    shape: tuple[int, int, int],
    levels: int,
    steps: Callable[[tuple[int, int, int]], Sequence[Bijection]],
    prior: Callable[[int, int], nn.Module],
    split: bool = True,
) -> Bijection:
    """Return Glow's architecture: at each level a squeeze and the steps, then half of the channels leave.

    A level that cannot halve its height and width is the last one; the first such one does not squeeze.

    Args:
        shape: shape of the image.
        levels: largest number of levels, at least 1.
        steps: function from the shape inside a level to the layers of the level.
        prior: function from the numbers of staying and leaving channels to the network of the split prior.
        split: whether half of the channels leave between levels; otherwise all stay to the end.

    Returns:
        The bijection to flat latents ``(B, D)``.
    """
    channels, height, width = shape
    even = height % 2 == 0 and width % 2 == 0
    inside = (4 * channels, height // 2, width // 2) if even else shape
    layers = Chain([*([Squeeze()] if even else []), *steps(inside)])
    if levels == 1 or not even or inside[1] % 2 or inside[2] % 2:
        return MultiScale(layers, inside, None, None)
    stay = (inside[0] + 1) // 2 if split else inside[0]
    deeper = squeeze_and_split((stay, inside[1], inside[2]), levels - 1, steps, prior, split)
    if not split:
        return Chain([layers, deeper])
    return MultiScale(layers, inside, deeper, prior(stay, inside[0] - stay))
