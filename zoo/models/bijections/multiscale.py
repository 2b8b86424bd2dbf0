"""Multi-scale architecture: half of the channels leave at each scale."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.models.bijections.base import Bijection, sum_event


class MultiScale(Bijection):
    """Layers of one scale, then half of the channels leave and the rest goes on into ``deeper``.

    Dinh et al. 2017, section 3.6. What leaves is standardised by a prior learned from what stays, z2 -> (z2 -
    m(z1)) exp(-s(z1)) (Kingma & Dhariwal 2018, split prior), so that the base of the whole flow remains one
    standard normal. Latents come out flat, ``(B, D)``: first this scale's, then the deeper ones'.

    Args:
        layers: bijection of this scale, ``(C, H, W)`` to ``shape``.
        shape: event shape after ``layers``.
        deeper: bijection of the channels that stay (the first half, rounded up); None: all leave here.
        prior: network from the staying channels to twice the leaving ones (m, then s); None with no deeper.
    """

    def __init__(
        self, layers: Bijection, shape: tuple[int, ...], deeper: Bijection | None, prior: nn.Module | None
    ) -> None:
        super().__init__()
        self.layers, self.shape, self.deeper, self.prior = layers, tuple(shape), deeper, prior
        self.stay = (shape[0] + 1) // 2

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_det = self.layers(x, context)
        if self.deeper is None or self.prior is None:
            return x.flatten(1), log_det
        first, second = x[:, : self.stay], x[:, self.stay :]
        mean, log_std = self._prior(first, context)
        deep, deep_log_det = self.deeper(first, context)
        out = ((second - mean) * (-log_std).exp()).flatten(1)
        return torch.cat([out, deep], 1), log_det - sum_event(log_std) + deep_log_det

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.deeper is None or self.prior is None:
            return self.layers.inverse(z.view(-1, *self.shape), context)
        leaving = (self.shape[0] - self.stay, *self.shape[1:])
        size = torch.Size(leaving).numel()
        first, deep_log_det = self.deeper.inverse(z[:, size:], context)
        first = first.view(-1, self.stay, *self.shape[1:])
        mean, log_std = self._prior(first, context)
        second = z[:, :size].view(-1, *leaving) * log_std.exp() + mean
        x, log_det = self.layers.inverse(torch.cat([first, second], 1), context)
        return x, log_det + sum_event(log_std) + deep_log_det

    def _prior(self, first: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        assert self.prior is not None
        mean, raw = (self.prior(first) if context is None else self.prior(first, context)).chunk(2, 1)
        return mean, 3 * torch.tanh(raw / 3)  # a factor of at most e^3, like a coupling's
