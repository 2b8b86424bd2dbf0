"""MAF: a flow of masked affine autoregressive layers."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.data.spec import DataSpec
from zoo.models.bijections.autoregressive import MaskedAffineAutoregressive
from zoo.models.bijections.base import Bijection, Chain, Reshape
from zoo.models.bijections.reverse import Reverse
from zoo.models.flow import Flow, Preprocessing, preprocess


class MAF(Flow):
    """Masked autoregressive flow (Papamakarios et al. 2017, arXiv:1705.07057).

    z = f_L(R f_{L-1}(... R f_1(x))) with f_l a masked affine autoregressive layer and R the reversal of the
    order, a standard normal z, and log p(x) = log N(z; 0, I) - sum_l sum_i s_{l,i}. The density costs L
    network passes, a sample L * D sequential steps. The paper's batch normalisation between layers is left
    out. Images are flattened (channels, then rows, then columns) after the preprocessing.

    Args:
        spec: the data.
        layers: number of autoregressive layers L.
        hidden: widths of the hidden layers of each layer's MADE.
        log_scale_bound: bound on each |s|.
        preprocessing: what brings pixels to the reals; vectors without levels are taken as they are.
        alpha: margin of the logit preprocessing.
    """

    def __init__(
        self,
        spec: DataSpec,
        layers: int = 5,
        hidden: Sequence[int] = (128, 128),
        log_scale_bound: float = 5.0,
        preprocessing: Preprocessing = "logit",
        alpha: float = 1e-6,
    ) -> None:
        if layers < 1:
            raise ValueError(f"MAF needs at least one layer; got {layers}.")
        chain: list[Bijection] = [preprocess(spec, preprocessing, alpha)]
        if spec.is_image:
            chain.append(Reshape(spec.shape, (spec.dim,)))
        for index in range(layers):
            if index > 0:
                chain.append(Reverse())
            chain.append(MaskedAffineAutoregressive(spec.dim, hidden, log_scale_bound=log_scale_bound))
        super().__init__(spec, Chain(chain), latent_shape=(spec.dim,))
