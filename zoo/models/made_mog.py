"""MADE with mixtures of Gaussians as conditionals."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.checks import Positive, PositiveFloat, checked
from zoo.data.spec import DataSpec
from zoo.models.bijections.autoregressive import Scale
from zoo.models.bijections.base import Chain
from zoo.models.core.model import context_size
from zoo.models.core.settings import Pixels
from zoo.models.families.autoregressive import (
    MixtureMADE,
    Order,
    flattened,
    reorder,
)
from zoo.models.families.flow import Flow
from zoo.models.networks.masked import Activation, Degrees, Start


class MADEMoG(Flow):
    """MADE with a mixture of Gaussians for each conditional (Papamakarios et al. 2017, "MADE MoG").

    Images are dequantised, preprocessed and flattened; the result, in the chosen order, has the density of
    :class:`~zoo.models.families.autoregressive.MixtureMADE`.

    Args:
        spec: the data.
        components: Gaussians for each dimension.
        hidden: widths of the MADE's hidden layers.
        activation, residual, degrees, start: see :class:`~zoo.models.networks.made.MADE`.
        order: order of the dimensions: ``natural``, ``reversed`` or ``random`` (drawn once).
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
        components: Positive = 10,
        hidden: Sequence[Positive] = (128, 128),
        activation: Activation = "relu",
        residual: bool = False,
        degrees: Degrees = "spread",
        start: Start = "he",
        order: Order = "natural",
        scale: Scale = "log_deviation",
        log_scale_bound: PositiveFloat | None = 5.0,
        pixels: Pixels = Pixels(),
        conditional: bool = False,
    ) -> None:
        base = MixtureMADE(
            spec.dim,
            components,
            hidden,
            context=context_size(spec, conditional),
            activation=activation,
            residual=residual,
            start=start,
            scale=scale,
            log_scale_bound=log_scale_bound,
            degrees=degrees,
        )
        super().__init__(
            spec,
            Chain([*flattened(spec, pixels), *reorder(order, spec.dim)]),
            base=base,
            conditional=conditional,
            dequantisation=pixels.dequantisation,
        )
