"""MADE with Gaussian conditionals: an autoregressive flow of one layer."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.checks import Positive, PositiveFloat, checked
from zoo.data.spec import DataSpec
from zoo.models.bijections.autoregressive import MaskedAffineAutoregressive, Scale
from zoo.models.bijections.base import Chain
from zoo.models.core.distributions import Base
from zoo.models.core.model import context_size
from zoo.models.core.settings import Pixels
from zoo.models.families.autoregressive import Order, flattened, reorder
from zoo.models.families.flow import Flow
from zoo.models.networks.masked import Activation, Degrees, Start


class GaussianMADE(Flow):
    """MADE (Germain et al. 2015, arXiv:1502.03509) with Gaussian conditionals.

    p(x) = prod_i N(x_i; m_i, exp(2 s_i)) with (m_i, s_i) functions of x_1 .. x_{i-1}: the "MADE" of
    Papamakarios et al. 2017, which is MAF with one layer. Images are dequantised, preprocessed and flattened
    as in MAF. The distributions it can represent depend on the order. (MADE over integers, with a softmax for
    each, is model=pixelcnn on vectors.)

    Args:
        spec: the data.
        hidden: widths of the MADE's hidden layers.
        activation, residual, degrees, start: see :class:`~zoo.models.networks.made.MADE`.
        order: order of the dimensions: ``natural``, ``reversed`` or ``random`` (drawn once).
        scale: what the networks compute beside means, see
            :class:`~zoo.models.bijections.autoregressive.MaskedAffineAutoregressive`.
        log_scale_bound: bound on each |s|; None for none.
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
        hidden: Sequence[Positive] = (256, 256),
        activation: Activation = "relu",
        residual: bool = False,
        degrees: Degrees = "spread",
        start: Start = "he",
        order: Order = "natural",
        scale: Scale = "log_deviation",
        log_scale_bound: PositiveFloat | None = 5.0,
        pixels: Pixels = Pixels(),
        base: Base = "normal",
        conditional: bool = False,
    ) -> None:
        layer = MaskedAffineAutoregressive(
            spec.dim,
            hidden,
            context=context_size(spec, conditional),
            scale=scale,
            log_scale_bound=log_scale_bound,
            activation=activation,
            residual=residual,
            start=start,
            degrees=degrees,
        )
        super().__init__(
            spec,
            Chain([*flattened(spec, pixels), *reorder(order, spec.dim), layer]),
            base=base,
            latent_shape=(spec.dim,),
            conditional=conditional,
            dequantisation=pixels.dequantisation,
        )
