"""Affine coupling: one part of the event rescales and shifts the other."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from zoo.errors import InvalidData
from zoo.models.bijections.base import Bijection, sum_event


class AffineCoupling(Bijection):
    r"""z = x on the mask and z = x exp(s) + t off it, with (s, t) = network(mask x).

    Dinh et al. 2017 (Real NVP), eq. 7-9; log|det| = sum of s off the mask. The raw s of the network is
    soft-clamped to (-bound, bound) by bound tanh(s/bound), so that one layer stretches a dimension by at most
    e^bound; ``bound=None`` leaves it as it is.

    Args:
        mask: ``(*event)``, true where the event conditions and stays as it is.
        network: ``(B, *event)`` to ``(B, 2 C, ...)``: raw s first, then t, along dimension 1.
        bound: of the log-scale.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, network: nn.Module, bound: float | None = 3.0) -> None:
        super().__init__()
        self.register_buffer("mask", mask.bool())
        self.network = network
        self.bound = bound

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_scale, shift = self._affine(x, context)
        return torch.where(self.mask, x, x * log_scale.exp() + shift), sum_event(log_scale)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_scale, shift = self._affine(z, context)
        return torch.where(self.mask, z, (z - shift) * (-log_scale).exp()), -sum_event(log_scale)

    def _affine(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        kept = x.masked_fill(~self.mask, 0)
        out = self.network(kept) if context is None else self.network(kept, context)
        raw, shift = out.chunk(2, 1)
        log_scale = raw if self.bound is None else self.bound * torch.tanh(raw / self.bound)
        return log_scale.masked_fill(self.mask, 0), shift

    def extra_repr(self) -> str:
        return f"bound={self.bound}"


def make_mask(
    kind: Literal["alternating", "half", "checkerboard", "channel"],
    shape: tuple[int, ...],
    flip: bool = False,
) -> Tensor:
    """A boolean mask over an event: true is what conditions; ``flip`` swaps the two parts.

    Raises:
        InvalidData: the event has nothing to split (a single value), or the mask does not fit its shape.
    """
    if kind == "alternating" and len(shape) == 1:
        mask = torch.arange(shape[0]) % 2 == 0
    elif kind == "half" and len(shape) == 1:
        mask = torch.arange(shape[0]) < (shape[0] + 1) // 2
    elif kind == "checkerboard" and len(shape) == 3:
        rows, columns = torch.arange(shape[1])[:, None], torch.arange(shape[2])
        mask = ((rows + columns) % 2 == 0).expand(shape).clone()
    elif kind == "channel" and len(shape) == 3:
        mask = (torch.arange(shape[0]) < (shape[0] + 1) // 2)[:, None, None].expand(shape).clone()
    else:
        raise InvalidData(f"A {kind} mask does not fit an event of shape {shape}.")
    return ~mask if flip else mask
