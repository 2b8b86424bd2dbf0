"""Neural spline flow with coupling layers, RQ-NSF (C)."""

from __future__ import annotations

import torch
from torch import nn

from zoo.checks import NotNegative, Positive, PositiveFloat, Share, checked
from zoo.data.spec import DataSpec
from zoo.errors import ZooError
from zoo.models.bijections.actnorm import ActNorm
from zoo.models.bijections.base import Bijection, Chain
from zoo.models.bijections.coupling import make_partition, partition_kind
from zoo.models.bijections.invertible_conv import InvertibleConv1x1
from zoo.models.bijections.linear import LULinear
from zoo.models.bijections.multiscale import squeeze_and_split
from zoo.models.bijections.permutation import Permutation
from zoo.models.bijections.reversible import chain
from zoo.models.bijections.spline import Bins, ElementwiseSpline
from zoo.models.bijections.spline_coupling import SplineCoupling
from zoo.models.core.distributions import Base
from zoo.models.core.model import context_size
from zoo.models.core.settings import Pixels
from zoo.models.families.flow import Flow, preprocess
from zoo.models.networks.convnet import ConvNet
from zoo.models.networks.residual_net import ResidualConvNet, ResidualMLP


class NSFCoupling(Flow):
    """RQ-NSF (C) (Durkan, Bekasov, Murray and Papamakarios 2019, arXiv:1906.04032).

    Vectors: ``steps`` times a fixed random permutation, a linear layer in LU form and a rational-quadratic
    spline coupling, then a permutation and a linear layer; an initial activation normalisation
    standardises the data; the paper assumes standardised data. Images: Glow with spline couplings.

    Args:
        spec: the data; at least 2 dimensions.
        steps: number of steps of the flow (vectors), or of a level (images).
        bins: number of bins of a spline.
        bound: bound B of a spline, which is the identity outside [-B, B].
        hidden: width of a dense conditioner (vectors).
        width: channels of a convolutional conditioner (images).
        blocks: residual blocks of either conditioner.
        dropout: share of the units dropped in training, inside the blocks.
        unconditional: transform the conditioning part too, by splines that are the same for all examples.
        levels: number of squeezes, at least 1, limited by how often the size can be halved (images).
        multi_scale: half of the channels leave between levels (images).
        pixels: preprocessing of integer pixels; the paper's is ``centre``.
        base: distribution of the latents, see :func:`~zoo.models.core.distributions.make_base`.
        memory_efficient: recompute activations in training, see
            :class:`~zoo.models.bijections.reversible.Reversible`.
        conditional: condition on the label.

    Raises:
        ZooError: the data have a single dimension.
    """

    for_vectors = ("hidden",)
    for_images = ("width", "levels", "multi_scale")

    @checked("model")
    def __init__(
        self,
        spec: DataSpec,
        *,
        steps: Positive = 4,
        bins: Bins = 8,
        bound: PositiveFloat = 3.0,
        hidden: Positive = 64,
        width: Positive = 32,
        blocks: NotNegative = 2,
        dropout: Share = 0.0,
        unconditional: bool = True,
        levels: Positive = 2,
        multi_scale: bool = True,
        pixels: Pixels = Pixels(),
        base: Base = "normal",
        memory_efficient: bool = False,
        conditional: bool = False,
    ) -> None:
        if spec.dim < 2:
            raise ZooError("Coupling flows need at least 2 dimensions; use model=nsf_autoregressive for one.")
        context = context_size(spec, conditional)

        def coupling(shape: tuple[int, ...], index: int) -> Bijection:
            kind = partition_kind(shape)
            partition = make_partition(kind, shape, flip=index % 2 == 1)
            out = partition.changed * (3 * bins - 1)
            network = (
                ResidualConvNet(partition.given, out, width, blocks, dropout=dropout, context=context)
                if spec.is_image
                else ResidualMLP(partition.given, out, hidden, blocks, dropout=dropout, context=context)
            )
            # not with a checkerboard, which pads the conditioning part with zeros that must not change
            transforms_given = unconditional and kind != "checkerboard"
            spline = ElementwiseSpline(partition.given, bins, bound) if transforms_given else None
            return SplineCoupling(partition, network, bins, bound, spline)

        def level(shape: tuple[int, ...]) -> list[Bijection]:
            layers = [
                Chain([ActNorm(shape[0]), InvertibleConv1x1(shape[0]), coupling(shape, index)])
                for index in range(steps)
            ]
            return [chain(layers, memory_efficient)]

        def prior(stay: int, leave: int) -> nn.Module:
            return ConvNet(stay, 2 * leave, width, 0, context=context)

        first = preprocess(spec, pixels)
        if spec.is_image:
            c, h, w = spec.shape
            body: list[Bijection] = [squeeze_and_split((c, h, w), levels, level, prior, multi_scale)]
        else:

            def linear() -> list[Bijection]:
                return [Permutation(torch.randperm(spec.dim)), LULinear(spec.dim)]

            layers = [Chain([*linear(), coupling(spec.shape, index)]) for index in range(steps)]
            body = [ActNorm(spec.dim), chain([*layers, Chain(linear())], memory_efficient)]
        super().__init__(
            spec,
            Chain([first, *body]),
            base=base,
            latent_shape=(spec.dim,),
            conditional=conditional,
            dequantisation=pixels.dequantisation,
        )
