"""Neural spline flow with autoregressive layers, RQ-NSF (AR)."""

from __future__ import annotations

import torch

from zoo.checks import switch, whole, within
from zoo.data.spec import DataSpec
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Bijection, Chain
from zoo.models.bijections.linear import LULinear
from zoo.models.bijections.permutation import Permutation
from zoo.models.bijections.spline import check_spline
from zoo.models.bijections.spline_autoregressive import MaskedSplineAutoregressive
from zoo.models.core.distributions import Base
from zoo.models.families.flow import Flow, Preprocessing, context_size
from zoo.models.maf import flattened
from zoo.models.networks.made import MADE, Activation


class NSFAutoregressive(Flow):
    """RQ-NSF (AR) (Durkan, Bekasov, Murray and Papamakarios 2019, arXiv:1906.04032).

    ``steps`` times a fixed random permutation, a linear layer in LU form and a layer of rational-quadratic
    splines whose parameters come from a residual MADE; then a permutation and a linear layer. An activation
    normalisation in front stands for the standardised data that the paper assumes. Images are flattened after
    the preprocessing.

    Args:
        spec: the data.
        steps: number of steps.
        bins: of a spline.
        bound: B; a spline is the identity outside [-B, B].
        hidden: width of each MADE.
        blocks: its residual blocks.
        dropout: inside them.
        activation: ``relu`` or ``tanh``.
        linear: a linear layer after each permutation.
        preprocessing: what brings pixels to the reals; vectors without levels are taken as they are.
        alpha: margin of the logit preprocessing.
        base: distribution of the latents.
        conditional: condition on the label.

    Raises:
        ZooError: no step, or a setting that its layers refuse.
    """

    sampling = "sequential"

    def __init__(
        self,
        spec: DataSpec,
        steps: int = 3,
        bins: int = 8,
        bound: float = 3.0,
        hidden: int = 48,
        blocks: int = 2,
        dropout: float = 0.0,
        activation: Activation = "relu",
        linear: bool = True,
        preprocessing: Preprocessing = "logit",
        alpha: float = 1e-6,
        base: Base = "normal",
        conditional: bool = False,
    ) -> None:
        whole(1, steps=steps, hidden=hidden)
        whole(0, blocks=blocks)
        switch(linear=linear)
        within(0, 1, dropout=dropout)
        check_spline(bins, bound)
        context = context_size(spec, conditional)

        def mix() -> list[Bijection]:
            order = Permutation(torch.randperm(spec.dim))
            return [order, LULinear(spec.dim)] if linear else [order]

        chain = [*flattened(spec, preprocessing, alpha), ActNorm(spec.dim)]
        for _ in range(steps):
            widths = [hidden] * (blocks + 1)
            network = MADE(spec.dim, 3 * bins - 1, widths, context, activation, blocks > 0, dropout)
            chain += [*mix(), MaskedSplineAutoregressive(network, bins, bound)]
        super().__init__(spec, Chain([*chain, *mix()]), base, (spec.dim,), conditional)
