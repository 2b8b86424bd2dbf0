"""MADE with Gaussian conditionals: an autoregressive flow of one layer."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.data.spec import DataSpec
from zoo.models.bijections.autoregressive import MaskedAffineAutoregressive
from zoo.models.bijections.base import Chain
from zoo.models.core.distributions import Base
from zoo.models.families.flow import Flow, Preprocessing, context_size
from zoo.models.maf import Degrees, Order, draw, flattened, reorder
from zoo.models.networks.made import Activation


class GaussianMADE(Flow):
    """p(x) = prod_i N(x_i; m_i, exp(2 s_i)) with (m_i, s_i) functions of x_1 .. x_{i-1}.

    MADE (Germain et al. 2015, arXiv:1502.03509) with Gaussian conditionals, "MADE" in Papamakarios et al.
    2017, which is MAF with one layer; images are dequantised, brought to the reals and flattened as there.
    What it can represent depends on the order. (MADE over integers, with a softmax for each, is
    model=pixelcnn on vectors.)

    Args:
        spec: the data.
        hidden: widths of the MADE's hidden layers.
        activation: ``relu`` or ``tanh``.
        residual: residual blocks, see :class:`~zoo.models.networks.made.MADE`.
        order: of the dimensions: ``natural``, ``reversed`` or ``random`` (drawn once).
        degrees: see :class:`~zoo.models.maf.MAF`.
        log_scale_bound: bound on each |s|; None for none.
        preprocessing: what brings pixels to the reals; vectors without levels are taken as they are.
        alpha: margin of the logit preprocessing.
        base: distribution of the latents.
        conditional: condition on the label.

    Raises:
        ZooError: another order, or a setting that the network refuses.
    """

    sampling = "sequential"

    def __init__(
        self,
        spec: DataSpec,
        hidden: Sequence[int] = (256, 256),
        activation: Activation = "relu",
        residual: bool = False,
        order: Order = "natural",
        log_scale_bound: float | None = 5.0,
        preprocessing: Preprocessing = "logit",
        alpha: float = 1e-6,
        base: Base = "normal",
        conditional: bool = False,
        degrees: Degrees = "spread",
    ) -> None:
        context = context_size(spec, conditional)
        layer = MaskedAffineAutoregressive(
            spec.dim, hidden, context, log_scale_bound, activation, residual, draw(degrees, 0)
        )
        chain = Chain([*flattened(spec, preprocessing, alpha), *reorder(order, spec.dim), layer])
        super().__init__(spec, chain, base, (spec.dim,), conditional)
