"""i-ResNet: residual networks made invertible by a Lipschitz bound."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.checks import Positive, PositiveFloat, checked
from zoo.data.spec import DataSpec
from zoo.models.bijections.residual import InvertibleResidual, Series
from zoo.models.core.distributions import Base
from zoo.models.core.model import context_size
from zoo.models.core.settings import Pixels
from zoo.models.families.residual import ResidualModel
from zoo.models.networks.lipschitz import LipschitzNetwork
from zoo.models.networks.spectral_norm import Spectral


class IResNet(ResidualModel):
    """Invertible residual network (Behrmann et al. 2019, arXiv:1811.00995).

    Images are squeezed before the first scale.

    Args:
        spec: the data.
        hidden: widths of the hidden layers of a block (vectors).
        width: channels of the hidden layers of a block (images).
        spectral: spectral normalisation of the layers. The paper has a fixed number of power iterations in
            training (``train_tolerance=None``), after which a norm may lie above its bound while the weights
            grow, so that a block need not be invertible; zoo iterates to a tolerance.
        series: log-determinant of a block.
        tolerance: tolerance of the inverse of a block.
        blocks, scales, split, memory_efficient, pixels, conditional, base: see
            :class:`~zoo.models.families.residual.ResidualModel`.
    """

    for_vectors = ("hidden",)
    for_images = ("split", "width")

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        blocks: Positive = 6,
        scales: Positive = 1,
        split: bool = False,
        hidden: Sequence[Positive] = (64, 64, 64),
        width: Positive = 32,
        spectral: Spectral = Spectral(train_tolerance=1e-3),
        series: Series = Series(),
        tolerance: PositiveFloat = 1e-5,
        memory_efficient: bool = False,
        pixels: Pixels = Pixels(),
        conditional: bool = False,
        base: Base = "normal",
    ) -> None:
        widths = (width, width) if spec.is_image else hidden
        context = context_size(spec, conditional)

        def block(shape: tuple[int, ...]) -> InvertibleResidual:
            g = LipschitzNetwork(shape, widths, spectral, context=context)
            return InvertibleResidual(g, series, tolerance=tolerance)

        super().__init__(
            spec,
            block,
            blocks=blocks,
            scales=scales,
            split=split,
            memory_efficient=memory_efficient,
            pixels=pixels,
            conditional=conditional,
            base=base,
        )
