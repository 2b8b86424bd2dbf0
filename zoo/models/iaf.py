"""IAF: masked autoregressive layers in the inverse direction, which samples in one pass."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.checks import Positive, PositiveFloat, checked
from zoo.data.spec import DataSpec
from zoo.models.bijections.autoregressive import MaskedAffineAutoregressive
from zoo.models.bijections.base import Bijection, Chain, Inverse
from zoo.models.core.distributions import Base
from zoo.models.core.model import context_size
from zoo.models.core.settings import Pixels
from zoo.models.families.autoregressive import Order, flattened, stack
from zoo.models.families.flow import Flow
from zoo.models.networks.masked import Activation


class IAF(Flow):
    """Inverse autoregressive flow (Kingma et al. 2016, arXiv:1606.04934).

    MAF with each layer inverted: (m_i, s_i) are functions of the layer's output u_1 .. u_{i-1}, and
    u_i = m_i + x_i exp(s_i). A sample takes L network passes. The density of given data takes L * D
    sequential steps (with about the arithmetic of L passes), through which training differentiates.

    Args:
        spec: the data.
        layers: number of autoregressive layers L.
        hidden: widths of the hidden layers of each layer's MADE.
        activation, residual: see :class:`~zoo.models.networks.made.MADE`.
        order: order of the dimensions from one layer to the next, see :class:`~zoo.models.maf.MAF`.
        log_scale_bound: bound on each |s|; None for none.
        pixels: preprocessing of integer pixels.
        base: distribution of the latents, see :func:`~zoo.models.core.distributions.make_base`.
        conditional: condition on the label.
    """

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        layers: Positive = 2,
        hidden: Sequence[Positive] = (128, 128),
        activation: Activation = "relu",
        residual: bool = False,
        order: Order = "reversed",
        log_scale_bound: PositiveFloat | None = 5.0,
        pixels: Pixels = Pixels(),
        base: Base = "normal",
        conditional: bool = False,
    ) -> None:
        context = context_size(spec, conditional)

        def layer(index: int) -> list[Bijection]:
            affine = MaskedAffineAutoregressive(
                spec.dim,
                hidden,
                context=context,
                log_scale_bound=log_scale_bound,
                activation=activation,
                residual=residual,
            )
            return [Inverse(affine)]

        super().__init__(
            spec,
            Chain([*flattened(spec, pixels), *stack(layers, layer, order, spec.dim)]),
            base=base,
            latent_shape=(spec.dim,),
            conditional=conditional,
            dequantisation=pixels.dequantisation,
        )
