"""IAF: masked autoregressive layers in the direction that samples in one pass."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.data.spec import DataSpec
from zoo.models.bijections.autoregressive import MaskedAffineAutoregressive
from zoo.models.bijections.base import Bijection, Chain, Inverse
from zoo.models.core.distributions import Base
from zoo.models.families.flow import Flow, Preprocessing, context_size
from zoo.models.maf import Order, flattened, stack
from zoo.models.networks.made import Activation


class IAF(Flow):
    """Inverse autoregressive flow (Kingma et al. 2016, arXiv:1606.04934).

    MAF with each layer turned round: (m_i, s_i) are functions of the latents u_1 .. u_{i-1} before it, and
    x_i = (u_i - m_i) exp(-s_i). A sample costs L network passes; the density of given data is L * D
    sequential steps (of about L passes' arithmetic), through which training differentiates.

    Args:
        spec: the data.
        layers: number of autoregressive layers L.
        hidden: widths of the hidden layers of each layer's MADE.
        activation: ``relu`` or ``tanh``.
        residual: MADEs of residual blocks, see :class:`~zoo.models.networks.made.MADE`.
        order: from one layer to the next, see :class:`~zoo.models.maf.MAF`.
        log_scale_bound: bound on each |s|; None for none.
        preprocessing: what brings pixels to the reals; vectors without levels are taken as they are.
        alpha: margin of the logit preprocessing.
        base: distribution of the latents.
        conditional: condition on the label.

    Raises:
        ZooError: no layer, or a setting that its layers refuse.
    """

    def __init__(
        self,
        spec: DataSpec,
        layers: int = 2,
        hidden: Sequence[int] = (128, 128),
        activation: Activation = "relu",
        residual: bool = False,
        order: Order = "reversed",
        log_scale_bound: float | None = 5.0,
        preprocessing: Preprocessing = "logit",
        alpha: float = 1e-6,
        base: Base = "normal",
        conditional: bool = False,
    ) -> None:
        def layer() -> list[Bijection]:
            context = context_size(spec, conditional)
            made = MaskedAffineAutoregressive(
                spec.dim, hidden, context, log_scale_bound, activation, residual
            )
            return [Inverse(made)]

        chain = [*flattened(spec, preprocessing, alpha), *stack(layers, layer, order, spec.dim)]
        super().__init__(spec, Chain(chain), base, (spec.dim,), conditional)
