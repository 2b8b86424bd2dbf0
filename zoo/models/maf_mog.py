"""MAF on a base of MADE with mixtures of Gaussians."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.data.spec import DataSpec
from zoo.models.families.flow import Preprocessing, context_size
from zoo.models.made_mog import MixtureMADE
from zoo.models.maf import MAF, Degrees, Order, draw
from zoo.models.networks.made import Activation


class MAFMoG(MAF):
    """MAF whose latents are distributed as a MADE-MoG, "MAF MoG" of Papamakarios et al. 2017.

    Args:
        spec: the data.
        layers: number of autoregressive layers, besides the base.
        hidden: widths of the hidden layers of each MADE, the base's too.
        components: Gaussians for each dimension of the base.
        activation: ``relu`` or ``tanh``.
        residual: MADEs of residual blocks, see :class:`~zoo.models.networks.made.MADE`.
        degrees: see :class:`~zoo.models.maf.MAF`.
        order: see :class:`~zoo.models.maf.MAF`; the base reads the dimensions as the last layer does.
        batch_norm: batch normalisation after each layer.
        log_scale_bound: bound on each |s|; None for none.
        preprocessing: what brings pixels to the reals; vectors without levels are taken as they are.
        alpha: margin of the logit preprocessing.
        conditional: condition on the label.

    Raises:
        ZooError: no layer or component, or a setting that its layers refuse.
    """

    def __init__(
        self,
        spec: DataSpec,
        layers: int = 5,
        hidden: Sequence[int] = (96, 96),
        components: int = 10,
        activation: Activation = "relu",
        residual: bool = False,
        order: Order = "reversed",
        batch_norm: bool = False,
        log_scale_bound: float | None = 5.0,
        preprocessing: Preprocessing = "logit",
        alpha: float = 1e-6,
        conditional: bool = False,
        degrees: Degrees = "spread",
    ) -> None:
        context = context_size(spec, conditional)
        super().__init__(
            spec,
            layers,
            hidden,
            activation,
            residual,
            order,
            batch_norm,
            log_scale_bound,
            preprocessing,
            alpha,
            MixtureMADE(
                spec.dim,
                components,
                hidden,
                context,
                activation,
                residual,
                log_scale_bound,
                draw(degrees, layers),
            ),
            conditional,
            degrees,
        )
