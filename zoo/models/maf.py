"""MAF: a flow of masked affine autoregressive layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from zoo.checks import Positive, PositiveFloat, checked
from zoo.data.spec import DataSpec
from zoo.models.bijections.autoregressive import MaskedAffineAutoregressive, Scale
from zoo.models.bijections.base import Bijection, Chain
from zoo.models.bijections.batchnorm import BatchNorm
from zoo.models.core.distributions import Base
from zoo.models.core.model import context_size
from zoo.models.core.settings import Pixels
from zoo.models.families.autoregressive import Order, flattened, stack
from zoo.models.families.flow import Flow
from zoo.models.networks.masked import Activation, Degrees, Start


class MAF(Flow):
    """Masked autoregressive flow (Papamakarios et al. 2017, arXiv:1705.07057).

    z = f_L(R f_{L-1}(... R f_1(x))) with f_l a masked affine autoregressive layer, R a change of the order
    and z standard normal: log p(x) = log N(z; 0, I) - sum_l sum_i s_{l,i}. The density takes L network
    passes; a sample takes L * D sequential steps, with about the arithmetic of L passes. Images are flattened
    after the preprocessing, which is a logit in the paper.

    Args:
        spec: the data.
        layers: number of autoregressive layers L.
        hidden: widths of the hidden layers of each layer's MADE.
        activation, residual, start: see :class:`~zoo.models.networks.made.MADE`.
        degrees: degrees of the hidden units, see :class:`~zoo.models.networks.made.MADE`; in the paper they
            are ``cyclic``, and ``random`` on CIFAR-10.
        order: order of the dimensions from one layer to the next: ``reversed`` (the paper's), ``random``
            (drawn for each layer, the first too) or ``natural`` (the same for all).
        batch_norm: batch normalisation after each layer, which evaluates with the statistics of the whole
            training set (the paper's appendix B).
        input_bound: bound on what each layer's network sees of its inputs, see
            :class:`~zoo.models.networks.made.MADE`; None for none, as in the paper. Without it and batch
            normalisation one layer throws a point at the edge of the data out, the next ones extrapolate from
            there, and its density may fall by billions of nats (``results/studies/maf_tails.md``).
        scale: what the networks compute beside means, see
            :class:`~zoo.models.bijections.autoregressive.MaskedAffineAutoregressive`.
        log_scale_bound: bound on each |s|; None for none, as in the paper.
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
        layers: Positive = 5,
        hidden: Sequence[Positive] = (128, 128),
        activation: Activation = "relu",
        residual: bool = False,
        degrees: Degrees = "spread",
        start: Start = "he",
        order: Order = "reversed",
        batch_norm: bool = True,
        input_bound: PositiveFloat | None = 5.0,
        scale: Scale = "log_deviation",
        log_scale_bound: PositiveFloat | None = 5.0,
        pixels: Pixels = Pixels(),
        base: Base = "normal",
        conditional: bool = False,
    ) -> None:
        affine = partial(
            MaskedAffineAutoregressive,
            spec.dim,
            hidden,
            context=context_size(spec, conditional),
            scale=scale,
            log_scale_bound=log_scale_bound,
            activation=activation,
            residual=residual,
            start=start,
            input_bound=input_bound,
        )

        def layer(index: int) -> list[Bijection]:
            bijection = affine(degrees=degrees, draw=index)
            return [bijection, BatchNorm(spec.dim, "training set")] if batch_norm else [bijection]

        super().__init__(
            spec,
            Chain([*flattened(spec, pixels), *stack(layers, layer, order, spec.dim)]),
            base=base,
            latent_shape=(spec.dim,),
            conditional=conditional,
            dequantisation=pixels.dequantisation,
        )
