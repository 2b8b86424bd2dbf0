"""Neural spline flow with autoregressive layers, RQ-NSF (AR)."""

from __future__ import annotations

import torch

from zoo.checks import NotNegative, Positive, PositiveFloat, Share, checked
from zoo.data.spec import DataSpec
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Bijection, Chain
from zoo.models.bijections.linear import LULinear
from zoo.models.bijections.permutation import Permutation
from zoo.models.bijections.spline import Bins
from zoo.models.bijections.spline_autoregressive import MaskedSplineAutoregressive
from zoo.models.core.distributions import Base
from zoo.models.core.model import context_size
from zoo.models.core.settings import Pixels
from zoo.models.families.autoregressive import flattened
from zoo.models.families.flow import Flow
from zoo.models.networks.made import MADE
from zoo.models.networks.masked import Activation


class NSFAutoregressive(Flow):
    """RQ-NSF (AR) (Durkan, Bekasov, Murray and Papamakarios 2019, arXiv:1906.04032).

    ``steps`` times a fixed random permutation, a linear layer in LU form and a layer of rational-quadratic
    splines whose parameters come from a residual MADE; then a permutation and a linear layer. An initial
    activation normalisation standardises the data; the paper assumes standardised data. Images are flattened
    after the preprocessing.

    Args:
        spec: the data.
        steps: number of steps.
        bins: number of bins of a spline.
        bound: bound B of a spline, which is the identity outside [-B, B].
        hidden: width of each MADE.
        blocks: residual blocks of each MADE.
        dropout: share of the units dropped in training, inside the blocks.
        activation: ``relu`` or ``tanh``.
        linear: whether a linear layer follows each permutation.
        pixels: preprocessing of integer pixels.
        base: distribution of the latents, see :func:`~zoo.models.core.distributions.make_base`.
        conditional: condition on the label.
    """

    sampling = "sequential"

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        steps: Positive = 3,
        bins: Bins = 8,
        bound: PositiveFloat = 3.0,
        hidden: Positive = 48,
        blocks: NotNegative = 2,
        dropout: Share = 0.0,
        activation: Activation = "relu",
        linear: bool = True,
        pixels: Pixels = Pixels(),
        base: Base = "normal",
        conditional: bool = False,
    ) -> None:
        context = context_size(spec, conditional)

        def mix() -> list[Bijection]:
            order = Permutation(torch.randperm(spec.dim))
            return [order, LULinear(spec.dim)] if linear else [order]

        chain = [*flattened(spec, pixels), ActNorm(spec.dim)]
        for _ in range(steps):
            widths = [hidden] * (blocks + 1)
            network = MADE(
                spec.dim,
                3 * bins - 1,
                widths,
                context=context,
                activation=activation,
                residual=blocks > 0,
                dropout=dropout,
            )
            chain += [*mix(), MaskedSplineAutoregressive(network, bins, bound)]
        super().__init__(
            spec,
            Chain([*chain, *mix()]),
            base=base,
            latent_shape=(spec.dim,),
            conditional=conditional,
            dequantisation=pixels.dequantisation,
        )
