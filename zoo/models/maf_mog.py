"""MAF on a base of MADE with mixtures of Gaussians."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from zoo.checks import Positive, PositiveFloat, checked
from zoo.data.spec import DataSpec
from zoo.models.bijections.autoregressive import MaskedAffineAutoregressive, Scale
from zoo.models.bijections.base import Bijection, Chain
from zoo.models.bijections.batchnorm import BatchNorm
from zoo.models.core.model import context_size
from zoo.models.core.settings import Pixels
from zoo.models.families.autoregressive import (
    MixtureMADE,
    Order,
    flattened,
    stack,
)
from zoo.models.families.flow import Flow
from zoo.models.networks.masked import Activation, Degrees, Start


class MAFMoG(Flow):
    """MAF whose latents are distributed as a MADE-MoG, "MAF MoG" of Papamakarios et al. 2017.

    Args:
        spec: the data.
        layers: number of autoregressive layers, besides the base.
        hidden: widths of the hidden layers of each MADE, including the base.
        components: Gaussians for each dimension of the base.
        activation, residual, start: see :class:`~zoo.models.networks.made.MADE`.
        degrees, batch_norm, input_bound: see :class:`~zoo.models.maf.MAF`.
        order: see :class:`~zoo.models.maf.MAF`; the base has the same order as the last layer.
        scale: what the networks compute beside means, see
            :class:`~zoo.models.bijections.autoregressive.MaskedAffineAutoregressive`.
        log_scale_bound: bound on each |s|; None for none, as in the paper.
        pixels: preprocessing of integer pixels.
        conditional: condition on the label.
    """

    sampling = "sequential"

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        layers: Positive = 5,
        hidden: Sequence[Positive] = (96, 96),
        components: Positive = 10,
        activation: Activation = "relu",
        residual: bool = False,
        degrees: Degrees = "spread",
        start: Start = "he",
        order: Order = "reversed",
        batch_norm: bool = True,
        input_bound: PositiveFloat | None = 5.0,
        scale: Scale = "log_deviation",
        log_scale_bound: PositiveFloat | None = 5.0,
        pixels: Pixels = Pixels(),
        conditional: bool = False,
    ) -> None:
        shared: dict[str, Any] = {
            "hidden": hidden,
            "context": context_size(spec, conditional),
            "scale": scale,
            "log_scale_bound": log_scale_bound,
            "activation": activation,
            "residual": residual,
            "start": start,
            "input_bound": input_bound,
        }
        base = MixtureMADE(spec.dim, components, degrees=degrees, draw=layers, **shared)
        affine = partial(MaskedAffineAutoregressive, spec.dim, **shared)

        def layer(index: int) -> list[Bijection]:
            bijection = affine(degrees=degrees, draw=index)
            return [bijection, BatchNorm(spec.dim, "training set")] if batch_norm else [bijection]

        super().__init__(
            spec,
            Chain([*flattened(spec, pixels), *stack(layers, layer, order, spec.dim)]),
            base=base,
            conditional=conditional,
            dequantisation=pixels.dequantisation,
        )
