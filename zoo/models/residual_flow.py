"""Residual flow: an i-ResNet whose log-determinant is estimated without bias."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.checks import NotNegative, Positive, PositiveFloat, checked
from zoo.data.spec import DataSpec
from zoo.models.bijections.residual import InvertibleResidual, Series
from zoo.models.core.distributions import Base
from zoo.models.core.model import context_size
from zoo.models.core.settings import Pixels
from zoo.models.families.residual import MakeBlock, ResidualModel
from zoo.models.networks.lipschitz import Activation, LipschitzNetwork
from zoo.models.networks.spectral_norm import Spectral


class ResidualFlow(ResidualModel):
    """Residual flow (Chen et al. 2019, arXiv:1906.02735).

    It has the blocks of i-ResNet with a looser Lipschitz bound, the unbiased Russian-roulette estimator of
    the log-determinant, its Neumann-series gradient, and LipSwish before every layer.

    Args:
        spec: the data.
        hidden: widths of the hidden layers of a block (vectors), and of a dense block at the end (images).
        width: channels of the hidden layers of a block (images).
        dense_blocks: number of dense blocks at the end (images).
        activation: activation before every layer: ``lipswish``, ``elu`` or ``sincos`` (pairs of sine and
            cosine, which are not in the paper and do not attenuate gradients).
        spectral: spectral normalisation of the layers.
        series: log-determinant of a block.
        tolerance: tolerance of the inverse of a block.
        blocks, scales, squeeze_first, split, memory_efficient, pixels, conditional, base: see
            :class:`~zoo.models.families.residual.ResidualModel`.
    """

    for_images = ("squeeze_first", "split", "width", "dense_blocks")

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        blocks: Positive = 4,
        scales: Positive = 2,
        squeeze_first: bool = True,
        split: bool = False,
        hidden: Sequence[Positive] = (64, 64, 64),
        width: Positive = 32,
        dense_blocks: NotNegative = 0,
        activation: Activation = "lipswish",
        spectral: Spectral = Spectral(coefficient=0.98, train_tolerance=1e-3),
        series: Series = Series(estimator="roulette", gradient="neumann", terms=2, exact_dim=2),
        tolerance: PositiveFloat = 1e-5,
        memory_efficient: bool = False,
        pixels: Pixels = Pixels(),
        conditional: bool = False,
        base: Base = "normal",
    ) -> None:
        context = context_size(spec, conditional)

        def make(widths: Sequence[int]) -> MakeBlock:
            def block(shape: tuple[int, ...]) -> InvertibleResidual:
                g = LipschitzNetwork(
                    shape, widths, spectral, activation=activation, activate_input=True, context=context
                )
                return InvertibleResidual(g, series, tolerance=tolerance)

            return block

        super().__init__(
            spec,
            make((width, width) if spec.is_image else hidden),
            blocks=blocks,
            scales=scales,
            squeeze_first=squeeze_first,
            split=split,
            dense=[make(hidden)] * dense_blocks,
            memory_efficient=memory_efficient,
            pixels=pixels,
            conditional=conditional,
            base=base,
        )
